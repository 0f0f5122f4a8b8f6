/** Weights to int8: not a command, but called by the host while a model is loaded. */

/** Float32's exponent of infinity and NaN, as bits. */
const INFINITE: u32 = 0x7f800000;
/** 127.5 and 2^-23 of `quantizeWeight` in src/quantize.ts. */
const HALF_RANGE: f32 = 127.5, LEAST_STEP: f32 = 1.1920928955078125e-7;

/** The bits of 4 numbers without their signs. They grow with the magnitude; NaN has the largest. */
// @ts-ignore: decorator
@inline
function magnitudes(at: usize): v128 {
  return i32x4.shr_u(i32x4.shl(v128.load(at), 1), 1);
}
/** 4 numbers to integers, rounded half to even. */
// @ts-ignore: decorator
@inline
function rounded(at: usize, inverse: v128): v128 {
  return i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(at), inverse)));
}

/**
 * Quantizes `count` float32 weights that share a scale: the bits of `quantizeWeight` in src/quantize.ts, whose float64
 * division is rounded to float32 at once and so is this float32 division.
 * @returns the scale; NaN if a weight is NaN or infinite
 */
export function quantizeWeight(from: usize, to: usize, count: i32): f32 {
  const end = from + (<usize>count << 2), whole = from + (<usize>(count & ~15) << 2);
  let most = i32x4.splat(0);
  for (let at = from; at < whole; at += 64) {
    const a = i32x4.max_u(magnitudes(at), magnitudes(at + 16));
    most = i32x4.max_u(most, i32x4.max_u(a, i32x4.max_u(magnitudes(at + 32), magnitudes(at + 48))));
  }
  let bits = max(
    max(<u32>i32x4.extract_lane(most, 0), <u32>i32x4.extract_lane(most, 1)),
    max(<u32>i32x4.extract_lane(most, 2), <u32>i32x4.extract_lane(most, 3)),
  );
  for (let at = whole; at < end; at += 4) bits = max(bits, load<u32>(at) & 0x7fffffff);
  if (bits >= INFINITE) return NaN;

  const step = max<f32>(reinterpret<f32>(bits) / HALF_RANGE, LEAST_STEP);
  const inverse: f32 = <f32>1 / step, inverses = f32x4.splat(inverse);
  for (; from < whole; from += 64, to += 16) {
    const a = i16x8.narrow_i32x4_s(rounded(from, inverses), rounded(from + 16, inverses));
    const b = i16x8.narrow_i32x4_s(rounded(from + 32, inverses), rounded(from + 48, inverses));
    v128.store(to, i8x16.narrow_i16x8_s(a, b)); // which clamps to -128..127
  }
  for (; from < end; from += 4, to++) {
    store<i8>(to, <i8>min<f32>(127, max<f32>(-128, nearest<f32>(load<f32>(from) * inverse))));
  }
  return step;
}
