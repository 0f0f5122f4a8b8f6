/**
 * linearInt8's inner product for engines without relaxed SIMD. Activations are int16; weights are widened from int8 to
 * int16 as they are loaded; i32x4.dot_i16x8_s adds two 16-bit products in 32 bits. The sums are those of
 * linearInt8.wasm.ts.
 *
 * A panel is [in/2][16][2] int8: as drawn in linearInt8.wasm.ts, but a line is 32 bytes and holds 2 k of each column.
 *   for each tile of 4 rows x 16 columns:
 *     for each 2 k: for each row r: c[r][n] += x[r][k] * w[k][n] + x[r][k+1] * w[k+1][n]
 * Why 4 rows, not 6: each product needs a register of its own before it is added.
 */
import { store16, store8 } from './dequantize.wasm';

/** Rows of a tile of 16-bit activations. */
export const ROWS: i32 = 4;

/** c + the sum of 2 products in each 32-bit lane. Exact: a product is at most 128 * 128 in magnitude. */
// @ts-ignore: decorator
@inline
function dot16(x: v128, w: v128, c: v128): v128 {
  return i32x4.add(c, i32x4.dot_i16x8_s(x, w));
}

/** Tile of 4 rows x 16 columns. Arguments as in relaxedWide; `features` is the length of a row of x in bytes. */
export function int16Wide(
  x: usize, features: usize, w: usize, constants: usize, scales: usize, zeros: usize, y: usize, yStride: usize,
): void {
  const zero = i32x4.splat(0);
  let c00 = zero, c01 = zero, c02 = zero, c03 = zero, c10 = zero, c11 = zero, c12 = zero, c13 = zero;
  let c20 = zero, c21 = zero, c22 = zero, c23 = zero, c30 = zero, c31 = zero, c32 = zero, c33 = zero;
  const x1 = x + features, x2 = x1 + features, x3 = x2 + features;
  for (let at: usize = 0; at < features; at += 4, w += 32) {
    // 8 bytes become 8 int16: 4 columns x 2 k. One splat of x is the same 2 k for every column.
    const w0 = v128.load_ext<i8>(w, 0), w1 = v128.load_ext<i8>(w, 8);
    const w2 = v128.load_ext<i8>(w, 16), w3 = v128.load_ext<i8>(w, 24);
    let a = v128.load_splat<i32>(x + at);
    c00 = dot16(a, w0, c00); c01 = dot16(a, w1, c01); c02 = dot16(a, w2, c02); c03 = dot16(a, w3, c03);
    a = v128.load_splat<i32>(x1 + at);
    c10 = dot16(a, w0, c10); c11 = dot16(a, w1, c11); c12 = dot16(a, w2, c12); c13 = dot16(a, w3, c13);
    a = v128.load_splat<i32>(x2 + at);
    c20 = dot16(a, w0, c20); c21 = dot16(a, w1, c21); c22 = dot16(a, w2, c22); c23 = dot16(a, w3, c23);
    a = v128.load_splat<i32>(x3 + at);
    c30 = dot16(a, w0, c30); c31 = dot16(a, w1, c31); c32 = dot16(a, w2, c32); c33 = dot16(a, w3, c33);
  }
  store16(y, c00, c01, c02, c03, scales, zeros, constants);
  store16(y + yStride, c10, c11, c12, c13, scales + 4, zeros + 4, constants);
  store16(y + 2 * yStride, c20, c21, c22, c23, scales + 8, zeros + 8, constants);
  store16(y + 3 * yStride, c30, c31, c32, c33, scales + 12, zeros + 12, constants);
}

/** Tile of 4 rows x 8 columns, half a panel, for 128-bit registers. Otherwise as int16Wide. */
export function int16Narrow(
  x: usize, features: usize, w: usize, constants: usize, scales: usize, zeros: usize, y: usize, yStride: usize,
): void {
  const zero = i32x4.splat(0);
  let c00 = zero, c01 = zero, c10 = zero, c11 = zero, c20 = zero, c21 = zero, c30 = zero, c31 = zero;
  const x1 = x + features, x2 = x1 + features, x3 = x2 + features;
  for (let at: usize = 0; at < features; at += 4, w += 32) {
    // Half a line of the panel; w still advances by the whole line of 32 bytes.
    const w0 = v128.load_ext<i8>(w, 0), w1 = v128.load_ext<i8>(w, 8);
    let a = v128.load_splat<i32>(x + at);
    c00 = dot16(a, w0, c00); c01 = dot16(a, w1, c01);
    a = v128.load_splat<i32>(x1 + at);
    c10 = dot16(a, w0, c10); c11 = dot16(a, w1, c11);
    a = v128.load_splat<i32>(x2 + at);
    c20 = dot16(a, w0, c20); c21 = dot16(a, w1, c21);
    a = v128.load_splat<i32>(x3 + at);
    c30 = dot16(a, w0, c30); c31 = dot16(a, w1, c31);
  }
  store8(y, c00, c01, scales, zeros, constants);
  store8(y + yStride, c10, c11, scales + 4, zeros + 4, constants);
  store8(y + 2 * yStride, c20, c21, scales + 8, zeros + 8, constants);
  store8(y + 3 * yStride, c30, c31, scales + 12, zeros + 12, constants);
}

/** 1 row x 16 columns, for the rows left over after the last whole tile. */
export function int16Row(
  x: usize, features: usize, w: usize, constants: usize, scales: usize, zeros: usize, y: usize,
): void {
  let c0 = i32x4.splat(0), c1 = c0, c2 = c0, c3 = c0;
  for (const end = x + features; x < end; x += 4, w += 32) {
    const w0 = v128.load_ext<i8>(w, 0), w1 = v128.load_ext<i8>(w, 8);
    const w2 = v128.load_ext<i8>(w, 16), w3 = v128.load_ext<i8>(w, 24);
    const a = v128.load_splat<i32>(x);
    c0 = dot16(a, w0, c0); c1 = dot16(a, w1, c1); c2 = dot16(a, w2, c2); c3 = dot16(a, w3, c3);
  }
  store16(y, c0, c1, c2, c3, scales, zeros, constants);
}
