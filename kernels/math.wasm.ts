/**
 * SIMD arithmetic that the kernels share, and the division of work into chunks. All *.wasm.ts files are
 * AssemblyScript: they are compiled to WebAssembly and never run as TypeScript.
 *
 * Rules of all kernels, so that V8's revectorizer can join two 128-bit halves into one 256-bit operation:
 *   1. work on 8 floats or more at a time;
 *   2. first the loads of both halves, then the arithmetic, then the stores;
 *   3. of two stores, the one to the higher address comes first;
 *   4. offsets are immediates;
 *   5. constants come from memory: a literal would be made anew in each round of a loop.
 */

/** a * b + c, rounded once if the engine and the CPU have a fused multiply-add, else twice. */
// @ts-ignore: decorator
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/** c - a * b, rounded as madd. */
// @ts-ignore: decorator
@inline
export function nmadd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_nmadd(a, b, c);
  return f32x4.sub(c, f32x4.mul(a, b));
}

/** The larger of two numbers, neither NaN. One instruction; f32x4.max, which must handle NaN and -0, is seven. */
// @ts-ignore: decorator
@inline
export function larger(a: v128, b: v128): v128 {
  return f32x4.pmax(a, b);
}

/** The sum of the four lanes. */
// @ts-ignore: decorator
@inline
export function sumLanes(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
  );
}

/** The largest of the four lanes. */
// @ts-ignore: decorator
@inline
export function maxLanes(v: v128): f32 {
  return max(
    max(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1)),
    max(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)),
  );
}

/**
 * The sum of the eight lanes of a and b. By way of memory, 32 bytes at t: V8's revectorizer starts from a pair of stores, so
 * without them it would not join a with b.
 */
// @ts-ignore: decorator
@inline
export function sumOfPair(a: v128, b: v128, t: usize): f32 {
  v128.store(t, b, 16);
  v128.store(t, a, 0);
  return sumLanes(f32x4.add(v128.load(t, 0), v128.load(t, 16)));
}

/** The largest of the eight lanes of a and b; see sumOfPair. */
// @ts-ignore: decorator
@inline
export function largestOfPair(a: v128, b: v128, t: usize): f32 {
  v128.store(t, b, 16);
  v128.store(t, a, 0);
  return maxLanes(larger(v128.load(t, 0), v128.load(t, 16)));
}

/**
 * exp's constants, by byte offset:
 *   0   -87.3; for smaller x the result would be subnormal
 *   4   1 / ln 2
 *   8   ln 2 in two parts; the first ends in 12 zero bits, so that n * first is exact (Cody & Waite 1980)
 *   16  P, highest power first: exp(r) = 1 + r + r^2 P(r) for |r| <= ln(2)/2. Weighted least squares, rel. error 4.2e-9
 *   36  1
 *   40  1.5 * 2^23 + 127: the sum with a small float t holds round(t) + 127 in its low bits, the exponent field of 2^t
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
  // x = n ln 2 + r, n an integer: exp(x) = 2^n exp(r).
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
  // The low bits of t, shifted into the exponent field, are 2^n.
  return f32x4.mul(p, i32x4.shl(t, 23));
}

/**
 * GELU's constants, by byte offset:
 *   0   P, then at 24 Q, highest power first: erf(sqrt(2) v) = v P(v^2) / Q(v^2) for 0 <= v <= 2.78. Fitted by least squares
 *       whose weights follow the error (Lawson 1961), then the last bits of all coefficients tried for the float32 result
 *   44  1, which is Q's last coefficient as well
 *   48  2.78, from which on the quotient is 1 or more
 *   52  1/2
 */
const GELU: usize = memory.data<f32>([
  9.16788122e-05, 0.00650571426, 0.0439755097, 0.300469458, 0.546587944, 1.59576881,
  0.00121538155, 0.0190708097, 0.121677019, 0.461107999, 1.00918627, 1.0, 2.78, 0.5,
]);

/**
 * GELU(x) = x Phi(x) = h + |h| erf(sqrt(2) |h|) with h = x / 2: the error is below 4 U |x|, with U = 2^-24, and the result
 * is 0 for all x below -6, as in PyTorch. A quotient of two short polynomials takes half as long as an exponential.
 */
// @ts-ignore: decorator
@inline
export function gelu(x: v128): v128 {
  const h = f32x4.mul(x, v128.load_splat<f32>(GELU, 52)), size = f32x4.abs(h);
  const v = f32x4.pmin(size, v128.load_splat<f32>(GELU, 48)), z = f32x4.mul(v, v);
  let p = madd(v128.load_splat<f32>(GELU, 0), z, v128.load_splat<f32>(GELU, 4));
  p = madd(p, z, v128.load_splat<f32>(GELU, 8));
  p = madd(p, z, v128.load_splat<f32>(GELU, 12));
  p = madd(p, z, v128.load_splat<f32>(GELU, 16));
  p = madd(p, z, v128.load_splat<f32>(GELU, 20));
  let q = madd(v128.load_splat<f32>(GELU, 24), z, v128.load_splat<f32>(GELU, 28));
  q = madd(q, z, v128.load_splat<f32>(GELU, 32));
  q = madd(q, z, v128.load_splat<f32>(GELU, 36));
  q = madd(q, z, v128.load_splat<f32>(GELU, 40));
  const one = v128.load_splat<f32>(GELU, 44);
  q = madd(q, z, one);
  return madd(size, f32x4.pmin(f32x4.div(f32x4.mul(v, p), q), one), h);
}

/** GELU in place on `rows` rows of 16 floats (a tile of y), which are `stride` bytes apart. */
export function geluRows(at: usize, stride: usize, rows: i32): void {
  for (let row = 0; row < rows; row++, at += stride) {
    const a = gelu(v128.load(at, 0)), b = gelu(v128.load(at, 16));
    const c = gelu(v128.load(at, 32)), d = gelu(v128.load(at, 48));
    v128.store(at, d, 48);
    v128.store(at, c, 32);
    v128.store(at, b, 16);
    v128.store(at, a, 0);
  }
}

/**
 * tanh's constants, by byte offset: 0 P, highest power first, tanh(x) = x + x^3 P(x^2) for |x| < 0.625 (Cephes, tanhf.c); 20
 * 0.625; 24 the sizes beyond which tanh is 1 and the exponential would overflow: 9.1 and 88; 32 1; 36 -2
 */
const TANH: usize = memory.data<f32>([
  -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1,
  0.625, 9.1, 88, 1, -2,
]);

/** tanh(x): a polynomial near 0, where the difference below would lose digits, else 1 - 2 / (e^2|x| + 1) with x's sign. */
// @ts-ignore: decorator
@inline
function tanh(x: v128): v128 {
  const size = f32x4.abs(x), z = f32x4.mul(x, x), one = v128.load_splat<f32>(TANH, 32);
  let p = madd(v128.load_splat<f32>(TANH, 0), z, v128.load_splat<f32>(TANH, 4));
  p = madd(p, z, v128.load_splat<f32>(TANH, 8));
  p = madd(p, z, v128.load_splat<f32>(TANH, 12));
  p = madd(p, z, v128.load_splat<f32>(TANH, 16));
  const near = madd(f32x4.mul(p, z), x, x), most = f32x4.pmin(size, v128.load_splat<f32>(TANH, 24)); // NaN stays
  const far = madd(f32x4.div(one, f32x4.add(exp(f32x4.add(most, most)), one)), v128.load_splat<f32>(TANH, 36), one);
  const sign = v128.xor(x, size);
  return v128.bitselect(near, v128.or(far, sign), f32x4.lt(size, v128.load_splat<f32>(TANH, 20)));
}

/** 1 / (1 + e^-x) */
// @ts-ignore: decorator
@inline
function sigmoid(x: v128): v128 {
  const one = v128.load_splat<f32>(TANH, 32), size = f32x4.pmin(f32x4.neg(x), v128.load_splat<f32>(TANH, 28));
  return f32x4.div(one, f32x4.add(one, exp(size)));
}

/** max(x, 0); NaN stays NaN. */
// @ts-ignore: decorator
@inline
function relu(x: v128): v128 {
  return f32x4.pmax(x, f32x4.splat(0));
}

/** y = GELU, relu, tanh or sigmoid (1 to 4) of x on `bytes` bytes, a multiple of 32; y may be x. */
export function activateRow(x: usize, y: usize, bytes: usize, which: i32): void {
  for (const end = x + bytes; x < end; x += 32, y += 32) {
    const a = v128.load(x, 0), b = v128.load(x, 16);
    let low = relu(a), high = relu(b);
    if (which == 1) {
      low = gelu(a);
      high = gelu(b);
    } else if (which == 3) {
      low = tanh(a);
      high = tanh(b);
    } else if (which == 4) {
      low = sigmoid(a);
      high = sigmoid(b);
    }
    v128.store(y, high, 16);
    v128.store(y, low, 0);
  }
}

/** The activation of a tile in place: `rows` rows of 16 floats, `stride` bytes apart. */
export function activate(at: usize, stride: usize, rows: i32, which: i32): void {
  if (which == 1) return geluRows(at, stride, rows);
  for (let row = 0; row < rows; row++, at += stride) activateRow(at, at, 64, which);
}

/** y = y factor on `bytes` bytes, a multiple of 64. */
export function scaleRow(y: usize, bytes: usize, factor: f32): void {
  const all = f32x4.splat(factor);
  for (const end = y + bytes; y < end; y += 32) {
    const low = f32x4.mul(v128.load(y, 0), all), high = f32x4.mul(v128.load(y, 16), all);
    v128.store(y, high, 16);
    v128.store(y, low, 0);
  }
}

/**
 * `count` items are divided evenly: chunk i of n has the items [share(count, i, n), share(count, i + 1, n)). In 64 bits:
 * 1,100,000 rows times 2,000 chunks are more than 31.
 */
// @ts-ignore: decorator
@inline
export function share(count: i32, chunk: i32, chunks: i32): i32 {
  return <i32>(<i64>count * chunk / chunks);
}
