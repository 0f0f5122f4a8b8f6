/**
 * linearInt8's inner product for CPUs that add byte products only in pairs and only to 16 bits (AVX2 without
 * AVX-VNNI).
 *
 * There the relaxed dot product is three instructions: multiply to 16 bits, widen to 32, add. This kernel adds up to
 * four 16-bit results first and widens once. That is exact only where no sum can leave 16 bits for any activations in
 * 0..128; src/devices/cpu/grouping.ts decides which lines of a panel (4 k x 16 columns, drawn in linearInt8.wasm.ts)
 * may be added. Lines that form no set of four may form a set of two; every other line is widened alone. So each panel
 * has its own order of lines: the weight's lines are stored in that order, and a table gives the place of each line's
 * 4 bytes in a row of xq. The table of one panel, in 32-bit words, in + 12 bytes; the next panel's table follows:
 *
 *   end of fours | end of twos | end of all | at | at | at | at |  ...  | at | at |  ...  | at |  ...
 *   <- addresses in this table, each just  -> <- set of four -> (fours) <- two -> (twos)  <1>  (single lines)
 *      behind the last `at` of its kind         at = 4 * line: byte offset of the line's 4 k in a row of xq
 *
 *   for each panel: for each 2 rows:
 *     c[2][16] = 0 in int32
 *     for each set: t[2][16][2] = 0 in int16; for each line of the set: t += pairs; c += t[even] + t[odd]
 *     y = dequantized c, GELU
 *
 * Why 2 x 16: t and c need as many registers each, and with 256-bit registers both fit beside the line and the splat.
 * With 128-bit registers 2 x 8 does.
 */
import { store16, store8 } from './dequantize.wasm';
import { geluRows } from './math.wasm';

/** Two 16-bit ones, splat to all lanes: multiplying by ones and adding pairs widens 16-bit sums to 32 bits. */
const ONES: usize = memory.data<i16>([1, 1]);

/** t + the products u8 x int8, added in pairs, in 16-bit lanes: k 0 and 1 of a column, then k 2 and 3. */
// @ts-ignore: decorator
@inline
function pairs(x: v128, w: v128, t: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i16x8.add(t, i16x8.relaxed_dot_i8x16_i7x16_s(w, x));
  return t;
}
/** c + the two 16-bit sums of each column, in 32-bit lanes. */
// @ts-ignore: decorator
@inline
function widened(t: v128, ones: v128, c: v128): v128 {
  return i32x4.add(c, i32x4.dot_i16x8_s(t, ones));
}

/** Tile of 2 rows x 16 columns. `order` is the panel's table; the other arguments are those of relaxedWide. */
export function groupedWide(
  x: usize, features: usize, w: usize, order: usize, constants: usize, scales: usize, zeros: usize, y: usize,
  yStride: usize,
): void {
  const zero = i32x4.splat(0), x1 = x + features;
  let c00 = zero, c01 = zero, c02 = zero, c03 = zero, c10 = zero, c11 = zero, c12 = zero, c13 = zero, ends = order;
  order += 12;
  // `size` is the bytes of a set's words in the table: 16 for fours, 8 for twos, 4 for single lines.
  for (let size: usize = 16; size >= 4; size >>= 1, ends += 4) {
    for (const end = load<usize>(ends); order < end; ) {
      let t00 = zero, t01 = zero, t02 = zero, t03 = zero, t10 = zero, t11 = zero, t12 = zero, t13 = zero;
      for (const set = order + size; order < set; order += 4, w += 64) {
        // The weight's lines follow each other; only xq is read out of order.
        const w0 = v128.load(w, 0), w1 = v128.load(w, 16), w2 = v128.load(w, 32), w3 = v128.load(w, 48);
        const at = load<usize>(order);
        let a = v128.load_splat<i32>(x + at);
        t00 = pairs(a, w0, t00); t01 = pairs(a, w1, t01); t02 = pairs(a, w2, t02); t03 = pairs(a, w3, t03);
        a = v128.load_splat<i32>(x1 + at);
        t10 = pairs(a, w0, t10); t11 = pairs(a, w1, t11); t12 = pairs(a, w2, t12); t13 = pairs(a, w3, t13);
      }
      // Widened once for the whole set: this is what the kernel saves.
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

/** Tile of 2 rows x 8 columns, half a panel, for 128-bit registers. Otherwise as groupedWide. */
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

/** All rows of one panel. If `tokens` is odd, the last tile computes one row too many, which nothing reads. */
export function groupedPanel(
  x: usize, tokens: i32, features: usize, w: usize, order: usize, constants: usize, scales: usize, zeros: usize,
  y: usize, yStride: usize, activation: i32, wide: i32,
): void {
  for (let row = 0; row < tokens; row += 2) {
    if (wide) groupedWide(x, features, w, order, constants, scales, zeros, y, yStride);
    else {
      groupedNarrow(x, features, w, order, constants, scales, zeros, y, yStride);
      // Columns 8 to 15 begin 32 bytes further in each line, in each third of the constants, and in y.
      groupedNarrow(x, features, w + 32, order, constants + 32, scales, zeros, y + 32, yStride);
    }
    if (activation) geluRows(y, yStride, 2);
    x += features << 1;
    scales += 8;
    zeros += 8;
    y += yStride << 1;
  }
}
