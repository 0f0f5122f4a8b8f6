/** IEEE 754 binary16: sign, 5 exponent bits (bias 15), 10 fraction bits; exponent 0 is subnormal, 31 is Inf or NaN. */
function halfToFloat(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent ? 1024 + fraction : fraction) * 2 ** (Math.max(exponent, 1) - 25);
}

let table: Float32Array | undefined;
/** All float16 numbers, by their bits. Made at first use: a look-up is several times faster than the computation. */
export function allHalves(): Float32Array {
  table ??= Float32Array.from({ length: 65536 }, (_, half) => halfToFloat(half));
  return table;
}
