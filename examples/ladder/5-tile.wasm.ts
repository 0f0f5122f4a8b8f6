/**
 * Step 5: the relaxed dot product, in a tile of 6 rows x 16 columns. The instruction multiplies 16 bytes, and adds four
 * products to each sum of 32 bits: with AVX-VNNI it is one instruction (vpdpbusd), on other CPUs up to three. It takes
 * 7 bits of x. And a line of the panel, once loaded, serves six rows:
 *
 *                           line: k 0..3 of 16 columns, 64 bytes
 *                           | w0 w1 w2 w3 | w0 w1 w2 w3 | ... |        loads for 384 products:
 *   row 0   x0 x1 x2 x3 ->  |    sum 0    |    sum 1    | ... |          4 of w and 6 of x; without the tile
 *   ...                     | ...                             |          it would be 24 and 6
 *   row 5   x0 x1 x2 x3 ->  |    sum 80   |    sum 81   | ... |        24 registers of sums stay registers
 *                                                                      (12, where V8 makes 256 bits of pairs)
 */
import { packPanels } from './4-panel.wasm';

export function pack(from: usize, to: usize, features: i32, out: i32): void {
  packPanels(from, to, features, out, 4);
}

function dot(c: v128, x: v128, w: v128): v128 {
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(w, x, c);
}
function store16(y: usize, c0: v128, c1: v128, c2: v128, c3: v128): void {
  v128.store(y, c3, 48); v128.store(y, c2, 32); v128.store(y, c1, 16); v128.store(y, c0, 0);
}

export function multiply(x: usize, w: usize, y: usize, tokens: i32, features: i32, out: i32, zeroPoint: i32): void {
  const zero = i32x4.splat(-zeroPoint), n = <usize>features, stride = <usize>out << 2;
  for (let column = 0, panel = w + stride; column < out; column += 16, w += 64, panel += n << 4) {
    for (let row = 0, a = x, to = y + <usize>(column << 2); row < tokens; row += 6, a += 6 * n, to += 6 * stride) {
      let c00 = i32x4.mul(zero, v128.load(w, 0)), c01 = i32x4.mul(zero, v128.load(w, 16));
      let c02 = i32x4.mul(zero, v128.load(w, 32)), c03 = i32x4.mul(zero, v128.load(w, 48));
      let c10 = c00, c11 = c01, c12 = c02, c13 = c03, c20 = c00, c21 = c01, c22 = c02, c23 = c03;
      let c30 = c00, c31 = c01, c32 = c02, c33 = c03, c40 = c00, c41 = c01, c42 = c02, c43 = c03;
      let c50 = c00, c51 = c01, c52 = c02, c53 = c03;
      for (let k = a, line = panel; k < a + n; k += 4, line += 64) {
        const w0 = v128.load(line, 0), w1 = v128.load(line, 16), w2 = v128.load(line, 32), w3 = v128.load(line, 48);
        let v = v128.load_splat<i32>(k);
        c00 = dot(c00, v, w0); c01 = dot(c01, v, w1); c02 = dot(c02, v, w2); c03 = dot(c03, v, w3);
        v = v128.load_splat<i32>(k + n);
        c10 = dot(c10, v, w0); c11 = dot(c11, v, w1); c12 = dot(c12, v, w2); c13 = dot(c13, v, w3);
        v = v128.load_splat<i32>(k + 2 * n);
        c20 = dot(c20, v, w0); c21 = dot(c21, v, w1); c22 = dot(c22, v, w2); c23 = dot(c23, v, w3);
        v = v128.load_splat<i32>(k + 3 * n);
        c30 = dot(c30, v, w0); c31 = dot(c31, v, w1); c32 = dot(c32, v, w2); c33 = dot(c33, v, w3);
        v = v128.load_splat<i32>(k + 4 * n);
        c40 = dot(c40, v, w0); c41 = dot(c41, v, w1); c42 = dot(c42, v, w2); c43 = dot(c43, v, w3);
        v = v128.load_splat<i32>(k + 5 * n);
        c50 = dot(c50, v, w0); c51 = dot(c51, v, w1); c52 = dot(c52, v, w2); c53 = dot(c53, v, w3);
      }
      store16(to, c00, c01, c02, c03); store16(to + stride, c10, c11, c12, c13);
      store16(to + 2 * stride, c20, c21, c22, c23); store16(to + 3 * stride, c30, c31, c32, c33);
      store16(to + 4 * stride, c40, c41, c42, c43); store16(to + 5 * stride, c50, c51, c52, c53);
    }
  }
}
