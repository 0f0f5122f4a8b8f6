/**
 * layerNorm of x + residual. Formula, bound, cases: layerNorm.ts.
 *
 * x, residual, y [tokens][stride], gamma, beta [stride]: row-major float32; hidden columns, padded to 16 by zeros.
 *   for each row of this chunk:
 *     y = x + residual; mean = sum y / hidden
 *     variance = sum (y - mean)^2 / hidden
 *     y = (y - mean) / sqrt(variance + eps) * gamma + beta
 * Each pass after the first reads y, one row, which is still in the cache. The variance has its own pass: the formula
 * for one pass, mean of squares less square of the mean, would lose digits. The loops cover whole groups of 16
 * columns; the columns left over are computed one by one.
 */
import { madd, share, sumOfPair } from './math.wasm';

/** y = x + residual on `count` floats, a multiple of 16. Returns the sum of y. `t`: 32 bytes of scratch. */
export function addSum(x: usize, residual: usize, y: usize, count: i32, t: usize): f32 {
  let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
  for (const end = x + (<usize>count << 2); x < end; x += 64, residual += 64, y += 64) {
    // Order of loads and stores: the rules in math.wasm.ts. Four sums, so that none waits for the one before.
    const a = f32x4.add(v128.load(x, 0), v128.load(residual, 0));
    const b = f32x4.add(v128.load(x, 16), v128.load(residual, 16));
    const c = f32x4.add(v128.load(x, 32), v128.load(residual, 32));
    const d = f32x4.add(v128.load(x, 48), v128.load(residual, 48));
    v128.store(y, d, 48);
    v128.store(y, c, 32);
    v128.store(y, b, 16);
    v128.store(y, a, 0);
    s0 = f32x4.add(s0, a);
    s1 = f32x4.add(s1, b);
    s2 = f32x4.add(s2, c);
    s3 = f32x4.add(s3, d);
  }
  return sumOfPair(f32x4.add(s0, s2), f32x4.add(s1, s3), t);
}

/** Returns the sum of (y - mean)^2 on `count` floats, a multiple of 16. `t`: 32 bytes of scratch. */
export function squares(y: usize, mean: f32, count: i32, t: usize): f32 {
  const m = f32x4.splat(mean);
  let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
  for (const end = y + (<usize>count << 2); y < end; y += 64) {
    const a = f32x4.sub(v128.load(y, 0), m), b = f32x4.sub(v128.load(y, 16), m);
    const c = f32x4.sub(v128.load(y, 32), m), d = f32x4.sub(v128.load(y, 48), m);
    s0 = madd(a, a, s0);
    s1 = madd(b, b, s1);
    s2 = madd(c, c, s2);
    s3 = madd(d, d, s3);
  }
  return sumOfPair(f32x4.add(s0, s2), f32x4.add(s1, s3), t);
}

/** y = (y - mean) * inverse * gamma + beta in place on `count` floats, a multiple of 16. */
export function normalize(y: usize, mean: f32, inverse: f32, gamma: usize, beta: usize, count: i32): void {
  const m = f32x4.splat(mean), r = f32x4.splat(inverse);
  for (const end = y + (<usize>count << 2); y < end; y += 32, gamma += 32, beta += 32) {
    const a = f32x4.mul(f32x4.sub(v128.load(y, 0), m), r), b = f32x4.mul(f32x4.sub(v128.load(y, 16), m), r);
    const c = madd(a, v128.load(gamma, 0), v128.load(beta, 0)), d = madd(b, v128.load(gamma, 16), v128.load(beta, 16));
    v128.store(y, d, 16);
    v128.store(y, c, 0);
  }
}

/**
 * Command, 11 words: x, residual, gamma, beta, y, tokens, hidden, eps (float32), scratch [threads][64 bytes], stride of
 * residual, stride of x and y (in floats). Without a residual the host gives a row of zeros, with stride 0.
 */
export function layerNorm(command: usize, chunk: i32, chunks: i32, thread: i32): void {
  const gamma = load<usize>(command, 8), beta = load<usize>(command, 12);
  const tokens = load<i32>(command, 20), hidden = load<i32>(command, 24), eps = load<f32>(command, 28);
  const t = load<usize>(command, 32) + <usize>(thread << 6);
  const rStride = load<usize>(command, 36) << 2, stride = load<usize>(command, 40) << 2;
  const whole = hidden & ~15;
  const end = share(tokens, chunk + 1, chunks);
  for (let row = share(tokens, chunk, chunks); row < end; row++) {
    const x = load<usize>(command, 0) + <usize>row * stride, residual = load<usize>(command, 4) + <usize>row * rStride;
    const y = load<usize>(command, 16) + <usize>row * stride;
    // Pass 1: y = x + residual, and the mean.
    let sum = addSum(x, residual, y, whole, t);
    for (let at = <usize>whole << 2; at < <usize>hidden << 2; at += 4) {
      store<f32>(y + at, load<f32>(x + at) + load<f32>(residual + at));
      sum += load<f32>(y + at);
    }
    const mean = sum / <f32>hidden;
    // Pass 2: the variance.
    let square = squares(y, mean, whole, t);
    for (let at = <usize>whole << 2; at < <usize>hidden << 2; at += 4) {
      const distance = load<f32>(y + at) - mean;
      square += distance * distance;
    }
    // Pass 3: 1 / deviation is computed once, in float64, and multiplied.
    const inverse = <f32>(1.0 / Math.sqrt(<f64>(square / <f32>hidden) + <f64>eps));
    normalize(y, mean, inverse, gamma, beta, whole);
    for (let at = <usize>whole << 2; at < stride; at += 4) {
      const value = (load<f32>(y + at) - mean) * inverse * load<f32>(gamma + at) + load<f32>(beta + at);
      // The padding stays zero: the next linear multiplies it.
      store<f32>(y + at, at < <usize>hidden << 2 ? value : 0);
    }
  }
}
