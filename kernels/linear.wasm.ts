/**
 * linear, float32: y = x weight^T + bias, then an activation where the command asks for it. Formula, bound, cases: linear.ts.
 *
 * x [tokens][in], y [tokens][out], row-major float32; in and out are padded with zeros to a multiple of 16.
 * The weight is packed in panels of 16 output columns, [out/16][in][16]; the bias is [out/16][16]. One panel, for the
 * columns n to n + 15 (attention packs its keys and values in the same way):
 *
 *            <------------- 64 bytes ------------->
 *   k = 0    w[n][0]   w[n+1][0]   ...   w[n+15][0]     Four loads of 128 bits read one line: 16 columns of one k.
 *   k = 1    w[n][1]   w[n+1][1]   ...   w[n+15][1]     One splat of x[row][k] multiplies the whole line.
 *   ...                                                 The next panel follows after `in` lines.
 *
 *   for each panel of this chunk:
 *     for each tile of 6 rows:
 *       c[6][16] = bias
 *       for each block of k:
 *         s[6][16] = 0; for each k: for each row r: s[r][:] += x[r][k] * panel[k][:]
 *         c += s
 *       y[6][16] = c, or its activation
 *
 * Why 6 x 16: with 256-bit registers c takes 12, the panel's line 2 and the splat 1 of AVX2's 16 registers.
 * With 128-bit registers 6 x 8 takes as many, so that tile covers a panel in two halves; ARM has 32 such registers, enough
 * for 6 x 16. Chunks divide the panels, not the rows, so that each weight is read by one thread.
 */
import { activate, madd, share } from './math.wasm';

/**
 * Products that are added up before their sum is added to c: 256, or all of a row that is not much longer. The fewer, the
 * smaller the rounding errors (test/accuracy.test.ts compares them with PyTorch's).
 */
// @ts-ignore: decorator
@inline
function blockOf(k: i32): usize {
  return k > 384 ? 1024 : 1536; // in bytes of a row
}
/** 0.0. It is loaded for each block: a literal would keep a register through the loop, which needs them all. */
const ZERO: usize = memory.data<f32>([0]);
/** Rows of a tile. Tensors have room for a multiple of 6 rows; results beyond the last row are never read. */
const TILE_ROWS: i32 = 6;

/** Adds the sums of a row, 16 or 8, to what lies at `from`, and stores them at `to`. */
// @ts-ignore: decorator
@inline
function addRow(wide: bool, from: usize, to: usize, c0: v128, c1: v128, c2: v128, c3: v128): void {
  const a = f32x4.add(c0, v128.load(from, 0)), b = f32x4.add(c1, v128.load(from, 16));
  if (wide) {
    const c = f32x4.add(c2, v128.load(from, 32)), d = f32x4.add(c3, v128.load(from, 48));
    // V8's revectorizer joins two stores only if the higher address comes first.
    v128.store(to, d, 48);
    v128.store(to, c, 32);
  }
  v128.store(to, b, 16);
  v128.store(to, a, 0);
}

/**
 * Tile of 6 x 16 if `wide`, which the compiler knows, otherwise of 6 x 8, the first half of each line of the panel:
 * c[6][16] = init[16] + a[6][k] b[k][16]. Strides are in bytes. The sums of a block of k start from 0 and are then added
 * to c, so that rounding errors do not grow with the whole of k.
 */
// @ts-ignore: decorator
@inline
function sixRows(
  wide: bool, a: usize, aStride: usize, b: usize, k: i32, init: usize, c: usize, cStride: usize,
): void {
  const last = a + (<usize>k << 2), block = blockOf(k);
  // Each block adds to what lies here: first to `init`, the same for all rows, then to c.
  let from = init, fromStride: usize = 0;
  do {
    const end = min(a + block, last), a1 = a + aStride, a2 = a1 + aStride, a3 = a2 + aStride, a4 = a3 + aStride;
    const a5 = a4 + aStride, zero = v128.load_splat<f32>(ZERO);
    // Row r's 16 sums are cr0 to cr3.
    let c00 = zero, c01 = zero, c02 = zero, c03 = zero, c10 = zero, c11 = zero, c12 = zero, c13 = zero;
    let c20 = zero, c21 = zero, c22 = zero, c23 = zero, c30 = zero, c31 = zero, c32 = zero, c33 = zero;
    let c40 = zero, c41 = zero, c42 = zero, c43 = zero, c50 = zero, c51 = zero, c52 = zero, c53 = zero;
    const size = end - a;
    for (let at: usize = 0; at < size; at += 4, b += 64) {
      // One line of the panel, loaded once for six rows; then one splat of x for each row.
      const b0 = v128.load(b, 0), b1 = v128.load(b, 16);
      const b2 = wide ? v128.load(b, 32) : zero, b3 = wide ? v128.load(b, 48) : zero;
      let x = v128.load_splat<f32>(a + at);
      c00 = madd(x, b0, c00); c01 = madd(x, b1, c01);
      if (wide) { c02 = madd(x, b2, c02); c03 = madd(x, b3, c03); }
      x = v128.load_splat<f32>(a1 + at);
      c10 = madd(x, b0, c10); c11 = madd(x, b1, c11);
      if (wide) { c12 = madd(x, b2, c12); c13 = madd(x, b3, c13); }
      x = v128.load_splat<f32>(a2 + at);
      c20 = madd(x, b0, c20); c21 = madd(x, b1, c21);
      if (wide) { c22 = madd(x, b2, c22); c23 = madd(x, b3, c23); }
      x = v128.load_splat<f32>(a3 + at);
      c30 = madd(x, b0, c30); c31 = madd(x, b1, c31);
      if (wide) { c32 = madd(x, b2, c32); c33 = madd(x, b3, c33); }
      x = v128.load_splat<f32>(a4 + at);
      c40 = madd(x, b0, c40); c41 = madd(x, b1, c41);
      if (wide) { c42 = madd(x, b2, c42); c43 = madd(x, b3, c43); }
      x = v128.load_splat<f32>(a5 + at);
      c50 = madd(x, b0, c50); c51 = madd(x, b1, c51);
      if (wide) { c52 = madd(x, b2, c52); c53 = madd(x, b3, c53); }
    }
    let to = c;
    addRow(wide, from, to, c00, c01, c02, c03);
    from += fromStride; to += cStride;
    addRow(wide, from, to, c10, c11, c12, c13);
    from += fromStride; to += cStride;
    addRow(wide, from, to, c20, c21, c22, c23);
    from += fromStride; to += cStride;
    addRow(wide, from, to, c30, c31, c32, c33);
    from += fromStride; to += cStride;
    addRow(wide, from, to, c40, c41, c42, c43);
    from += fromStride; to += cStride;
    addRow(wide, from, to, c50, c51, c52, c53);
    from = c;
    fromStride = cStride;
    a = end;
  } while (a < last);
}
export function tile6x16(a: usize, aStride: usize, b: usize, k: i32, init: usize, c: usize, cStride: usize): void {
  sixRows(true, a, aStride, b, k, init, c, cStride);
}
export function tile6x8(a: usize, aStride: usize, b: usize, k: i32, init: usize, c: usize, cStride: usize): void {
  sixRows(false, a, aStride, b, k, init, c, cStride);
}

/** The tile by its number in a command: 6x16, or 6x8 twice. */
export const TILE_6X16: i32 = 0;

/** A tile of 6 x 16, at once or as two halves of 6 x 8. The device chooses at load. */
// @ts-ignore: decorator
@inline
export function tile(
  shape: i32, a: usize, aStride: usize, b: usize, k: i32, init: usize, c: usize, cStride: usize,
): void {
  if (shape == TILE_6X16) tile6x16(a, aStride, b, k, init, c, cStride);
  else {
    tile6x8(a, aStride, b, k, init, c, cStride);
    // Columns 8 to 15 begin 8 floats (32 bytes) further in the panel, the bias and y.
    tile6x8(a, aStride, b + 32, k, init + 32, c + 32, cStride);
  }
}

/** Command, 9 words: x, weight, bias, y, tokens, in (padded), out (padded), activation (0 to 4), tile. */
export function linear(command: usize, chunk: i32, chunks: i32, thread: i32): void {
  const x = load<usize>(command, 0), weight = load<usize>(command, 4), bias = load<usize>(command, 8);
  const y = load<usize>(command, 12);
  const tokens = load<i32>(command, 16), features = load<i32>(command, 20), out = load<i32>(command, 24);
  const activation = load<i32>(command, 28), shape = load<i32>(command, 32);
  const xStride = <usize>features << 2, yStride = <usize>out << 2;
  const end = share(out >> 4, chunk + 1, chunks);
  for (let panel = share(out >> 4, chunk, chunks); panel < end; panel++) {
    const b = weight + <usize>(panel * features << 6); // a panel is `in` lines of 64 bytes
    for (let row = 0; row < tokens; row += TILE_ROWS) {
      const c = y + <usize>row * yStride + <usize>(panel << 6);
      tile(shape, x + <usize>row * xStride, xStride, b, features, bias + <usize>(panel << 6), c, yStride);
      // The activation while the tile is still in the cache, and only for the rows that exist.
      if (activation) activate(c, yStride, min(TILE_ROWS, tokens - row), activation);
    }
  }
}
