/**
 * The int8 product for engines without relaxed SIMD: activations as int16, weights widened from int8 on load, and
 * i32x4.dot_i16x8_s, which adds two products of 16 bits. The same sums as linearInt8.wasm.ts, whose tiles these are but
 * for 4 rows: the products need registers, too.
 */
import { store16, store8 } from './dequantize.wasm';

/** Rows of a tile. */
export const ROWS: i32 = 4;

// @ts-ignore: decorator
@inline
function dot16(x: v128, w: v128, c: v128): v128 {
  return i32x4.add(c, i32x4.dot_i16x8_s(x, w));
}

/** 4 rows x 16 columns of 16-bit activations. */
export function int16Wide(
  x: usize, features: usize, w: usize, constants: usize, scales: usize, zeros: usize, y: usize, yStride: usize,
): void {
  const zero = i32x4.splat(0);
  let c00 = zero, c01 = zero, c02 = zero, c03 = zero, c10 = zero, c11 = zero, c12 = zero, c13 = zero;
  let c20 = zero, c21 = zero, c22 = zero, c23 = zero, c30 = zero, c31 = zero, c32 = zero, c33 = zero;
  const x1 = x + features, x2 = x1 + features, x3 = x2 + features;
  for (let at: usize = 0; at < features; at += 4, w += 32) {
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

/** Half of a panel, 4 rows x 8 columns of 16-bit activations. */
export function int16Narrow(
  x: usize, features: usize, w: usize, constants: usize, scales: usize, zeros: usize, y: usize, yStride: usize,
): void {
  const zero = i32x4.splat(0);
  let c00 = zero, c01 = zero, c10 = zero, c11 = zero, c20 = zero, c21 = zero, c30 = zero, c31 = zero;
  const x1 = x + features, x2 = x1 + features, x3 = x2 + features;
  for (let at: usize = 0; at < features; at += 4, w += 32) {
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

/** 1 row x 16 columns, for the rows that fill no tile. */
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
