/**
 * The dynamic quantizer of activations. src/quantize.ts defines it and says why; the results here equal its, bit for
 * bit.
 *
 * x [tokens][in] float32, in padded to 16 -> xq [tokens][in], u8 (for the product `signed` 64 less in i8, for `int16` in
 * i16); scales [tokens] float32 and zero points [tokens] int32, for `signed` 64 less.
 *   torch:     one range for all of x: range (one for each of its chunks), then quantize (joins these ranges)
 *   accurate:  one range for each row: quantize alone, which finds each row's range itself
 *   for each row of this chunk: xq = clamp(round(x / scale) + zeroPoint)
 * `partial` is lines of 64 bytes: first [parts] with the smallest and the largest value of each chunk of range, then
 * [threads] of scratch. 64 bytes are a cache line, so no two threads write the same one.
 * A row or tensor with a value that is not finite gets the scale NaN, and so do the results that are made of it.
 */
import { INT16, SIGNED } from './linearInt8.wasm';
import { larger, largestOfPair, madd, share, sumOfPair } from './math.wasm';

/**
 * Stores at `to` (32 bytes of scratch) the smallest and the largest of 0 and `count` floats, a multiple of 16. If one of
 * them is NaN or infinite, the smallest is NaN.
 */
export function minMax(x: usize, count: i32, to: usize): void {
  let low0 = f32x4.splat(0), low1 = low0, low2 = low0, low3 = low0;
  let high0 = low0, high1 = low0, high2 = low0, high3 = low0, bad0 = low0, bad1 = low0;
  const zero = f32x4.splat(0);
  for (const end = x + (<usize>count << 2); x < end; x += 64) {
    const a = v128.load(x, 0), b = v128.load(x, 16), c = v128.load(x, 32), d = v128.load(x, 48);
    // Four accumulators for each end: none waits for the one before.
    low0 = f32x4.pmin(low0, a);
    low1 = f32x4.pmin(low1, b);
    low2 = f32x4.pmin(low2, c);
    low3 = f32x4.pmin(low3, d);
    high0 = larger(high0, a);
    high1 = larger(high1, b);
    high2 = larger(high2, c);
    high3 = larger(high3, d);
    // 0 * x is NaN if x is not finite; pmin and pmax do not notice NaN.
    bad0 = madd(a, zero, madd(c, zero, bad0));
    bad1 = madd(b, zero, madd(d, zero, bad1));
  }
  low0 = f32x4.pmin(low0, low2);
  low1 = f32x4.pmin(low1, low3);
  high0 = larger(high0, high2);
  high1 = larger(high1, high3);
  // The minimum is taken as minus the maximum of the negated values.
  const low = -largestOfPair(f32x4.neg(low0), f32x4.neg(low1), to), high = largestOfPair(high0, high1, to);
  store<f32>(to, low + sumOfPair(bad0, bad1, to), 0);
  store<f32>(to, high, 4);
}

/** Command, 4 words: x, partial, tokens, in (padded). Each chunk stores the range of its rows. */
export function range(command: usize, chunk: i32, chunks: i32, thread: i32): void {
  const x = load<usize>(command, 0), partial = load<usize>(command, 4);
  const tokens = load<i32>(command, 8), features = load<i32>(command, 12);
  const begin = share(tokens, chunk, chunks), end = share(tokens, chunk + 1, chunks);
  minMax(x + <usize>(begin * features << 2), (end - begin) * features, partial + <usize>(chunk << 6));
}

/** Stores the scale at `to` and the zero point at `to + 4`. Line by line chooseScale of src/quantize.ts. */
function chooseScale(low: f32, high: f32, to: usize): void {
  let min = <f64>low, max = <f64>high;
  let scale = (max - min) / 127;
  if (<f32>scale == 0 || <f32>1 / <f32>scale == Infinity) scale = 0.1;
  const smallest = <f64>(<f32>6.1e-5);
  // A range so small is widened, so that the scale's reciprocal stays usable.
  if (scale < smallest) {
    const amplifier = <f32>smallest / <f32>scale;
    if (min == 0) max = <f64>(<f32>(smallest * 127));
    else if (max == 0) min = <f64>(<f32>(-smallest * 127));
    else {
      min = <f64>(<f32>min * amplifier);
      max = <f64>(<f32>max * amplifier);
    }
    scale = smallest;
  }
  const fromMin = -min / scale, fromMax = 127 - max / scale;
  // PyTorch's test of which end of the range has the smaller error.
  const exact = -fromMin < fromMax ? fromMin : fromMax;
  store<f32>(to, <f32>scale, 0);
  store<i32>(to, <i32>nearest(Math.min(127, Math.max(0, exact))), 4);
}

/** 1.5 * 2^23: a float below 2^22 plus this has no fraction bits left, so the addition rounds it, ties to even. */
const MAGIC: usize = memory.data<f32>([12582912.0]);

/**
 * round(x / scale) + zeroPoint as int32. x is multiplied by the reciprocal, as fbgemm does. The difference of the two
 * floats' bits is the integer, because both have the exponent of MAGIC.
 */
// @ts-ignore: decorator
@inline
function rounded(x: v128, inverse: v128, magic: v128, zeroPoint: v128): v128 {
  return i32x4.add(i32x4.sub(f32x4.add(f32x4.mul(x, inverse), magic), magic), zeroPoint);
}

/** Quantizes `count` floats (a multiple of 16) to u8, `less` less. `parameters`: the scale, then the zero point. */
export function toBytes(x: usize, to: usize, count: i32, parameters: usize, less: i32): void {
  const offset = i8x16.splat(<i8>less), scale = v128.load_splat<f32>(parameters, 0), zeroPoint = v128.load_splat<i32>(parameters, 4);
  const inverse = f32x4.div(f32x4.splat(1), scale), magic = v128.load_splat<f32>(MAGIC);
  for (const end = x + (<usize>count << 2); x < end; x += 64, to += 16) {
    const a = rounded(v128.load(x, 0), inverse, magic, zeroPoint);
    const b = rounded(v128.load(x, 16), inverse, magic, zeroPoint);
    const c = rounded(v128.load(x, 32), inverse, magic, zeroPoint);
    const d = rounded(v128.load(x, 48), inverse, magic, zeroPoint);
    // The narrowing also clamps to 0..255. It takes (a, c) and (b, d), so that the revectorizer can join a with b and
    // c with d; the shuffle restores the order a, b, c, d.
    const bytes = i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(a, c), i16x8.narrow_i32x4_s(b, d));
    v128.store(to, i8x16.sub(v128.shuffle<i32>(bytes, bytes, 0, 2, 1, 3), offset));
  }
}

/** Quantizes `count` floats (a multiple of 8) to i16, clamped at 0 from below. */
function toInt16(x: usize, to: usize, count: i32, parameters: usize): void {
  const scale = v128.load_splat<f32>(parameters, 0), zeroPoint = v128.load_splat<i32>(parameters, 4);
  const inverse = f32x4.div(f32x4.splat(1), scale), magic = v128.load_splat<f32>(MAGIC);
  for (const end = x + (<usize>count << 2); x < end; x += 32, to += 16) {
    const a = rounded(v128.load(x, 0), inverse, magic, zeroPoint);
    const b = rounded(v128.load(x, 16), inverse, magic, zeroPoint);
    v128.store(to, i16x8.max_s(i16x8.narrow_i32x4_s(a, b), i16x8.splat(0)));
  }
}

/**
 * Command, 10 words: x, partial, tokens, in (padded), xq, scales, zeros, product, accurate (0 or 1), parts (the chunks of
 * range; 0 if accurate).
 */
export function quantize(command: usize, chunk: i32, chunks: i32, thread: i32): void {
  const x = load<usize>(command, 0), partial = load<usize>(command, 4);
  const tokens = load<i32>(command, 8), features = load<i32>(command, 12);
  const xq = load<usize>(command, 16), scales = load<usize>(command, 20), zeros = load<usize>(command, 24);
  const product = load<i32>(command, 28), accurate = load<i32>(command, 32), parts = load<i32>(command, 36);
  const less = product == SIGNED ? 64 : 0;
  const t = partial + <usize>((parts + thread) << 6); // this thread's scratch, behind all partial ranges
  if (!accurate) {
    // Every chunk joins all partial ranges itself, so that no third command is needed.
    let low: f32 = 0, high: f32 = 0;
    for (let i = 0; i < parts; i++) {
      low = min(low, load<f32>(partial + <usize>(i << 6), 0));
      high = max(high, load<f32>(partial + <usize>(i << 6), 4));
    }
    chooseScale(low, high, t);
  }
  const end = share(tokens, chunk + 1, chunks);
  for (let row = share(tokens, chunk, chunks); row < end; row++) {
    const from = x + <usize>(row * features << 2);
    if (accurate) {
      minMax(from, features, t);
      chooseScale(load<f32>(t, 0), load<f32>(t, 4), t);
    }
    // One scale and zero point for each row in both schemes, so that the products need not know the scheme.
    store<f32>(scales + <usize>(row << 2), load<f32>(t, 0));
    store<i32>(zeros + <usize>(row << 2), load<i32>(t, 4) - less);
    if (product == INT16) toInt16(from, xq + <usize>(row * features << 1), features, t);
    else toBytes(from, xq + <usize>(row * features), features, t, less);
  }
}
