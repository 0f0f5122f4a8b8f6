/**
 * linearInt8's inner product for engines without relaxed SIMD. Activations are int16; weights are widened from int8 to
 * int16 as they are loaded; i32x4.dot_i16x8_s adds two 16-bit products in 32 bits. The sums are those of
 * linearInt8.wasm.ts.
 *
 * A panel is [in/2][16][2] int8: as drawn in linearInt8.wasm.ts, but a line is 32 bytes and holds 2 k of each column.
 *   for each tile of 4 rows x 8 columns:
 *     for each 2 k: for each row r: c[r][n] += x[r][k] * w[k][n] + x[r][k+1] * w[k+1][n]
 * Why 4 rows, not 6: each product needs a register of its own before it is added.
 */
import { storeRow } from './dequantize.wasm';

/** Rows of a tile of 16-bit activations. */
export const TILE_ROWS: i32 = 4;

/** c + the sum of 2 products in each 32-bit lane. Exact: a product is at most 128 * 128 in magnitude. */
// @ts-ignore: decorator
@inline
function dot16(x: v128, w: v128, c: v128): v128 {
  return i32x4.add(c, i32x4.dot_i16x8_s(x, w));
}

/**
 * Tile of 4 rows x 8 columns, half a panel. Arguments as in relaxed6x16; `features` is the length of a row of x in
 * bytes.
 */
export function int16Tile(
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
  storeRow(false, y, c00, c01, zero, zero, scales, zeros, constants);
  storeRow(false, y + yStride, c10, c11, zero, zero, scales + 4, zeros + 4, constants);
  storeRow(false, y + 2 * yStride, c20, c21, zero, zero, scales + 8, zeros + 8, constants);
  storeRow(false, y + 3 * yStride, c30, c31, zero, zero, scales + 12, zeros + 12, constants);
}
