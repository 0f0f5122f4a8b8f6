/**
 * Step 4: the weight in panels. 16 columns (rows of the weight) are interleaved, so that a line of a panel has 2 of k of
 * each of them. The lanes of a register are then different results: nothing is added across lanes, and 2 of k of x,
 * copied to all lanes, serve 16 columns.
 *
 *   panel   k 0, 1 | column 0: w0 w1 | column 1: w0 w1 | ... | column 15: w0 w1 |   a line of 32 bytes, 4 registers
 *           k 2, 3 | column 0: w2 w3 | ...
 *   x              |          x0 x1 |          x0 x1 | ... the same everywhere
 *   sums           |       column 0 |       column 1 | ... |       column 15 |     4 registers of 4 sums
 *
 *   w  | sums [out] int32 | panels [out/16][features/unit][16][unit] int8 |        unit = 2
 */
/** Packs panels whose lines have `unit` of k. */
export function packPanels(from: usize, to: usize, features: i32, out: i32, unit: i32): void {
  for (let column = 0; column < out; column++) {
    const panel = to + <usize>((out << 2) + (column >> 4) * (features << 4));
    let sum = 0;
    for (let k = 0; k < features; k++, from++) {
      const value = load<i8>(from);
      store<i8>(panel + <usize>(((k / unit) << 4) * unit + (column & 15) * unit + k % unit), value);
      sum += value;
    }
    store<i32>(to + <usize>(column << 2), sum);
  }
}
export function pack(from: usize, to: usize, features: i32, out: i32): void {
  packPanels(from, to, features, out, 2);
}

function dot(c: v128, x: v128, w: usize): v128 {
  return i32x4.add(c, i32x4.dot_i16x8_s(x, v128.load_ext<i8>(w)));
}

export function multiply(x: usize, w: usize, y: usize, tokens: i32, features: i32, out: i32, zeroPoint: i32): void {
  const zero = i32x4.splat(-zeroPoint);
  for (let column = 0, panel = w + <usize>(out << 2); column < out; column += 16, w += 64, panel += <usize>features << 4) {
    for (let row = 0; row < tokens; row++) {
      const values = x + <usize>(row * features), to = y + <usize>((row * out + column) << 2);
      // The sums begin with what the zero point takes away: one multiplication for each result.
      let c0 = i32x4.mul(zero, v128.load(w, 0)), c1 = i32x4.mul(zero, v128.load(w, 16));
      let c2 = i32x4.mul(zero, v128.load(w, 32)), c3 = i32x4.mul(zero, v128.load(w, 48));
      for (let k: usize = 0, line = panel; k < <usize>features; k += 2, line += 32) {
        const a = i16x8.extend_low_i8x16_u(v128.load_splat<u16>(values + k));
        c0 = dot(c0, a, line); c1 = dot(c1, a, line + 8); c2 = dot(c2, a, line + 16); c3 = dot(c3, a, line + 24);
      }
      v128.store(to, c3, 48); v128.store(to, c2, 32); v128.store(to, c1, 16); v128.store(to, c0, 0);
    }
  }
}
