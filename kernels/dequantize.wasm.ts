/**
 * The last step of the int8 products, from int32 sums in registers to float32 in memory:
 *   y = float32(sum - zeroPoint * columnSum) * (xScale * wScale) + bias
 * xScale and zeroPoint belong to the row; columnSum, wScale and bias to the column. A panel's constants, 192 bytes, at
 * `k`:
 *
 *   byte 0                     64                     128                    192
 *   | 16 column sums, int32    | 16 scales, float32   | 16 biases, float32   | next panel
 *
 * so the constants of one tile lie side by side in memory.
 */
import { madd } from './math.wasm';

/** Four columns of one row. `scale` is xScale; `sums`, `wScale` and `bias` are those of the four columns. */
// @ts-ignore: decorator
@inline
function scaled(c: v128, zeroPoint: v128, scale: v128, sums: v128, wScale: v128, bias: v128): v128 {
  return madd(f32x4.convert_i32x4_s(i32x4.sub(c, i32x4.mul(zeroPoint, sums))), f32x4.mul(scale, wScale), bias);
}

/**
 * Stores 16 columns of a row at y; unless `wide`, which the compiler knows, the first 8, and `k` is 32 bytes further for the
 * others. `scales` and `zeros` are the addresses of the row's xScale and zeroPoint.
 */
// @ts-ignore: decorator
@inline
export function storeRow(
  wide: bool, y: usize, c0: v128, c1: v128, c2: v128, c3: v128, scales: usize, zeros: usize, k: usize,
): void {
  const s = v128.load_splat<f32>(scales), z = v128.load_splat<i32>(zeros);
  const d0 = scaled(c0, z, s, v128.load(k, 0), v128.load(k, 64), v128.load(k, 128));
  const d1 = scaled(c1, z, s, v128.load(k, 16), v128.load(k, 80), v128.load(k, 144));
  if (wide) {
    const d2 = scaled(c2, z, s, v128.load(k, 32), v128.load(k, 96), v128.load(k, 160));
    const d3 = scaled(c3, z, s, v128.load(k, 48), v128.load(k, 112), v128.load(k, 176));
    v128.store(y, d3, 48);
    v128.store(y, d2, 32);
  }
  v128.store(y, d1, 16);
  v128.store(y, d0, 0);
}
