/**
 * SIMD arithmetic that the kernels share. AssemblyScript: compiled to WebAssembly, not run as TypeScript.
 *
 * Rules that hold in all kernels, so that V8's revectorizer can join two 128-bit halves into one 256-bit operation:
 * work on 8 floats at least, both halves' loads first, then the arithmetic, then the stores, the higher address first;
 * offsets are immediates; constants come from memory, as literals would be made anew in each round.
 */

/** a * b + c, rounded once where the engine and the CPU can. */
// @ts-ignore: decorator
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/** c - a * b */
// @ts-ignore: decorator
@inline
export function nmadd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_nmadd(a, b, c);
  return f32x4.sub(c, f32x4.mul(a, b));
}

/** Larger of two numbers, neither NaN: one instruction, where f32x4.max is seven. */
// @ts-ignore: decorator
@inline
export function larger(a: v128, b: v128): v128 {
  return f32x4.pmax(a, b);
}

// @ts-ignore: decorator
@inline
export function sumLanes(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
  );
}

// @ts-ignore: decorator
@inline
export function maxLanes(v: v128): f32 {
  return max(
    max(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1)),
    max(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)),
  );
}

/**
 * exp's constants: -87.3 (below it the result would be subnormal), 1/ln 2, ln 2 in two parts whose first has 12 zero
 * bits at its end (Cody & Waite 1980), and P of exp(r) = 1 + r + r^2 P(r) for |r| <= ln(2)/2, a weighted least squares
 * fit with relative error 4.2e-9. Last 1.5 * 2^23 + 127: added to a small float, it leaves that float rounded to an
 * integer in the low bits, 127 more, which is the exponent of 2 to that power.
 */
const EXP: usize = memory.data<f32>([
  -87.3, 1.44269504, 0.693359375, -2.12194440e-4,
  0.00139460985, 0.00836908519, 0.0416662695, 0.166665167, 0.500000008, 1.0, 12583039.0,
]);

/** exp(x) for x <= 88: relative error below 2e-7. */
// @ts-ignore: decorator
@inline
export function exp(x: v128): v128 {
  x = f32x4.pmax(x, v128.load_splat<f32>(EXP, 0));
  const magic = v128.load_splat<f32>(EXP, 40);
  const t = madd(x, v128.load_splat<f32>(EXP, 4), magic);
  const n = f32x4.sub(t, magic);
  let r = nmadd(n, v128.load_splat<f32>(EXP, 8), x);
  r = nmadd(n, v128.load_splat<f32>(EXP, 12), r);
  let p = v128.load_splat<f32>(EXP, 16);
  p = madd(p, r, v128.load_splat<f32>(EXP, 20));
  p = madd(p, r, v128.load_splat<f32>(EXP, 24));
  p = madd(p, r, v128.load_splat<f32>(EXP, 28));
  p = madd(p, r, v128.load_splat<f32>(EXP, 32));
  const one = v128.load_splat<f32>(EXP, 36);
  p = madd(p, f32x4.mul(r, r), f32x4.add(r, one));
  return f32x4.mul(p, i32x4.shl(t, 23));
}

/**
 * q(u) = log Phi(-u) on [0, 6], Phi the normal distribution: a weighted least squares fit of degree 8, highest first;
 * Phi itself errs by at most 4.1e-8. Then 6, and 0.
 */
const GELU: usize = memory.data<f32>([
  -1.92145032e-6, 2.67700002e-5, -1.26532980e-4, -1.01108012e-4, 0.00490434142, -0.0363937113, -0.318296587,
  -0.797885687, -0.693147166, 6.0, 0.0,
]);

/**
 * GELU, x Phi(x) = max(x, 0) - |x| Phi(-|x|): nothing cancels, and error < 4 U |x| (U = 2^-24). Beyond 6 the second
 * term, below 6e-9, is dropped.
 */
// @ts-ignore: decorator
@inline
export function gelu(x: v128): v128 {
  const u = f32x4.abs(x);
  let q = v128.load_splat<f32>(GELU, 0);
  q = madd(q, u, v128.load_splat<f32>(GELU, 4));
  q = madd(q, u, v128.load_splat<f32>(GELU, 8));
  q = madd(q, u, v128.load_splat<f32>(GELU, 12));
  q = madd(q, u, v128.load_splat<f32>(GELU, 16));
  q = madd(q, u, v128.load_splat<f32>(GELU, 20));
  q = madd(q, u, v128.load_splat<f32>(GELU, 24));
  q = madd(q, u, v128.load_splat<f32>(GELU, 28));
  q = madd(q, u, v128.load_splat<f32>(GELU, 32));
  const inside = f32x4.lt(u, v128.load_splat<f32>(GELU, 36));
  const tail = v128.and(exp(f32x4.pmin(q, v128.load_splat<f32>(GELU, 40))), inside);
  return nmadd(u, tail, f32x4.pmax(x, v128.load_splat<f32>(GELU, 40)));
}

/** GELU in place of `rows` rows of 16 floats, `stride` bytes apart. */
export function geluRows(at: usize, stride: usize, rows: i32): void {
  for (let row = 0; row < rows; row++, at += stride) {
    const a = v128.load(at, 0);
    const b = v128.load(at, 16);
    const c = v128.load(at, 32);
    const d = v128.load(at, 48);
    const e = gelu(a);
    const f = gelu(b);
    const g = gelu(c);
    const h = gelu(d);
    v128.store(at, h, 48);
    v128.store(at, g, 32);
    v128.store(at, f, 16);
    v128.store(at, e, 0);
  }
}

/** First of the items that a thread works on, of `count` shared evenly; the next thread's first is its end. */
// @ts-ignore: decorator
@inline
export function share(count: i32, thread: i32, threads: i32): i32 {
  return count * thread / threads;
}
