/**
 * float16 to float32, exactly, for uploads: not a command, but called by the host.
 *
 *   float16  | sign: 1 | exponent: 5, bias 15  | fraction: 10 |
 *   float32  | sign: 1 | exponent: 8, bias 127 | fraction: 23 |
 */

/** 2^112, the difference of the biases; 65536, which float16 has not; float32's exponent of infinity and NaN, as bits. */
const CONSTANTS: usize = memory.data<u32>([0x77800000, 0x47800000, 0x7f800000]);

/** 4 float16, each in the low half of a 32-bit lane, to 4 float32. */
// @ts-ignore: decorator
@inline
function fromHalf(h: v128, power: v128, limit: v128, infinite: v128): v128 {
  const sign = i32x4.shl(i32x4.shr_u(h, 15), 31);
  // Exponent and fraction in their new places are the number times 2^-112; the product is exact, for subnormals as well.
  const size = f32x4.mul(i32x4.shr_u(i32x4.shl(h, 17), 4), power);
  // Infinity and NaN become numbers from 65536 on, which get back their exponent.
  return v128.or(v128.or(size, sign), v128.and(f32x4.ge(size, limit), infinite));
}

/** Converts `count` float16 at `from`, a multiple of 16, to float32 at `to`. `from` may be the second half of the result. */
export function halfToFloat(from: usize, to: usize, count: i32): void {
  const power = v128.load_splat<f32>(CONSTANTS, 0), limit = v128.load_splat<f32>(CONSTANTS, 4);
  const infinite = v128.load_splat<f32>(CONSTANTS, 8);
  for (const end = to + (<usize>count << 2); to < end; from += 16, to += 32) {
    const a = fromHalf(v128.load_ext<u16>(from, 0), power, limit, infinite);
    const b = fromHalf(v128.load_ext<u16>(from, 8), power, limit, infinite);
    v128.store(to, b, 16);
    v128.store(to, a, 0);
  }
}
