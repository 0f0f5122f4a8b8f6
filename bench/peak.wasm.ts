/**
 * The most that this CPU does of an instruction: loops over registers only, for ops.ts to compare with. Twelve pairs of
 * accumulators hide the instruction's latency; a pair becomes one register when V8 widens it. AssemblyScript.
 */
import { madd } from '../kernels/math.wasm';

/** The instruction for a weight of i8, i16 or f32. */
// @ts-ignore: decorator
@inline
function step<T>(x: v128, w: v128, c: v128): v128 {
  if (isFloat<T>()) return madd(x, w, c);
  if (sizeof<T>() == 2) return i32x4.add(c, i32x4.dot_i16x8_s(c, w)); // with x instead of c it would be taken out of the loop
  return i32x4.relaxed_dot_i8x16_i7x16_add_s(w, x, c);
}

/** `rounds` x 24 of them */
function loop<T>(at: usize, rounds: i32): void {
  let c00 = v128.load(at, 0), c01 = v128.load(at, 16), c02 = v128.load(at, 32), c03 = v128.load(at, 48);
  let c04 = v128.load(at, 64), c05 = v128.load(at, 80), c06 = v128.load(at, 96), c07 = v128.load(at, 112);
  let c08 = v128.load(at, 128), c09 = v128.load(at, 144), c10 = v128.load(at, 160), c11 = v128.load(at, 176);
  let c12 = v128.load(at, 192), c13 = v128.load(at, 208), c14 = v128.load(at, 224), c15 = v128.load(at, 240);
  let c16 = v128.load(at, 256), c17 = v128.load(at, 272), c18 = v128.load(at, 288), c19 = v128.load(at, 304);
  let c20 = v128.load(at, 320), c21 = v128.load(at, 336), c22 = v128.load(at, 352), c23 = v128.load(at, 368);
  const w0 = v128.load(at, 384), w1 = v128.load(at, 400), x = v128.load_splat<i32>(at, 416);
  for (; rounds > 0; rounds--) {
    c00 = step<T>(x, w0, c00); c01 = step<T>(x, w1, c01); c02 = step<T>(x, w0, c02); c03 = step<T>(x, w1, c03);
    c04 = step<T>(x, w0, c04); c05 = step<T>(x, w1, c05); c06 = step<T>(x, w0, c06); c07 = step<T>(x, w1, c07);
    c08 = step<T>(x, w0, c08); c09 = step<T>(x, w1, c09); c10 = step<T>(x, w0, c10); c11 = step<T>(x, w1, c11);
    c12 = step<T>(x, w0, c12); c13 = step<T>(x, w1, c13); c14 = step<T>(x, w0, c14); c15 = step<T>(x, w1, c15);
    c16 = step<T>(x, w0, c16); c17 = step<T>(x, w1, c17); c18 = step<T>(x, w0, c18); c19 = step<T>(x, w1, c19);
    c20 = step<T>(x, w0, c20); c21 = step<T>(x, w1, c21); c22 = step<T>(x, w0, c22); c23 = step<T>(x, w1, c23);
  }
  v128.store(at, c01, 16); v128.store(at, c00, 0); v128.store(at, c03, 48); v128.store(at, c02, 32);
  v128.store(at, c05, 80); v128.store(at, c04, 64); v128.store(at, c07, 112); v128.store(at, c06, 96);
  v128.store(at, c09, 144); v128.store(at, c08, 128); v128.store(at, c11, 176); v128.store(at, c10, 160);
  v128.store(at, c13, 208); v128.store(at, c12, 192); v128.store(at, c15, 240); v128.store(at, c14, 224);
  v128.store(at, c17, 272); v128.store(at, c16, 256); v128.store(at, c19, 304); v128.store(at, c18, 288);
  v128.store(at, c21, 336); v128.store(at, c20, 320); v128.store(at, c23, 368); v128.store(at, c22, 352);
}

/** `rounds` x 24 relaxed dot products of 16 bytes */
export function relaxed(at: usize, rounds: i32): void {
  loop<i8>(at, rounds);
}

// @ts-ignore: decorator
@inline
function four(c: v128, w0: v128, w1: v128, w2: v128, w3: v128, ones: v128): v128 {
  const t0 = i16x8.relaxed_dot_i8x16_i7x16_s(w0, c), t1 = i16x8.relaxed_dot_i8x16_i7x16_s(w1, c);
  const t2 = i16x8.relaxed_dot_i8x16_i7x16_s(w2, c), t3 = i16x8.relaxed_dot_i8x16_i7x16_s(w3, c);
  return i32x4.add(c, i32x4.dot_i16x8_s(i16x8.add(i16x8.add(t0, t1), i16x8.add(t2, t3)), ones));
}

/** `rounds` x 48 relaxed dot products of 16 bytes, four added up in 16 bits */
export function grouped(at: usize, rounds: i32): void {
  let c0 = v128.load(at, 0), c1 = v128.load(at, 16), c2 = v128.load(at, 32), c3 = v128.load(at, 48);
  let c4 = v128.load(at, 64), c5 = v128.load(at, 80), c6 = v128.load(at, 96), c7 = v128.load(at, 112);
  let c8 = v128.load(at, 128), c9 = v128.load(at, 144), c10 = v128.load(at, 160), c11 = v128.load(at, 176);
  const w0 = v128.load_splat<i32>(at, 384), w1 = v128.load_splat<i32>(at, 388), w2 = v128.load_splat<i32>(at, 392);
  const w3 = v128.load_splat<i32>(at, 396), ones = v128.load_splat<i32>(at, 400);
  for (; rounds > 0; rounds--) {
    c0 = four(c0, w0, w1, w2, w3, ones); c1 = four(c1, w0, w1, w2, w3, ones);
    c2 = four(c2, w0, w1, w2, w3, ones); c3 = four(c3, w0, w1, w2, w3, ones);
    c4 = four(c4, w0, w1, w2, w3, ones); c5 = four(c5, w0, w1, w2, w3, ones);
    c6 = four(c6, w0, w1, w2, w3, ones); c7 = four(c7, w0, w1, w2, w3, ones);
    c8 = four(c8, w0, w1, w2, w3, ones); c9 = four(c9, w0, w1, w2, w3, ones);
    c10 = four(c10, w0, w1, w2, w3, ones); c11 = four(c11, w0, w1, w2, w3, ones);
  }
  v128.store(at, c1, 16); v128.store(at, c0, 0); v128.store(at, c3, 48); v128.store(at, c2, 32);
  v128.store(at, c5, 80); v128.store(at, c4, 64); v128.store(at, c7, 112); v128.store(at, c6, 96);
  v128.store(at, c9, 144); v128.store(at, c8, 128); v128.store(at, c11, 176); v128.store(at, c10, 160);
}

/** `rounds` x 24 dot products of 8 int16 */
export function int16(at: usize, rounds: i32): void {
  loop<i16>(at, rounds);
}

/** `rounds` x 24 multiply-adds of 4 floats */
export function float32(at: usize, rounds: i32): void {
  loop<f32>(at, rounds);
}
