/**
 * add, mul and the activations, element by element; mean. Formulas, bounds, cases: elementwise.ts, mean.ts.
 *
 * x, y [rows][stride], other [rows][stride] or one row: row-major float32, columns padded to 16 by zeros.
 *   for each row of this chunk: y = x + other, x other, or f(x)
 */
import { activate, share } from './math.wasm';

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
      memory.copy(to, a, stride);
      activate(to, stride, 1, stride, how - 1);
      memory.fill(to + columns, 0, stride - columns); // sigmoid of the padding's zeros is none
    }
  }
}

/**
 * Means of the rows of each sequence. Command, 5 words: x, y, the first row of each sequence and the end of the last, sequences,
 * stride (in floats). The work is divided into (sequence, 16 columns).
 */
export function mean(command: usize, chunk: i32, chunks: i32, thread: i32): void {
  const x = load<usize>(command, 0), y = load<usize>(command, 4), firsts = load<usize>(command, 8);
  const panels = load<i32>(command, 16) >> 4, stride = <usize>panels << 6, items = load<i32>(command, 12) * panels;
  const end = share(items, chunk + 1, chunks);
  for (let item = share(items, chunk, chunks); item < end; item++) {
    const sequence = item / panels, column = <usize>(item % panels) << 6;
    const row = load<usize>(firsts + <usize>(sequence << 2)), last = load<usize>(firsts + <usize>(sequence << 2), 4);
    meanColumns(x + row * stride + column, stride, <i32>(last - row), y + <usize>sequence * stride + column);
  }
}

/** The means of 16 columns over `rows` rows. */
export function meanColumns(x: usize, stride: usize, rows: i32, y: usize): void {
  let a = f32x4.splat(0), b = a, c = a, d = a;
  for (let row = 0; row < rows; row++, x += stride) {
    a = f32x4.add(a, v128.load(x, 0));
    b = f32x4.add(b, v128.load(x, 16));
    c = f32x4.add(c, v128.load(x, 32));
    d = f32x4.add(d, v128.load(x, 48));
  }
  const n = f32x4.splat(<f32>rows);
  v128.store(y, f32x4.div(d, n), 48);
  v128.store(y, f32x4.div(c, n), 32);
  v128.store(y, f32x4.div(b, n), 16);
  v128.store(y, f32x4.div(a, n), 0);
}
