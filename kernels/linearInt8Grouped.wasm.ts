/**
 * linearInt8's third inner product, for CPUs that multiply bytes only into pairs of 16 bits (AVX2 without AVX-VNNI): of the
 * relaxed dot product's three instructions there, multiply, widen, add, it needs the second once for four of the first.
 *
 * Four products of 4 bytes are added up in 16 bits before they are widened to 32. That is exact where no such sum can
 * leave 16 bits, whatever the activations (0..128) are, and src/devices/cpu/grouping.ts says where. So each panel has an order
 * of its own: weight [out/16][in/4][16][4] with in/4 in that order, and `order`, for each panel where its fours and its
 * twos end, then where in a row of xq each 4 bytes are. What fits no four may fit a two, and the rest is widened alone.
 *   for each panel: for each 2 rows: c[2][16] = 0; for each four: t = sum of 4 xq . w in int16; c += t[even] + t[odd]
 * 2 x 16 sums in 16 bits, as many in 32, and what they are made of fit AVX2's registers; at 128 bits it is 2 x 8.
 */
import { store16, store8 } from './dequantize.wasm';
import { geluRows } from './math.wasm';

const ONES: usize = memory.data<i16>([1, 1]);

/** t and pairs of products of bytes, in 16 bits. */
// @ts-ignore: decorator
@inline
function pairs(x: v128, w: v128, t: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i16x8.add(t, i16x8.relaxed_dot_i8x16_i7x16_s(w, x));
  return t;
}
// @ts-ignore: decorator
@inline
function widened(t: v128, ones: v128, c: v128): v128 {
  return i32x4.add(c, i32x4.dot_i16x8_s(t, ones));
}

/** 2 rows x 16 columns; `order` of the panel. */
export function groupedWide(
  x: usize, features: usize, w: usize, order: usize, constants: usize, scales: usize, zeros: usize, y: usize,
  yStride: usize,
): void {
  const zero = i32x4.splat(0), x1 = x + features;
  let c00 = zero, c01 = zero, c02 = zero, c03 = zero, c10 = zero, c11 = zero, c12 = zero, c13 = zero, ends = order;
  order += 12;
  for (let size: usize = 16; size >= 4; size >>= 1, ends += 4) {
    for (const end = load<usize>(ends); order < end; ) {
      let t00 = zero, t01 = zero, t02 = zero, t03 = zero, t10 = zero, t11 = zero, t12 = zero, t13 = zero;
      for (const set = order + size; order < set; order += 4, w += 64) {
        const w0 = v128.load(w, 0), w1 = v128.load(w, 16), w2 = v128.load(w, 32), w3 = v128.load(w, 48);
        const at = load<usize>(order);
        let a = v128.load_splat<i32>(x + at);
        t00 = pairs(a, w0, t00); t01 = pairs(a, w1, t01); t02 = pairs(a, w2, t02); t03 = pairs(a, w3, t03);
        a = v128.load_splat<i32>(x1 + at);
        t10 = pairs(a, w0, t10); t11 = pairs(a, w1, t11); t12 = pairs(a, w2, t12); t13 = pairs(a, w3, t13);
      }
      const ones = v128.load_splat<i32>(ONES);
      c00 = widened(t00, ones, c00); c01 = widened(t01, ones, c01);
      c02 = widened(t02, ones, c02); c03 = widened(t03, ones, c03);
      c10 = widened(t10, ones, c10); c11 = widened(t11, ones, c11);
      c12 = widened(t12, ones, c12); c13 = widened(t13, ones, c13);
    }
  }
  store16(y, c00, c01, c02, c03, scales, zeros, constants);
  store16(y + yStride, c10, c11, c12, c13, scales + 4, zeros + 4, constants);
}

/** Half of a panel, 2 rows x 8 columns, for registers of 128 bits. */
export function groupedNarrow(
  x: usize, features: usize, w: usize, order: usize, constants: usize, scales: usize, zeros: usize, y: usize,
  yStride: usize,
): void {
  const zero = i32x4.splat(0), x1 = x + features;
  let c00 = zero, c01 = zero, c10 = zero, c11 = zero, ends = order;
  order += 12;
  for (let size: usize = 16; size >= 4; size >>= 1, ends += 4) {
    for (const end = load<usize>(ends); order < end; ) {
      let t00 = zero, t01 = zero, t10 = zero, t11 = zero;
      for (const set = order + size; order < set; order += 4, w += 64) {
        const w0 = v128.load(w, 0), w1 = v128.load(w, 16), at = load<usize>(order);
        let a = v128.load_splat<i32>(x + at);
        t00 = pairs(a, w0, t00); t01 = pairs(a, w1, t01);
        a = v128.load_splat<i32>(x1 + at);
        t10 = pairs(a, w0, t10); t11 = pairs(a, w1, t11);
      }
      const ones = v128.load_splat<i32>(ONES);
      c00 = widened(t00, ones, c00); c01 = widened(t01, ones, c01);
      c10 = widened(t10, ones, c10); c11 = widened(t11, ones, c11);
    }
  }
  store8(y, c00, c01, scales, zeros, constants);
  store8(y + yStride, c10, c11, scales + 4, zeros + 4, constants);
}

/** A panel's 16 columns of all rows; where the rows are odd, the last tile has one that is never read. */
export function groupedPanel(
  x: usize, tokens: i32, features: usize, w: usize, order: usize, constants: usize, scales: usize, zeros: usize,
  y: usize, yStride: usize, activation: i32, wide: i32,
): void {
  for (let row = 0; row < tokens; row += 2) {
    if (wide) groupedWide(x, features, w, order, constants, scales, zeros, y, yStride);
    else {
      groupedNarrow(x, features, w, order, constants, scales, zeros, y, yStride);
      groupedNarrow(x, features, w + 32, order, constants + 32, scales, zeros, y + 32, yStride);
    }
    if (activation) geluRows(y, yStride, 2);
    x += features << 1;
    scales += 8;
    zeros += 8;
    y += yStride << 1;
  }
}
