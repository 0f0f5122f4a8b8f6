/**
 * Step 3: SIMD. A register holds 16 bytes; widened to 16 bits they are 8 numbers, and one instruction multiplies 8 pairs
 * and adds neighbours to 4 sums of 32 bits (x86: vpmaddwd).
 *
 *   x   | x0  x1 | x2  x3 | x4  x5 | x6  x7 |   8 of k
 *   w   | w0  w1 | w2  w3 | w4  w5 | w6  w7 |
 *   dot |  x0 w0 |  x2 w2 |  x4 w4 |  x6 w6 |
 *       | +x1 w1 | +x3 w3 | +x5 w5 | +x7 w7 |   added to the sums so far
 *
 * Two costs remain: each pair of loads serves one instruction, and the 4 sums of every result must be added at the end.
 */
export { pack } from './2-bytes.wasm';

export function multiply(x: usize, w: usize, y: usize, tokens: i32, features: i32, out: i32, zeroPoint: i32): void {
  for (let row = 0; row < tokens; row++, x += features) {
    let weights = w + <usize>(out << 2);
    for (let column = 0; column < out; column++, y += 4, weights += features) {
      let c = i32x4.splat(0);
      for (let k: usize = 0; k < <usize>features; k += 8) {
        c = i32x4.add(c, i32x4.dot_i16x8_s(v128.load_ext<u8>(x + k), v128.load_ext<i8>(weights + k)));
      }
      const pairs = i32x4.add(c, v128.shuffle<i32>(c, c, 2, 3, 0, 1));
      const sum = i32x4.extract_lane(pairs, 0) + i32x4.extract_lane(pairs, 1);
      store<i32>(y, sum - zeroPoint * load<i32>(w + <usize>(column << 2)));
    }
  }
}
