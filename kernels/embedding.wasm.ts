/**
 * embedding: y = word[id] + type[typeId] + position, for each token. Formula, bound, cases: embedding.ts.
 *
 * Tables [rows][stride] of float32 or float16, y [tokens][stride] float32; hidden columns, padded to 16 by zeros.
 *   for each token of this chunk: y = row of word + row of type + row of position
 */
import { halfToFloat } from './halfToFloat.wasm';
import { share } from './math.wasm';

/** Address of a table's row of `count` numbers in float32: of a table of float16 that of a copy at `to`. */
// @ts-ignore: decorator
@inline
function rowOf(table: usize, row: usize, count: i32, half: i32, to: usize): usize {
  if (!half) return table + ((row * <usize>count) << 2);
  halfToFloat(table + ((row * <usize>count) << 1), to, count);
  return to;
}

/**
 * Command, 12 words: ids [tokens], typeIds [tokens], word, position, type, whether word, position, type are float16 (0 or
 * 1), y, tokens, stride (of all, in numbers), scratch [threads][3][stride].
 */
export function embedding(command: usize, chunk: i32, chunks: i32, thread: i32): void {
  const ids = load<usize>(command, 0), typeIds = load<usize>(command, 4);
  const word = load<usize>(command, 8), position = load<usize>(command, 12), type = load<usize>(command, 16);
  const wordHalf = load<i32>(command, 20), positionHalf = load<i32>(command, 24), typeHalf = load<i32>(command, 28);
  const tokens = load<i32>(command, 36), count = load<i32>(command, 40);
  const stride = <usize>count << 2, t = load<usize>(command, 44) + <usize>(thread * 3) * stride;
  const end = share(tokens, chunk + 1, chunks);
  for (let token = share(tokens, chunk, chunks); token < end; token++) {
    // A token's position is its place in the sequence.
    const w = rowOf(word, load<usize>(ids + <usize>(token << 2)), count, wordHalf, t);
    const p = rowOf(position, token, count, positionHalf, t + stride);
    const s = rowOf(type, load<usize>(typeIds + <usize>(token << 2)), count, typeHalf, t + 2 * stride);
    const y = load<usize>(command, 32) + <usize>token * stride;
    for (let at: usize = 0; at < stride; at += 32) {
      // The sum's order, word + type first, is Hugging Face's: embedding.ts.
      const a = f32x4.add(f32x4.add(v128.load(w + at, 0), v128.load(s + at, 0)), v128.load(p + at, 0));
      const b = f32x4.add(f32x4.add(v128.load(w + at, 16), v128.load(s + at, 16)), v128.load(p + at, 16));
      v128.store(y + at, b, 16);
      v128.store(y + at, a, 0);
    }
  }
}
