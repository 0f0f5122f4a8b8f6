/**
 * layerNorm of x + residual, and embedding: formulas, bounds and cases in layerNorm.ts and embedding.ts.
 * A thread takes a range of rows. A row is read into y, and its mean and variance come from there, out of the cache: two
 * passes, as one would lose digits. Columns beyond the last whole 16 are done one by one.
 */
import { madd, share, sumLanes } from './math.wasm';

/** y = x + residual over `count` floats (a multiple of 16); returns the sum. `t`: 32 bytes of scratch. */
export function addSum(x: usize, residual: usize, y: usize, count: i32, t: usize): f32 {
  let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
  for (const end = x + (<usize>count << 2); x < end; x += 64, residual += 64, y += 64) {
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
  v128.store(t, f32x4.add(s1, s3), 16);
  v128.store(t, f32x4.add(s0, s2), 0);
  return sumLanes(f32x4.add(v128.load(t, 0), v128.load(t, 16)));
}

/** Sum of (y - mean)^2 over `count` floats, a multiple of 16. */
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
  v128.store(t, f32x4.add(s1, s3), 16);
  v128.store(t, f32x4.add(s0, s2), 0);
  return sumLanes(f32x4.add(v128.load(t, 0), v128.load(t, 16)));
}

/** y = (y - mean) * inverse * gamma + beta in place over `count` floats, a multiple of 16. */
export function normalize(y: usize, mean: f32, inverse: f32, gamma: usize, beta: usize, count: i32): void {
  const m = f32x4.splat(mean), r = f32x4.splat(inverse);
  for (const end = y + (<usize>count << 2); y < end; y += 32, gamma += 32, beta += 32) {
    const a = f32x4.mul(f32x4.sub(v128.load(y, 0), m), r), b = f32x4.mul(f32x4.sub(v128.load(y, 16), m), r);
    const c = madd(a, v128.load(gamma, 0), v128.load(beta, 0)), d = madd(b, v128.load(gamma, 16), v128.load(beta, 16));
    v128.store(y, d, 16);
    v128.store(y, c, 0);
  }
}

/** Command: x, residual (or a row of zeros), gamma, beta, y, tokens, hidden, eps, scratch, residual's stride, stride. */
export function layerNorm(command: usize, thread: i32, threads: i32): void {
  const gamma = load<usize>(command, 8), beta = load<usize>(command, 12);
  const tokens = load<i32>(command, 20), hidden = load<i32>(command, 24), eps = load<f32>(command, 28);
  const t = load<usize>(command, 32) + <usize>(thread << 6);
  const rStride = load<usize>(command, 36) << 2, stride = load<usize>(command, 40) << 2;
  const whole = hidden & ~15;
  const end = share(tokens, thread + 1, threads);
  for (let row = share(tokens, thread, threads); row < end; row++) {
    const x = load<usize>(command, 0) + <usize>row * stride, residual = load<usize>(command, 4) + <usize>row * rStride;
    const y = load<usize>(command, 16) + <usize>row * stride;
    let sum = addSum(x, residual, y, whole, t);
    for (let at = <usize>whole << 2; at < <usize>hidden << 2; at += 4) {
      store<f32>(y + at, load<f32>(x + at) + load<f32>(residual + at));
      sum += load<f32>(y + at);
    }
    const mean = sum / <f32>hidden;
    let square = squares(y, mean, whole, t);
    for (let at = <usize>whole << 2; at < <usize>hidden << 2; at += 4) {
      const distance = load<f32>(y + at) - mean;
      square += distance * distance;
    }
    const inverse = <f32>(1.0 / Math.sqrt(<f64>(square / <f32>hidden) + <f64>eps));
    normalize(y, mean, inverse, gamma, beta, whole);
    for (let at = <usize>whole << 2; at < stride; at += 4) {
      const value = (load<f32>(y + at) - mean) * inverse * load<f32>(gamma + at) + load<f32>(beta + at);
      store<f32>(y + at, at < <usize>hidden << 2 ? value : 0);
    }
  }
}

/** Command: ids, typeIds, word, position, type, y, tokens, stride. */
export function embedding(command: usize, thread: i32, threads: i32): void {
  const ids = load<usize>(command, 0), typeIds = load<usize>(command, 4);
  const word = load<usize>(command, 8), position = load<usize>(command, 12), type = load<usize>(command, 16);
  const tokens = load<i32>(command, 24), stride = load<usize>(command, 28) << 2;
  const end = share(tokens, thread + 1, threads);
  for (let token = share(tokens, thread, threads); token < end; token++) {
    const w = word + <usize>load<i32>(ids + <usize>(token << 2)) * stride;
    const s = type + <usize>load<i32>(typeIds + <usize>(token << 2)) * stride;
    const p = position + <usize>token * stride, y = load<usize>(command, 20) + <usize>token * stride;
    for (let at: usize = 0; at < stride; at += 32) {
      const a = f32x4.add(f32x4.add(v128.load(w + at, 0), v128.load(s + at, 0)), v128.load(p + at, 0));
      const b = f32x4.add(f32x4.add(v128.load(w + at, 16), v128.load(s + at, 16)), v128.load(p + at, 16));
      v128.store(y + at, b, 16);
      v128.store(y + at, a, 0);
    }
  }
}
