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
 * Rows are 128 bytes apart, not 64: Binaryen makes an added 64 a subtraction, which is no offset of a load.
 * The same tile is the best one at both widths.
 */
import { storeRow } from './dequantize.wasm';

/** Rows of a tile. */
export const TILE_ROWS: i32 = 4;
/** Two 16-bit ones, splat to all lanes: multiplying by ones and adding pairs widens 16-bit sums to 32 bits. */
const ONES: usize = memory.data<i16>([1, 1]);

/** The products u8 x int8, added in pairs, in 16-bit lanes: k 0 and 1 of a column, then k 2 and 3. */
// @ts-ignore: decorator
@inline
function pairs(x: v128, w: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i16x8.relaxed_dot_i8x16_i7x16_s(w, x);
  return w;
}
/** t + the pairs of products of a line, in 16-bit lanes. */
// @ts-ignore: decorator
@inline
function dot(x: v128, w: v128, t: v128): v128 {
  return i16x8.add(t, pairs(x, w));
}
/** Adds the two 16-bit sums of each column of a row to its 16 sums in 32 bits, which lie at c. */
// @ts-ignore: decorator
@inline
function addPairs(c: usize, ones: v128, t0: v128, t1: v128, t2: v128, t3: v128): void {
  const c0 = i32x4.add(v128.load(c, 0), i32x4.dot_i16x8_s(t0, ones));
  const c1 = i32x4.add(v128.load(c, 16), i32x4.dot_i16x8_s(t1, ones));
  const c2 = i32x4.add(v128.load(c, 32), i32x4.dot_i16x8_s(t2, ones));
  const c3 = i32x4.add(v128.load(c, 48), i32x4.dot_i16x8_s(t3, ones));
  v128.store(c, c3, 48);
  v128.store(c, c2, 32);
  v128.store(c, c1, 16);
  v128.store(c, c0, 0);
}
/** Adds the products of a single line and of 4 k of a row, at x, to the row's 16 sums, which lie at c. */
// @ts-ignore: decorator
@inline
function addLine(x: usize, w0: v128, w1: v128, w2: v128, w3: v128, ones: v128, c: usize): void {
  const a = v128.load_splat<i32>(x);
  addPairs(c, ones, pairs(a, w0), pairs(a, w1), pairs(a, w2), pairs(a, w3));
}
/** Stores a row of y: its 16 sums, which lie at c, as float32. */
// @ts-ignore: decorator
@inline
function storeSums(y: usize, c: usize, scales: usize, zeros: usize, constants: usize): void {
  const c0 = v128.load(c, 0), c1 = v128.load(c, 16), c2 = v128.load(c, 32), c3 = v128.load(c, 48);
  storeRow(true, y, c0, c1, c2, c3, scales, zeros, constants);
}

/**
 * Tile of 4 rows x 16 columns. `features` is the length of a row of x in bytes, `offsets` the panel's table, `sums`
 * 512 bytes of scratch; the other arguments are those of relaxed6x16.
 */
export function groupedTile(
  x: usize, features: usize, w: usize, offsets: usize, constants: usize, scales: usize, zeros: usize, y: usize,
  yStride: usize, sums: usize,
): void {
  const zero = i32x4.splat(0), x1 = x + features, x2 = x1 + features, x3 = x2 + features;
  v128.store(sums, zero, 48); v128.store(sums, zero, 32); v128.store(sums, zero, 16); v128.store(sums, zero);
  v128.store(sums, zero, 176); v128.store(sums, zero, 160); v128.store(sums, zero, 144); v128.store(sums, zero, 128);
  v128.store(sums, zero, 304); v128.store(sums, zero, 288); v128.store(sums, zero, 272); v128.store(sums, zero, 256);
  v128.store(sums, zero, 432); v128.store(sums, zero, 416); v128.store(sums, zero, 400); v128.store(sums, zero, 384);
  let ends = offsets, w0 = zero, w1 = zero, w2 = zero, w3 = zero, a = zero;
  offsets += 20;
  // `size` is the bytes of a set's words in the table: 32 for eight pairs, down to 4 for one pair.
  for (let size: usize = 32; size >= 4; size >>= 1, ends += 4) {
    for (const end = load<usize>(ends); offsets < end; ) {
      let t00 = zero, t01 = zero, t02 = zero, t03 = zero, t10 = zero, t11 = zero, t12 = zero, t13 = zero;
      let t20 = zero, t21 = zero, t22 = zero, t23 = zero, t30 = zero, t31 = zero, t32 = zero, t33 = zero;
      for (const set = offsets + size; offsets < set; offsets += 4, w += 128) {
        // The weight's lines follow each other; only xq is read out of order.
        const at = load<usize>(offsets), a0 = x + at, a1 = x1 + at, a2 = x2 + at, a3 = x3 + at;
        w0 = v128.load(w, 0); w1 = v128.load(w, 16); w2 = v128.load(w, 32); w3 = v128.load(w, 48);
        a = v128.load_splat<i32>(a0, 0);
        t00 = dot(a, w0, t00); t01 = dot(a, w1, t01); t02 = dot(a, w2, t02); t03 = dot(a, w3, t03);
        a = v128.load_splat<i32>(a1, 0);
        t10 = dot(a, w0, t10); t11 = dot(a, w1, t11); t12 = dot(a, w2, t12); t13 = dot(a, w3, t13);
        a = v128.load_splat<i32>(a2, 0);
        t20 = dot(a, w0, t20); t21 = dot(a, w1, t21); t22 = dot(a, w2, t22); t23 = dot(a, w3, t23);
        a = v128.load_splat<i32>(a3, 0);
        t30 = dot(a, w0, t30); t31 = dot(a, w1, t31); t32 = dot(a, w2, t32); t33 = dot(a, w3, t33);
        // The pair's second line.
        w0 = v128.load(w, 64); w1 = v128.load(w, 80); w2 = v128.load(w, 96); w3 = v128.load(w, 112);
        a = v128.load_splat<i32>(a0, 4);
        t00 = dot(a, w0, t00); t01 = dot(a, w1, t01); t02 = dot(a, w2, t02); t03 = dot(a, w3, t03);
        a = v128.load_splat<i32>(a1, 4);
        t10 = dot(a, w0, t10); t11 = dot(a, w1, t11); t12 = dot(a, w2, t12); t13 = dot(a, w3, t13);
        a = v128.load_splat<i32>(a2, 4);
        t20 = dot(a, w0, t20); t21 = dot(a, w1, t21); t22 = dot(a, w2, t22); t23 = dot(a, w3, t23);
        a = v128.load_splat<i32>(a3, 4);
        t30 = dot(a, w0, t30); t31 = dot(a, w1, t31); t32 = dot(a, w2, t32); t33 = dot(a, w3, t33);
      }
      // Widened once for the whole set: this is what the kernel saves.
      const ones = v128.load_splat<i32>(ONES);
      addPairs(sums, ones, t00, t01, t02, t03);
      addPairs(sums + 128, ones, t10, t11, t12, t13);
      addPairs(sums + 256, ones, t20, t21, t22, t23);
      addPairs(sums + 384, ones, t30, t31, t32, t33);
    }
  }
  // Single lines: each is widened at once.
  const ones = v128.load_splat<i32>(ONES);
  for (const end = load<usize>(ends); offsets < end; offsets += 4, w += 64) {
    const at = load<usize>(offsets);
    w0 = v128.load(w, 0); w1 = v128.load(w, 16); w2 = v128.load(w, 32); w3 = v128.load(w, 48);
    addLine(x + at, w0, w1, w2, w3, ones, sums);
    addLine(x1 + at, w0, w1, w2, w3, ones, sums + 128);
    addLine(x2 + at, w0, w1, w2, w3, ones, sums + 256);
    addLine(x3 + at, w0, w1, w2, w3, ones, sums + 384);
  }
  storeSums(y, sums, scales, zeros, constants);
  storeSums(y + yStride, sums + 128, scales + 4, zeros + 4, constants);
  storeSums(y + 2 * yStride, sums + 256, scales + 8, zeros + 8, constants);
  storeSums(y + 3 * yStride, sums + 384, scales + 12, zeros + 12, constants);
}
