/**
 * add, mul and the activations, element by element; mean. Formulas, bounds, cases: elementwise.ts, mean.ts.
 *
 * x, y [rows][stride], other [rows][stride] or one row: row-major float32, columns padded to 16 by zeros.
 *   for each row of this chunk: y = x + other, x other, or f(x)
 */
import { activateRow, scaleRow, share } from './math.wasm';

const ADD: i32 = 0;

/** y = a + b, or a b, on `bytes` bytes, a multiple of 64. */
export function pairRow(a: usize, b: usize, y: usize, bytes: usize, how: i32): void {
  if (how == ADD) {
    for (let at: usize = 0; at < bytes; at += 32) {
      const low = f32x4.add(v128.load(a + at, 0), v128.load(b + at, 0));
      const high = f32x4.add(v128.load(a + at, 16), v128.load(b + at, 16));
      v128.store(y + at, high, 16);
      v128.store(y + at, low, 0);
    }
  } else {
    for (let at: usize = 0; at < bytes; at += 32) {
      const low = f32x4.mul(v128.load(a + at, 0), v128.load(b + at, 0));
      const high = f32x4.mul(v128.load(a + at, 16), v128.load(b + at, 16));
      v128.store(y + at, high, 16);
      v128.store(y + at, low, 0);
    }
  }
}

/** Command, 7 words: x, other, y, rows, columns, stride of other (in floats, 0 for one row), how: add, mul, activations. */
export function elementwise(command: usize, chunk: i32, chunks: i32, thread: i32): void {
  const x = load<usize>(command, 0), other = load<usize>(command, 4), y = load<usize>(command, 8);
  const rows = load<i32>(command, 12), columns = load<usize>(command, 16) << 2, how = load<i32>(command, 24);
  const stride = (columns + 63) & ~63, otherStride = load<usize>(command, 20) << 2;
  const end = share(rows, chunk + 1, chunks);
  for (let row = share(rows, chunk, chunks); row < end; row++) {
    const a = x + <usize>row * stride, to = y + <usize>row * stride;
    if (how < 2) pairRow(a, other + <usize>row * otherStride, to, stride, how);
    else {
      activateRow(a, to, stride, how - 1);
      memory.fill(to + columns, 0, stride - columns); // sigmoid of the padding's zeros is none
    }
  }
}

/** Bytes of a row that a thread adds up at a time: they stay in the cache, and x is read as it lies. */
const BLOCK: usize = 4096;

/**
 * Means of the rows of each sequence. Command, 6 words: x, y, the first row of each sequence and the end of the last, sequences,
 * stride (in floats), blocks of a row. The work is divided into (sequence, block).
 */
export function mean(command: usize, chunk: i32, chunks: i32, thread: i32): void {
  const x = load<usize>(command, 0), y = load<usize>(command, 4), firsts = load<usize>(command, 8);
  const stride = load<usize>(command, 16) << 2, blocks = load<i32>(command, 20), items = load<i32>(command, 12) * blocks;
  const end = share(items, chunk + 1, chunks);
  for (let item = share(items, chunk, chunks); item < end; item++) {
    const sequence = <usize>(item / blocks), column = <usize>(item % blocks) * BLOCK, bytes = min(BLOCK, stride - column);
    const row = load<usize>(firsts + (sequence << 2)), last = load<usize>(firsts + (sequence << 2), 4);
    const to = y + sequence * stride + column;
    memory.fill(to, 0, bytes);
    for (let from = row; from < last; from++) pairRow(to, x + from * stride + column, to, bytes, ADD);
    scaleRow(to, bytes, <f32>1 / <f32>(last - row));
  }
}
