/**
 * linearInt8: y = float32(sum_k (xq - zeroPoint) wq) * (xScale * wScale) + bias, then GELU where the command asks for
 * it. Formula, bound, cases: linearInt8.ts. quantize.wasm.ts makes xq, and dequantize.wasm.ts turns the sums into y.
 *
 * Weights lie in panels of 16 output columns, as in linear.wasm.ts, but several k of one column lie side by side, so
 * that one instruction multiplies them and adds the products. The panel of `relaxed`, [out/16][in/4][16][4] int8:
 *
 *               <----------------------------- 64 bytes ----------------------------->
 *   k = 0..3    n: w0 w1 w2 w3 | n+1: w0 w1 w2 w3 | n+2: ... | ...... | n+15: w0 w1 w2 w3
 *   k = 4..7    n: w4 w5 w6 w7 | n+1: w4 w5 w6 w7 | ...
 *               <----------- 16 bytes: one load, 4 columns x 4 k ----------->
 *
 * Four inner products give the same sums:
 *   relaxed  xq is u8 [tokens][in]; a 32-bit splat of xq is 4 k for all columns. One vpdpbusd on a CPU with AVX-VNNI,
 *            three instructions on AVX2. The instruction promises 7-bit activations only; xq reaches 128, which
 *            works where the CPU takes xq as unsigned (x86).
 *   signed   the same instruction where the CPU takes xq as signed (ARM: one sdot): xq and the zero point are 64 less, and
 *            sum (xq - 64) wq - (zeroPoint - 64) sum wq is the same integer. Only quantize.wasm.ts differs.
 *   grouped  the same lines in another order, for AVX2 without AVX-VNNI: linearInt8Grouped.wasm.ts.
 *   int16    xq is i16 [tokens][in], panels [out/16][in/2][16][2] int8, for every engine: linearInt16.wasm.ts.
 *
 *   for each panel of this chunk:
 *     for each tile of 6 rows (grouped, int16: 4): c = 0; for each k: c[r][n] += products; y = dequantized c, GELU
 *
 * The zero point stays out of the loop: dequantize.wasm.ts subtracts zeroPoint * (sum of the column's weights) at the
 * end.
 */
import { storeRow } from './dequantize.wasm';
import { TILE_6X16 } from './linear.wasm';
import { groupedTile, TILE_ROWS as GROUPED_ROWS } from './linearInt8Grouped.wasm';
import { int16Tile, TILE_ROWS as INT16_ROWS } from './linearInt16.wasm';
import { activate, share } from './math.wasm';

/** The inner products by their numbers in a command; `relaxed`, 0, is the other one. */
export const SIGNED: i32 = 1, GROUPED: i32 = 2, INT16: i32 = 3;

/** Rows of a relaxed tile: 6, for the reason given in linear.wasm.ts. */
const RELAXED_ROWS: i32 = 6;

/** c + the sums of 4 products of 8 bits in each 32-bit lane. Only the relaxed builds have it. */
// @ts-ignore: decorator
@inline
export function dot(x: v128, w: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return i32x4.relaxed_dot_i8x16_i7x16_add_s(w, x, c);
  return c;
}

/**
 * Tile of 6 rows x 16 columns if `wide`, which the compiler knows, otherwise x 8, the first half of a panel. `features` is
 * the length of a row of x in bytes. `constants` is the panel's block, drawn in dequantize.wasm.ts; `scales` and `zeros`
 * point to the first row's scale and zero point.
 */
// @ts-ignore: decorator
@inline
function sixRows(
  wide: bool, x: usize, features: usize, w: usize, constants: usize, scales: usize, zeros: usize, y: usize,
  yStride: usize,
): void {
  const zero = i32x4.splat(0);
  let c00 = zero, c01 = zero, c02 = zero, c03 = zero, c10 = zero, c11 = zero, c12 = zero, c13 = zero;
  let c20 = zero, c21 = zero, c22 = zero, c23 = zero, c30 = zero, c31 = zero, c32 = zero, c33 = zero;
  let c40 = zero, c41 = zero, c42 = zero, c43 = zero, c50 = zero, c51 = zero, c52 = zero, c53 = zero;
  const x1 = x + features, x2 = x1 + features, x3 = x2 + features, x4 = x3 + features, x5 = x4 + features;
  for (let at: usize = 0; at < features; at += 4, w += 64) {
    // One line of the panel serves six rows; each row gives 4 of its bytes to all columns.
    const w0 = v128.load(w, 0), w1 = v128.load(w, 16);
    const w2 = wide ? v128.load(w, 32) : zero, w3 = wide ? v128.load(w, 48) : zero;
    let a = v128.load_splat<i32>(x + at);
    c00 = dot(a, w0, c00); c01 = dot(a, w1, c01);
    if (wide) { c02 = dot(a, w2, c02); c03 = dot(a, w3, c03); }
    a = v128.load_splat<i32>(x1 + at);
    c10 = dot(a, w0, c10); c11 = dot(a, w1, c11);
    if (wide) { c12 = dot(a, w2, c12); c13 = dot(a, w3, c13); }
    a = v128.load_splat<i32>(x2 + at);
    c20 = dot(a, w0, c20); c21 = dot(a, w1, c21);
    if (wide) { c22 = dot(a, w2, c22); c23 = dot(a, w3, c23); }
    a = v128.load_splat<i32>(x3 + at);
    c30 = dot(a, w0, c30); c31 = dot(a, w1, c31);
    if (wide) { c32 = dot(a, w2, c32); c33 = dot(a, w3, c33); }
    a = v128.load_splat<i32>(x4 + at);
    c40 = dot(a, w0, c40); c41 = dot(a, w1, c41);
    if (wide) { c42 = dot(a, w2, c42); c43 = dot(a, w3, c43); }
    a = v128.load_splat<i32>(x5 + at);
    c50 = dot(a, w0, c50); c51 = dot(a, w1, c51);
    if (wide) { c52 = dot(a, w2, c52); c53 = dot(a, w3, c53); }
  }
  // The sums become float32 while in registers. Each row has its own scale and zero point, 4 bytes apart.
  storeRow(wide, y, c00, c01, c02, c03, scales, zeros, constants);
  storeRow(wide, y + yStride, c10, c11, c12, c13, scales + 4, zeros + 4, constants);
  storeRow(wide, y + 2 * yStride, c20, c21, c22, c23, scales + 8, zeros + 8, constants);
  storeRow(wide, y + 3 * yStride, c30, c31, c32, c33, scales + 12, zeros + 12, constants);
  storeRow(wide, y + 4 * yStride, c40, c41, c42, c43, scales + 16, zeros + 16, constants);
  storeRow(wide, y + 5 * yStride, c50, c51, c52, c53, scales + 20, zeros + 20, constants);
}
export function relaxed6x16(
  x: usize, features: usize, w: usize, constants: usize, scales: usize, zeros: usize, y: usize, yStride: usize,
): void {
  sixRows(true, x, features, w, constants, scales, zeros, y, yStride);
}
export function relaxed6x8(
  x: usize, features: usize, w: usize, constants: usize, scales: usize, zeros: usize, y: usize, yStride: usize,
): void {
  sixRows(false, x, features, w, constants, scales, zeros, y, yStride);
}

/**
 * Command, 14 words: xq, weight, constants, y, tokens, in (padded), out (padded), activation (0 to 4), product, tile, scales,
 * zeros, offsets, sums. `offsets` is the address of linearInt8Grouped's tables, or 0; `sums` is its scratch, 512 bytes for
 * each thread.
 */
export function linearInt8(command: usize, chunk: i32, chunks: i32, thread: i32): void {
  const x = load<usize>(command, 0), weight = load<usize>(command, 4), constants = load<usize>(command, 8);
  const y = load<usize>(command, 12);
  const tokens = load<i32>(command, 16), features = load<i32>(command, 20), out = load<i32>(command, 24);
  const activation = load<i32>(command, 28), product = load<i32>(command, 32), shape = load<i32>(command, 36);
  const scales = load<usize>(command, 40), zeros = load<usize>(command, 44), offsets = load<usize>(command, 48);
  const sums = load<usize>(command, 52) + (<usize>thread << 9);
  const xStride = <usize>(product == INT16 ? features << 1 : features), yStride = <usize>out << 2;
  const end = share(out >> 4, chunk + 1, chunks);
  for (let panel = share(out >> 4, chunk, chunks); panel < end; panel++) {
    const w = weight + <usize>(panel * features << 4); // 16 bytes for each k in every layout
    const k = constants + <usize>(panel * 192);
    // A panel's table has 5 words, then at most one word for every 4 bytes of a row of xq.
    const o = offsets + <usize>panel * (xStride + 20);
    for (let row = 0, rows = 0; row < tokens; row += rows) {
      const a = x + <usize>row * xStride, s = scales + <usize>(row << 2), z = zeros + <usize>(row << 2);
      const c = y + <usize>row * yStride + <usize>(panel << 6);
      // The last tile computes rows of padding where it reaches past the end; nothing reads them.
      if (product == GROUPED) {
        rows = GROUPED_ROWS;
        groupedTile(a, xStride, w, o, k, s, z, c, yStride, sums);
      } else if (product == INT16) {
        rows = INT16_ROWS;
        int16Tile(a, xStride, w, k, s, z, c, yStride);
        // Columns 8 to 15: 32 bytes further in the constants and in y, half a line further in the panel.
        int16Tile(a, xStride, w + 16, k + 32, s, z, c + 32, yStride);
      } else {
        rows = RELAXED_ROWS;
        if (shape == TILE_6X16) relaxed6x16(a, xStride, w, k, s, z, c, yStride);
        else {
          relaxed6x8(a, xStride, w, k, s, z, c, yStride);
          relaxed6x8(a, xStride, w + 32, k + 32, s, z, c + 32, yStride);
        }
      }
      if (activation) activate(c, yStride, min(rows, tokens - row), activation);
    }
  }
}
