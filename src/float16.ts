/**
 * Widens float16 to float32, exactly. IEEE 754 binary16: sign, 5 exponent bits (bias 15), 10 fraction bits; exponent 0 is
 * subnormal, 31 is infinity or NaN. kernels/widen.wasm.ts does the same.
 */
export function widenHalves(halves: Uint16Array, values: Float32Array = new Float32Array(halves.length)): Float32Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < halves.length; i++) {
    const half = halves[i]!;
    // Exponent and fraction in float32's places are the number times 2^-112, the difference of the biases.
    bits[i] = ((half & 0x8000) << 16) | ((half & 0x7fff) << 13);
    if ((half & 0x7c00) < 0x7c00) values[i]! *= 2 ** 112;
    else bits[i]! |= 0x7f800000; // infinity or NaN
  }
  return values;
}
