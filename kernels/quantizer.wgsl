// The quantizer of activations, chooseScale of src/quantize.ts: scale and zero point, to the bit as PyTorch has them. WGSL
// has no float64, and its division may be 2.5 units off, so what PyTorch computes in float64 is computed in integers here.

struct Quantizer {
  scale: f32,
  inverse: f32,   // 1 / scale
  zeroPoint: i32, // less 64 (linear.int8.wgsl)
}

// Below, a positive number is mantissa * 2^exponent. The mantissa is an integer: of 24 bits in a u32, or of up to 61
// bits in a vec2u, low word first.

fn mantissa(x: f32) -> u32 {
  return (bitcast<u32>(x) & 0x7fffffu) | 0x800000u;
}
fn exponent(x: f32) -> i32 {
  return i32(bitcast<u32>(x) >> 23u) - 150;
}
// The float32 m * 2^e, for 2^23 <= m <= 2^24. If m is 2^24, its top bit carries into the exponent field, as it should.
fn float(m: u32, e: i32) -> f32 {
  return bitcast<f32>((u32(e + 149) << 23u) + m);
}
// n / d, rounded to nearest even. After the quotient's first bit come 23 more, as digits of 8, 8 and 7 bits.
fn divide(n: f32, d: f32) -> f32 {
  let divisor = mantissa(d);
  let below = mantissa(n) < divisor;
  var rest = select(mantissa(n), 2u * mantissa(n), below) - divisor;
  var q = 1u;
  for (var digit = 0u; digit < 3u; digit++) {
    let bits = select(8u, 7u, digit == 2u);
    q = (q << bits) + (rest << bits) / divisor;
    rest = (rest << bits) % divisor;
  }
  q += u32(2u * rest > divisor || (2u * rest == divisor && (q & 1u) == 1u));
  return float(q, exponent(n) - exponent(d) - select(23, 24, below));
}

// m * 2^by, for by <= 64; bits beyond 64 are lost. In WGSL a u32 can be shifted by 31 at most.
fn shiftLeft(m: vec2u, by: u32) -> vec2u {
  if (by == 64u) {
    return vec2u(0u);
  }
  if (by >= 32u) {
    return vec2u(0u, m.x << (by - 32u));
  }
  return vec2u(m.x << by, (m.y << by) | ((m.x >> 1u) >> (31u - by)));
}
// m / 2^by, rounded down, for by < 64.
fn shiftRight(m: vec2u, by: u32) -> vec2u {
  if (by >= 32u) {
    return vec2u(m.y >> (by - 32u), 0u);
  }
  return vec2u((m.x >> by) | ((m.y << 1u) << (31u - by)), m.y >> by);
}
// m / 2^by, rounded to nearest even, for 0 < by < 64. `more`: the exact number is slightly larger than m.
fn roundRight(m: vec2u, by: u32, more: bool) -> vec2u {
  let cut = shiftLeft(m, 64u - by); // the bits that are cut off, as a fraction of 2^64
  let q = shiftRight(m, by);
  // Exactly half: up if m is in truth more, or if q is odd. Otherwise the first cut bit decides.
  let isHalf = cut.y == 0x80000000u && cut.x == 0u;
  let up = select(cut.y >= 0x80000000u, more || (q.x & 1u) == 1u, isHalf);
  return add(q, vec2u(u32(up), 0u));
}
fn add(a: vec2u, b: vec2u) -> vec2u {
  let low = a.x + b.x;
  return vec2u(low, a.y + b.y + u32(low < a.x));
}
fn subtract(a: vec2u, b: vec2u) -> vec2u {
  return vec2u(a.x - b.x, a.y - b.y - u32(a.x < b.x));
}

// chooseScale of src/quantize.ts for the range [-low, high], where low and high are at least 0. The definition is
// scale = (low + high) / 127 and zeroPoint = round(low / scale), with each step rounded to float64 (53 bits).
fn chooseQuantizer(low: f32, high: f32) -> Quantizer {
  if (low + high < 3.7e-37) { // a scale whose reciprocal is not finite
    return Quantizer(0.1, 10.0, -64);
  }
  // A range so small is widened below in any case; until then 2^24 times the range avoids subnormal numbers.
  let tiny = low + high < 1e-30;
  let large = max(low, high) * select(1.0, 16777216.0, tiny);
  let small = min(low, high) * select(1.0, 16777216.0, tiny);
  // low + high, rounded to 53 bits, as float64 rounds it. The larger one's leading bit is bit 59.
  var sum = shiftLeft(vec2u(mantissa(large), 0u), 36u);
  if (small > 1.2e-38) {
    let apart = min(u32(exponent(large) - exponent(small)), 63u);
    let aligned = shiftLeft(vec2u(mantissa(small), 0u), 36u);
    // Bits that are cut off only decide a rounding. Setting the lowest bit, far below the 53, has the same effect.
    let cut = any(shiftLeft(aligned, 64u - apart) != vec2u(0u));
    sum = add(sum, shiftRight(aligned, apart) | vec2u(u32(cut), 0u));
  }
  let carried = select(7u, 8u, sum.y >= 0x10000000u);
  sum = shiftLeft(roundRight(sum, carried, false), 8u);

  // The sum / 127, by long division in digits of 29, 16 and 16 bits, rounded to 53 bits.
  var rest = sum.y % 127u;
  let middle = (rest << 16u) | (sum.x >> 16u);
  rest = middle % 127u;
  let last = (rest << 16u) | (sum.x & 0xffffu);
  let quotient = vec2u(((middle / 127u) << 16u) | (last / 127u), sum.y / 127u);
  let cut = select(1u, 2u, quotient.y >= 0x400000u);
  var wide = roundRight(quotient, cut, last % 127u != 0u);
  var wideExponent = exponent(large) - 36 + i32(carried) - 8 + i32(cut);
  var scale = float(roundRight(wide, 29u, false).x, wideExponent + 29);

  // Where scale is too small, chooseScale makes it SMALLEST and widens the range in proportion.
  var bottom = low;
  const SMALLEST: f32 = 6.1e-5; // below this the range is widened
  if (tiny || scale < SMALLEST) {
    bottom = low * select(1.0, 16777216.0, tiny) * divide(SMALLEST, scale);
    scale = SMALLEST;
    wide = shiftLeft(vec2u(mantissa(SMALLEST), 0u), 29u);
    wideExponent = exponent(SMALLEST) - 29;
  }
  let inverse = divide(1.0, scale);
  return Quantizer(scale, inverse, roundedQuotient(bottom, wide, wideExponent, bottom * inverse) - 64);
}

// round(a / (wide * 2^wideExponent)), at most 127: the quotient is rounded to float64, then to the nearest integer,
// halves to even. No division is needed: `near` is close to the quotient, so the result is k or k + 1 for k =
// floor(near); the quotient is compared with k + 1/2. Both sides are multiplied by twice the divisor: 2 a against (2 k
// + 1) wide. If the quotient is within half a float64 step of k + 1/2, rounding to float64 makes it k + 1/2: the even
// one results.
fn roundedQuotient(a: f32, wide: vec2u, wideExponent: i32, near: f32) -> i32 {
  if (near < 0.25) {
    return 0;
  }
  let k = min(u32(near), 126u);
  // 2 a, with the exponent of wide.
  let left = shiftLeft(vec2u(mantissa(a), 0u), u32(exponent(a) - wideExponent + 1));
  let odd = 2u * k + 1u;
  // odd * wide, in digits of 16, 16 and 32 bits.
  let low = (wide.x & 0xffffu) * odd;
  let high = (wide.x >> 16u) * odd + (low >> 16u);
  let right = vec2u((high << 16u) | (low & 0xffffu), wide.y * odd + (high >> 16u));
  // How far the quotient is from k + 1/2, times twice the divisor, and on which side.
  let above = right.y < left.y || (right.y == left.y && right.x < left.x);
  let distance = select(subtract(right, left), subtract(left, right), above);
  let step53 = wide.y >> select(20u - firstLeadingBit(k), 21u, k == 0u); // half a step of k + 1/2, times the divisor
  if (distance.y == 0u && distance.x <= step53) {
    return i32(k + (k & 1u));
  }
  return i32(k + u32(above));
}
