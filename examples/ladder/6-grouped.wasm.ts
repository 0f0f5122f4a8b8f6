/**
 * Step 6: sums in 16 bits (`grouped`), for CPUs without AVX-VNNI. There step 5's instruction is three: multiply and add
 * pairs to 16 bits (vpmaddubsw), widen to 32, add. Here lines are added up in 16 bits, and widened once a run.
 *
 *   line     | w0 x0 + w1 x1 | w2 x2 + w3 x3 | ...   16 bits, 8 sums in a register: two for each column
 *   + line   |       +       |       +       |
 *   + ...    |       +       |       +       |       until the next line might leave 16 bits
 *   y       +=     the two sums of each column       32 bits
 *
 * A line may join a run while the |w| in each 16-bit sum add up to at most 255, since 255 * 128 < 2^15: whatever x is.
 *   w  | sums | panels as in step 5 | for each panel the bytes of each run's lines: [features/4] int32 |
 */
import { packPanels } from './4-panel.wasm';

export function pack(from: usize, to: usize, features: i32, out: i32): void {
  packPanels(from, to, features, out, 4);
  const most = i16x8.splat(255), bytes = <usize>features << 4;
  for (let line = to + (<usize>out << 2), end = line + bytes * (<usize>out >> 4), runs = end; line < end; ) {
    for (let first = line, last = line + bytes, next = runs; first < last; first = line, next += 4) {
      for (let s0 = i16x8.splat(0), s1 = s0, s2 = s0, s3 = s0; line < last; line += 64) {
        s0 = added(s0, line); s1 = added(s1, line + 16); s2 = added(s2, line + 32); s3 = added(s3, line + 48);
        const large = i16x8.gt_s(i16x8.max_s(i16x8.max_s(s0, s1), i16x8.max_s(s2, s3)), most);
        if (line > first && v128.any_true(large)) break;
      }
      store<i32>(next, <i32>(line - first));
    }
    runs += <usize>features;
  }
}
function added(sums: v128, line: usize): v128 { // |w| of the pairs of a line
  return i16x8.add(sums, i16x8.extadd_pairwise_i8x16_u(i8x16.abs(v128.load(line))));
}
function dot(t: v128, x: v128, w: v128): v128 {
  return i16x8.add(t, i16x8.relaxed_dot_i8x16_i7x16_s(w, x));
}
function start(y: usize, sums: usize, factor: i32): void { // what the zero point takes away, of a row's 16 columns
  for (let i: usize = 0; i < 64; i += 4) store<i32>(y + i, factor * load<i32>(sums + i));
}
function summed(y: usize, t: v128): v128 { // y + the pairs of 4 columns
  return i32x4.add(v128.load(y), i32x4.dot_i16x8_s(t, i16x8.splat(1)));
}
function widen(y: usize, t0: v128, t1: v128, t2: v128, t3: v128): void { // adds a run to a row's 16 columns
  const c0 = summed(y, t0), c1 = summed(y + 16, t1), c2 = summed(y + 32, t2), c3 = summed(y + 48, t3);
  v128.store(y, c3, 48); v128.store(y, c2, 32); v128.store(y, c1, 16); v128.store(y, c0, 0);
}

/** One panel: 16 columns of all rows, 4 rows at a time. */
export function multiplyPanel(
  x: usize, w: usize, y: usize, tokens: i32, features: i32, out: i32, zeroPoint: i32, panel: i32): void {
  const n = <usize>features, stride = <usize>out << 2, bytes = n << 4, panels = w + stride, zero = i32x4.splat(0);
  const lines = panels + bytes * <usize>panel, runs = panels + bytes * <usize>(out >> 4) + n * <usize>panel;
  const sums = w + <usize>(panel << 6), end = y + <usize>tokens * stride;
  for (y += <usize>(panel << 6); y < end; y += 4 * stride, x += 4 * n) {
    start(y, sums, -zeroPoint); start(y + stride, sums, -zeroPoint);
    start(y + 2 * stride, sums, -zeroPoint); start(y + 3 * stride, sums, -zeroPoint);
    for (let line = lines, run = runs, k = x; line < lines + bytes; run += 4) {
      let t00 = zero, t01 = zero, t02 = zero, t03 = zero, t10 = zero, t11 = zero, t12 = zero, t13 = zero;
      let t20 = zero, t21 = zero, t22 = zero, t23 = zero, t30 = zero, t31 = zero, t32 = zero, t33 = zero;
      for (const last = line + load<usize>(run); line < last; line += 64, k += 4) {
        const w0 = v128.load(line, 0), w1 = v128.load(line, 16), w2 = v128.load(line, 32), w3 = v128.load(line, 48);
        const v0 = v128.load_splat<i32>(k), v1 = v128.load_splat<i32>(k + n);
        const v2 = v128.load_splat<i32>(k + 2 * n), v3 = v128.load_splat<i32>(k + 3 * n);
        t00 = dot(t00, v0, w0); t01 = dot(t01, v0, w1); t02 = dot(t02, v0, w2); t03 = dot(t03, v0, w3);
        t10 = dot(t10, v1, w0); t11 = dot(t11, v1, w1); t12 = dot(t12, v1, w2); t13 = dot(t13, v1, w3);
        t20 = dot(t20, v2, w0); t21 = dot(t21, v2, w1); t22 = dot(t22, v2, w2); t23 = dot(t23, v2, w3);
        t30 = dot(t30, v3, w0); t31 = dot(t31, v3, w1); t32 = dot(t32, v3, w2); t33 = dot(t33, v3, w3);
      }
      widen(y, t00, t01, t02, t03); widen(y + stride, t10, t11, t12, t13);
      widen(y + 2 * stride, t20, t21, t22, t23); widen(y + 3 * stride, t30, t31, t32, t33);
    }
  }
}

export function multiply(x: usize, w: usize, y: usize, tokens: i32, features: i32, out: i32, zeroPoint: i32): void {
  for (let panel = 0; panel < out >> 4; panel++) multiplyPanel(x, w, y, tokens, features, out, zeroPoint, panel);
}
