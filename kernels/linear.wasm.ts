/**
 * linear, float32: y = x weight^T + bias, then GELU where the command asks for it. Formula, bound, cases: linear.ts.
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
 *       for each k: for each row r: c[r][:] += x[r][k] * panel[k][:]
 *       y[6][16] = gelu(c) or c
 *
 * Why 6 x 16: with 256-bit registers c takes 12, the panel's line 2 and the splat 1 of AVX2's 16 registers.
 * With 128-bit registers 6 x 8 takes as many, so the narrow tile covers a panel in two halves. Chunks divide the
 * panels, not the rows, so that each weight is read by one thread.
 */
import { geluRows, madd, share } from './math.wasm';

/** Rows of a tile. Tensors have room for a multiple of 6 rows; results beyond the last row are never read. */
const ROWS: i32 = 6;

/** Tile of 6 x 16: c[6][16] = init[16] + a[6][k] b[k][16], where b is a panel. Strides are in bytes. */
export function tileWide(a: usize, aStride: usize, b: usize, k: i32, init: usize, c: usize, cStride: usize): void {
  // Row r's 16 sums are cr0 to cr3. All rows start from `init`: the bias, or zeros in attention.
  let c00 = v128.load(init, 0), c01 = v128.load(init, 16), c02 = v128.load(init, 32), c03 = v128.load(init, 48);
  let c10 = c00, c11 = c01, c12 = c02, c13 = c03;
  let c20 = c00, c21 = c01, c22 = c02, c23 = c03;
  let c30 = c00, c31 = c01, c32 = c02, c33 = c03;
  let c40 = c00, c41 = c01, c42 = c02, c43 = c03;
  let c50 = c00, c51 = c01, c52 = c02, c53 = c03;
  const a1 = a + aStride, a2 = a1 + aStride, a3 = a2 + aStride, a4 = a3 + aStride, a5 = a4 + aStride;
  const end = <usize>k << 2;
  for (let at: usize = 0; at < end; at += 4, b += 64) {
    // One line of the panel, loaded once for six rows; then one splat of x for each row.
    const b0 = v128.load(b, 0), b1 = v128.load(b, 16), b2 = v128.load(b, 32), b3 = v128.load(b, 48);
    let x = v128.load_splat<f32>(a + at);
    c00 = madd(x, b0, c00); c01 = madd(x, b1, c01); c02 = madd(x, b2, c02); c03 = madd(x, b3, c03);
    x = v128.load_splat<f32>(a1 + at);
    c10 = madd(x, b0, c10); c11 = madd(x, b1, c11); c12 = madd(x, b2, c12); c13 = madd(x, b3, c13);
    x = v128.load_splat<f32>(a2 + at);
    c20 = madd(x, b0, c20); c21 = madd(x, b1, c21); c22 = madd(x, b2, c22); c23 = madd(x, b3, c23);
    x = v128.load_splat<f32>(a3 + at);
    c30 = madd(x, b0, c30); c31 = madd(x, b1, c31); c32 = madd(x, b2, c32); c33 = madd(x, b3, c33);
    x = v128.load_splat<f32>(a4 + at);
    c40 = madd(x, b0, c40); c41 = madd(x, b1, c41); c42 = madd(x, b2, c42); c43 = madd(x, b3, c43);
    x = v128.load_splat<f32>(a5 + at);
    c50 = madd(x, b0, c50); c51 = madd(x, b1, c51); c52 = madd(x, b2, c52); c53 = madd(x, b3, c53);
  }
  // V8's revectorizer joins two stores only if the higher address comes first.
  v128.store(c, c03, 48); v128.store(c, c02, 32); v128.store(c, c01, 16); v128.store(c, c00, 0);
  c += cStride;
  v128.store(c, c13, 48); v128.store(c, c12, 32); v128.store(c, c11, 16); v128.store(c, c10, 0);
  c += cStride;
  v128.store(c, c23, 48); v128.store(c, c22, 32); v128.store(c, c21, 16); v128.store(c, c20, 0);
  c += cStride;
  v128.store(c, c33, 48); v128.store(c, c32, 32); v128.store(c, c31, 16); v128.store(c, c30, 0);
  c += cStride;
  v128.store(c, c43, 48); v128.store(c, c42, 32); v128.store(c, c41, 16); v128.store(c, c40, 0);
  c += cStride;
  v128.store(c, c53, 48); v128.store(c, c52, 32); v128.store(c, c51, 16); v128.store(c, c50, 0);
}

/** Tile of 6 x 8 for 128-bit registers: the first 8 of the 16 columns at b, init and c. Otherwise as tileWide. */
export function tileNarrow(a: usize, aStride: usize, b: usize, k: i32, init: usize, c: usize, cStride: usize): void {
  let c00 = v128.load(init, 0), c01 = v128.load(init, 16);
  let c10 = c00, c11 = c01, c20 = c00, c21 = c01, c30 = c00, c31 = c01, c40 = c00, c41 = c01, c50 = c00, c51 = c01;
  const a1 = a + aStride, a2 = a1 + aStride, a3 = a2 + aStride, a4 = a3 + aStride, a5 = a4 + aStride;
  const end = <usize>k << 2;
  for (let at: usize = 0; at < end; at += 4, b += 64) {
    // Half a line of the panel; b still advances by the whole line of 64 bytes.
    const b0 = v128.load(b, 0), b1 = v128.load(b, 16);
    let x = v128.load_splat<f32>(a + at);
    c00 = madd(x, b0, c00); c01 = madd(x, b1, c01);
    x = v128.load_splat<f32>(a1 + at);
    c10 = madd(x, b0, c10); c11 = madd(x, b1, c11);
    x = v128.load_splat<f32>(a2 + at);
    c20 = madd(x, b0, c20); c21 = madd(x, b1, c21);
    x = v128.load_splat<f32>(a3 + at);
    c30 = madd(x, b0, c30); c31 = madd(x, b1, c31);
    x = v128.load_splat<f32>(a4 + at);
    c40 = madd(x, b0, c40); c41 = madd(x, b1, c41);
    x = v128.load_splat<f32>(a5 + at);
    c50 = madd(x, b0, c50); c51 = madd(x, b1, c51);
  }
  v128.store(c, c01, 16); v128.store(c, c00, 0);
  c += cStride;
  v128.store(c, c11, 16); v128.store(c, c10, 0);
  c += cStride;
  v128.store(c, c21, 16); v128.store(c, c20, 0);
  c += cStride;
  v128.store(c, c31, 16); v128.store(c, c30, 0);
  c += cStride;
  v128.store(c, c41, 16); v128.store(c, c40, 0);
  c += cStride;
  v128.store(c, c51, 16); v128.store(c, c50, 0);
}

/** A tile of 6 x 16, at once where `wide`, else as two halves of 6 x 8. The device chooses at load. */
// @ts-ignore: decorator
@inline
export function tile(
  wide: bool, a: usize, aStride: usize, b: usize, k: i32, init: usize, c: usize, cStride: usize,
): void {
  if (wide) tileWide(a, aStride, b, k, init, c, cStride);
  else {
    tileNarrow(a, aStride, b, k, init, c, cStride);
    // Columns 8 to 15 begin 8 floats (32 bytes) further in the panel, the bias and y.
    tileNarrow(a, aStride, b + 32, k, init + 32, c + 32, cStride);
  }
}

/** Command, 9 words: x, weight, bias, y, tokens, in (padded), out (padded), gelu (0 or 1), wide (0 or 1). */
export function linear(command: usize, chunk: i32, chunks: i32, thread: i32): void {
  const x = load<usize>(command, 0), weight = load<usize>(command, 4), bias = load<usize>(command, 8);
  const y = load<usize>(command, 12);
  const tokens = load<i32>(command, 16), features = load<i32>(command, 20), out = load<i32>(command, 24);
  const activation = load<i32>(command, 28), wide = load<i32>(command, 32) != 0;
  const xStride = <usize>features << 2, yStride = <usize>out << 2;
  const end = share(out >> 4, chunk + 1, chunks);
  for (let panel = share(out >> 4, chunk, chunks); panel < end; panel++) {
    const b = weight + <usize>(panel * features << 6); // a panel is `in` lines of 64 bytes
    for (let row = 0; row < tokens; row += ROWS) {
      const c = y + <usize>row * yStride + <usize>(panel << 6);
      tile(wide, x + <usize>row * xStride, xStride, b, features, bias + <usize>(panel << 6), c, yStride);
      // GELU while the tile is still in the cache, and only for the rows that exist.
      if (activation) geluRows(c, yStride, min(ROWS, tokens - row));
    }
  }
}
