/**
 * linearInt8's inner product for CPUs that add byte products only in pairs and only to 16 bits (AVX2 without
 * AVX-VNNI).
 *
 * There the relaxed dot product is three instructions: multiply to 16 bits, widen to 32, add. This kernel adds up to
 * sixteen 16-bit results first and widens once. That is exact only where no sum can leave 16 bits for any activations
 * in 0..128; grouping.wasm.ts decides which lines of a panel (4 k x 16 columns, drawn in linearInt8.wasm.ts)
 * may be added. So each panel has its own order of lines: the weight's lines are stored in that order, and a table gives
 * the place of their k in a row of xq. Lines come in pairs of neighbours (8 k), so that the table is read once for two
 * lines; a pair that may not be added is two single lines. The table of one panel, in 32-bit words:
 *
 *   ends of sets of 8, of 4, of 2, of 1 pairs, and of the single lines | at | at | ...
 *   <- 5 addresses in this table, each just behind the last `at` ->      byte offset of the k in a row of xq
 *
 *   for each panel: for each 4 rows:
 *     c[4][16] = 0 in int32
 *     for each set: t[4][16][2] = 0 in int16; for each line of the set: t += pairs; c += t[even] + t[odd]
 *     y = dequantized c, GELU
 *
 * Why 4 x 16: t takes 8 registers of 256 bits (16 of 128 bits), beside the line and the splat. c has no register: it is
 * touched only once for a set. It lies in scratch of its own, a row in a cache line, because a local variable would lie on the
 * stack, where it may straddle two lines: whole processes were a quarter slower by the chance of where their stacks began.
 * The same tile is the best one at both widths.
 */
import { store16 } from './dequantize.wasm';

/** Rows of a tile. */
export const ROWS: i32 = 4;
/** Two 16-bit ones, splat to all lanes: multiplying by ones and adding pairs widens 16-bit sums to 32 bits. */
const ONES: usize = memory.data<i16>([1, 1]);

/** The products u8 x int8, added in pairs, in 16-bit lanes: k 0 and 1 of a column, then k 2 and 3. */
// @ts-ignore: decorator
@inline
function pairs(x: v128, w: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i16x8.relaxed_dot_i8x16_i7x16_s(w, x);
  return w;
}
/** c + the two 16-bit sums of each column, in 32-bit lanes. */
// @ts-ignore: decorator
@inline
function widened(t: v128, ones: v128, c: v128): v128 {
  return i32x4.add(c, i32x4.dot_i16x8_s(t, ones));
}

/**
 * Tile of 4 rows x 16 columns. `features` is the length of a row of x in bytes, `order` the panel's table, `sums` 256
 * bytes of scratch; the other arguments are those of relaxedWide.
 */
export function groupedTile(
  x: usize, features: usize, w: usize, order: usize, constants: usize, scales: usize, zeros: usize, y: usize,
  yStride: usize, sums: usize,
): void {
  const zero = i32x4.splat(0), x1 = x + features, x2 = x1 + features, x3 = x2 + features;
  v128.store(sums, zero, 48); v128.store(sums, zero, 32); v128.store(sums, zero, 16); v128.store(sums, zero, 0);
  v128.store(sums, zero, 112); v128.store(sums, zero, 96); v128.store(sums, zero, 80); v128.store(sums, zero, 64);
  v128.store(sums, zero, 176); v128.store(sums, zero, 160); v128.store(sums, zero, 144); v128.store(sums, zero, 128);
  v128.store(sums, zero, 240); v128.store(sums, zero, 224); v128.store(sums, zero, 208); v128.store(sums, zero, 192);
  let c0 = zero, c1 = zero, c2 = zero, c3 = zero;
  let ends = order, w0 = zero, w1 = zero, w2 = zero, w3 = zero, a = zero;
  order += 20;
  // `size` is the bytes of a set's words in the table: 32 for eight pairs, down to 4 for one pair.
  for (let size: usize = 32; size >= 4; size >>= 1, ends += 4) {
    for (const end = load<usize>(ends); order < end; ) {
      let t00 = zero, t01 = zero, t02 = zero, t03 = zero, t10 = zero, t11 = zero, t12 = zero, t13 = zero;
      let t20 = zero, t21 = zero, t22 = zero, t23 = zero, t30 = zero, t31 = zero, t32 = zero, t33 = zero;
      for (const set = order + size; order < set; order += 4, w += 128) {
        // The weight's lines follow each other; only xq is read out of order.
        const at = load<usize>(order), a0 = x + at, a1 = x1 + at, a2 = x2 + at, a3 = x3 + at;
        w0 = v128.load(w, 0); w1 = v128.load(w, 16); w2 = v128.load(w, 32); w3 = v128.load(w, 48);
        a = v128.load_splat<i32>(a0, 0);
        t00 = i16x8.add(t00, pairs(a, w0)); t01 = i16x8.add(t01, pairs(a, w1));
        t02 = i16x8.add(t02, pairs(a, w2)); t03 = i16x8.add(t03, pairs(a, w3));
        a = v128.load_splat<i32>(a1, 0);
        t10 = i16x8.add(t10, pairs(a, w0)); t11 = i16x8.add(t11, pairs(a, w1));
        t12 = i16x8.add(t12, pairs(a, w2)); t13 = i16x8.add(t13, pairs(a, w3));
        a = v128.load_splat<i32>(a2, 0);
        t20 = i16x8.add(t20, pairs(a, w0)); t21 = i16x8.add(t21, pairs(a, w1));
        t22 = i16x8.add(t22, pairs(a, w2)); t23 = i16x8.add(t23, pairs(a, w3));
        a = v128.load_splat<i32>(a3, 0);
        t30 = i16x8.add(t30, pairs(a, w0)); t31 = i16x8.add(t31, pairs(a, w1));
        t32 = i16x8.add(t32, pairs(a, w2)); t33 = i16x8.add(t33, pairs(a, w3));
        // The pair's second line.
        w0 = v128.load(w, 64); w1 = v128.load(w, 80); w2 = v128.load(w, 96); w3 = v128.load(w, 112);
        a = v128.load_splat<i32>(a0, 4);
        t00 = i16x8.add(t00, pairs(a, w0)); t01 = i16x8.add(t01, pairs(a, w1));
        t02 = i16x8.add(t02, pairs(a, w2)); t03 = i16x8.add(t03, pairs(a, w3));
        a = v128.load_splat<i32>(a1, 4);
        t10 = i16x8.add(t10, pairs(a, w0)); t11 = i16x8.add(t11, pairs(a, w1));
        t12 = i16x8.add(t12, pairs(a, w2)); t13 = i16x8.add(t13, pairs(a, w3));
        a = v128.load_splat<i32>(a2, 4);
        t20 = i16x8.add(t20, pairs(a, w0)); t21 = i16x8.add(t21, pairs(a, w1));
        t22 = i16x8.add(t22, pairs(a, w2)); t23 = i16x8.add(t23, pairs(a, w3));
        a = v128.load_splat<i32>(a3, 4);
        t30 = i16x8.add(t30, pairs(a, w0)); t31 = i16x8.add(t31, pairs(a, w1));
        t32 = i16x8.add(t32, pairs(a, w2)); t33 = i16x8.add(t33, pairs(a, w3));
      }
      // Widened once for the whole set: this is what the kernel saves.
      const ones = v128.load_splat<i32>(ONES);
      c0 = widened(t00, ones, v128.load(sums, 0)); c1 = widened(t01, ones, v128.load(sums, 16));
      c2 = widened(t02, ones, v128.load(sums, 32)); c3 = widened(t03, ones, v128.load(sums, 48));
      v128.store(sums, c3, 48); v128.store(sums, c2, 32); v128.store(sums, c1, 16); v128.store(sums, c0, 0);
      c0 = widened(t10, ones, v128.load(sums, 64)); c1 = widened(t11, ones, v128.load(sums, 80));
      c2 = widened(t12, ones, v128.load(sums, 96)); c3 = widened(t13, ones, v128.load(sums, 112));
      v128.store(sums, c3, 112); v128.store(sums, c2, 96); v128.store(sums, c1, 80); v128.store(sums, c0, 64);
      c0 = widened(t20, ones, v128.load(sums, 128)); c1 = widened(t21, ones, v128.load(sums, 144));
      c2 = widened(t22, ones, v128.load(sums, 160)); c3 = widened(t23, ones, v128.load(sums, 176));
      v128.store(sums, c3, 176); v128.store(sums, c2, 160); v128.store(sums, c1, 144); v128.store(sums, c0, 128);
      c0 = widened(t30, ones, v128.load(sums, 192)); c1 = widened(t31, ones, v128.load(sums, 208));
      c2 = widened(t32, ones, v128.load(sums, 224)); c3 = widened(t33, ones, v128.load(sums, 240));
      v128.store(sums, c3, 240); v128.store(sums, c2, 224); v128.store(sums, c1, 208); v128.store(sums, c0, 192);
    }
  }
  // Single lines: each is widened at once.
  const ones = v128.load_splat<i32>(ONES);
  for (const end = load<usize>(ends); order < end; order += 4, w += 64) {
    const at = load<usize>(order);
    w0 = v128.load(w, 0); w1 = v128.load(w, 16); w2 = v128.load(w, 32); w3 = v128.load(w, 48);
    a = v128.load_splat<i32>(x + at);
    c0 = widened(pairs(a, w0), ones, v128.load(sums, 0)); c1 = widened(pairs(a, w1), ones, v128.load(sums, 16));
    c2 = widened(pairs(a, w2), ones, v128.load(sums, 32)); c3 = widened(pairs(a, w3), ones, v128.load(sums, 48));
    v128.store(sums, c3, 48); v128.store(sums, c2, 32); v128.store(sums, c1, 16); v128.store(sums, c0, 0);
    a = v128.load_splat<i32>(x1 + at);
    c0 = widened(pairs(a, w0), ones, v128.load(sums, 64)); c1 = widened(pairs(a, w1), ones, v128.load(sums, 80));
    c2 = widened(pairs(a, w2), ones, v128.load(sums, 96)); c3 = widened(pairs(a, w3), ones, v128.load(sums, 112));
    v128.store(sums, c3, 112); v128.store(sums, c2, 96); v128.store(sums, c1, 80); v128.store(sums, c0, 64);
    a = v128.load_splat<i32>(x2 + at);
    c0 = widened(pairs(a, w0), ones, v128.load(sums, 128)); c1 = widened(pairs(a, w1), ones, v128.load(sums, 144));
    c2 = widened(pairs(a, w2), ones, v128.load(sums, 160)); c3 = widened(pairs(a, w3), ones, v128.load(sums, 176));
    v128.store(sums, c3, 176); v128.store(sums, c2, 160); v128.store(sums, c1, 144); v128.store(sums, c0, 128);
    a = v128.load_splat<i32>(x3 + at);
    c0 = widened(pairs(a, w0), ones, v128.load(sums, 192)); c1 = widened(pairs(a, w1), ones, v128.load(sums, 208));
    c2 = widened(pairs(a, w2), ones, v128.load(sums, 224)); c3 = widened(pairs(a, w3), ones, v128.load(sums, 240));
    v128.store(sums, c3, 240); v128.store(sums, c2, 224); v128.store(sums, c1, 208); v128.store(sums, c0, 192);
  }
  c0 = v128.load(sums, 0); c1 = v128.load(sums, 16); c2 = v128.load(sums, 32); c3 = v128.load(sums, 48);
  store16(y, c0, c1, c2, c3, scales, zeros, constants);
  c0 = v128.load(sums, 64); c1 = v128.load(sums, 80); c2 = v128.load(sums, 96); c3 = v128.load(sums, 112);
  store16(y + yStride, c0, c1, c2, c3, scales + 4, zeros + 4, constants);
  c0 = v128.load(sums, 128); c1 = v128.load(sums, 144); c2 = v128.load(sums, 160); c3 = v128.load(sums, 176);
  store16(y + 2 * yStride, c0, c1, c2, c3, scales + 8, zeros + 8, constants);
  c0 = v128.load(sums, 192); c1 = v128.load(sums, 208); c2 = v128.load(sums, 224); c3 = v128.load(sums, 240);
  store16(y + 3 * yStride, c0, c1, c2, c3, scales + 12, zeros + 12, constants);
}
