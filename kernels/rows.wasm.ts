/**
 * rows: y = the sum of one row of each table; a single table's rows are copied. Formula, bound, cases: rows.ts, embedding.ts.
 *
 * Tables [rows][stride] of float32 or float16, y [n][stride] float32; columns padded to 16 by zeros.
 *   for each i of this chunk: y[i] = table0[indices0[i]] + table1[indices1[i]] + table2[indices2[i]]
 */
import { halfToFloat } from './halfToFloat.wasm';
import { share } from './math.wasm';

/** A table among the command's words: indices, rows, whether they are float16 (0 or 1). */
const TABLE_WORDS: i32 = 12; // in bytes

/** Address of row `i` of a table's result in float32: of a table of float16 that of a copy at `to`. */
// @ts-ignore: decorator
@inline
function rowOf(table: usize, i: i32, count: i32, to: usize): usize {
  const row = load<usize>(load<usize>(table, 0) + <usize>(i << 2)), rows = load<usize>(table, 4);
  if (!load<i32>(table, 8)) return rows + ((row * <usize>count) << 2);
  halfToFloat(rows + ((row * <usize>count) << 1), to, count);
  return to;
}

/** Command, 14 words: y, n, stride (of all, in numbers), scratch [threads][3][stride], tables (1 or 3), each table. */
export function rows(command: usize, chunk: i32, chunks: i32, thread: i32): void {
  const n = load<i32>(command, 4), count = load<i32>(command, 8), tables = load<i32>(command, 16);
  const stride = <usize>count << 2, t = load<usize>(command, 12) + <usize>(thread * 3) * stride;
  const end = share(n, chunk + 1, chunks), table = command + 20;
  for (let i = share(n, chunk, chunks); i < end; i++) {
    const y = load<usize>(command, 0) + <usize>i * stride, a = rowOf(table, i, count, t);
    if (tables == 1) memory.copy(y, a, stride);
    else addRows(y, a, rowOf(table + TABLE_WORDS, i, count, t + stride), rowOf(table + 2 * TABLE_WORDS, i, count, t + 2 * stride), stride);
  }
}

/** y = a + b + c on `bytes` bytes. The first two first, as Hugging Face adds embeddings. */
export function addRows(y: usize, a: usize, b: usize, c: usize, bytes: usize): void {
  for (let at: usize = 0; at < bytes; at += 32) {
    const low = f32x4.add(f32x4.add(v128.load(a + at, 0), v128.load(b + at, 0)), v128.load(c + at, 0));
    const high = f32x4.add(f32x4.add(v128.load(a + at, 16), v128.load(b + at, 16)), v128.load(c + at, 16));
    v128.store(y + at, high, 16);
    v128.store(y + at, low, 0);
  }
}
