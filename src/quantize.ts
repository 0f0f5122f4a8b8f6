/**
 * Dynamic quantization. Equals PyTorch's `quantize_dynamic(model, {nn.Linear}, dtype=qint8)` on x86 bit for bit.
 *
 * Weights become int8 once, at load. Activations become integers of 7 bits at every call; their scale and zero point
 * map the range of the activations onto 0..127. With 7 bits (PyTorch's `reduce_range`), a sum of two u8 x i8 products
 * fits 16 bits without saturation: 2 * 128 * 128 = 2^15 is reached only as -2^15. The factor 128 is no slip: if both
 * the zero point and a value are rounded up, as for the range [-1, 1], PyTorch gets 128, one beyond the range, and so
 * does bertlet.
 *
 * There are two schemes with the same formulas and the same integer product. `torch` has one scale for a whole matrix
 * and one for a whole activation [tokens, features]. `accurate` has one scale for each output feature and one for each
 * token.
 */
import { inputError } from './errors.ts';
import { check, finite } from './options.ts';
import {
  checkArray,
  checkMatrix,
  checkWeight,
  type HostTensor,
  type QuantizedTensor,
  type Scheme,
  scheme as schemes,
} from './runtime.ts';

// Names of this module: a global that is looked up in a loop makes it slow where globals are, as in Jest, those of a vm context.
const { abs, fround, max, min } = Math;

/** Rounds to the nearest integer, ties to even, as C's nearbyint does by default. Exact for |x| < 2^51. */
export function roundHalfEven(x: number): number {
  const magic = 1.5 * 2 ** 52; // at this magnitude a float64 has no fraction bits left, so the addition itself rounds
  return x + magic - magic;
}

/**
 * Quantizes a weight to symmetric int8: `scale = max|w| / 127.5` (float32), `q = clamp(round(w / scale), -128, 127)`.
 * Source: torch.ao MinMaxObserver (qint8, per_tensor_symmetric) and PerChannelMinMaxObserver, quantize_per_tensor.
 * @param weight [out, in] float32
 * @throws BertletError `input` if a weight is NaN or infinite
 */
export function quantizeWeight(weight: HostTensor<Float32Array>, scheme: Scheme): QuantizedTensor {
  const [rows, columns] = checkMatrix('quantizeWeight', weight);
  check('scheme', scheme, schemes);
  const data = new Int8Array(weight.data.length);
  const scale = new Float32Array(rows);
  const group = (scheme === 'torch' ? rows : 1) * columns; // weights that share a scale
  for (let begin = 0; begin < data.length; begin += group) {
    let largest = 0;
    for (let i = begin; i < begin + group; i++) largest = max(largest, abs(weight.data[i]!));
    if (!(largest < Infinity)) throw inputError(`weight [${weight.shape}]`, 'finite values', largest);
    const step = max(fround(largest / 127.5), 2 ** -23); // the observer's eps: a group of zeros has a scale, too
    const inverse = fround(1 / step);
    for (let i = begin; i < begin + group; i++) {
      data[i] = min(127, max(-128, roundHalfEven(fround(weight.data[i]! * inverse))));
    }
    scale.fill(step, begin / columns, (begin + group) / columns);
  }
  return { dtype: 'I8', shape: weight.shape, data, scale, scheme };
}

/** Quantized activations: `x ≈ (data - zeroPoint) * scale`. */
export interface QuantizedActivations {
  /** [tokens, features], each 0..128 */
  readonly data: Uint8Array;
  /** [tokens]: one scale for each row. In the `torch` scheme all scales are equal. */
  readonly scale: Float32Array;
  /** [tokens]: one zero point for each row. */
  readonly zeroPoint: Int32Array;
}

/**
 * Chooses the scale and zero point that map the range [low, high] onto 0..127. The range is first widened to hold 0.
 * Computes in float64 and returns float32, like its source: ChooseQuantizationParams in
 * aten/src/ATen/native/quantized/cpu/QuantUtils.h.
 */
export function chooseScale(low: number, high: number): { scale: number; zeroPoint: number } {
  check('chooseScale: low', low, finite);
  check('chooseScale: high', high, finite);
  let [least, most] = [min(low, 0), max(high, 0)];
  let scale = (most - least) / 127;
  if (fround(scale) === 0 || fround(1 / fround(scale)) === Infinity) scale = 0.1;
  const smallest = fround(6.1e-5); // below this the range is widened, so that the scale's reciprocal stays usable
  if (scale < smallest) {
    const amplifier = fround(smallest / fround(scale));
    if (least === 0) most = fround(smallest * 127);
    else if (most === 0) least = fround(-smallest * 127);
    else [least, most] = [fround(least * amplifier), fround(most * amplifier)];
    scale = smallest;
  }
  const [fromMin, fromMax] = [-least / scale, 127 - most / scale];
  const exact = -fromMin < fromMax ? fromMin : fromMax; // the source's test of which end has the smaller error
  return { scale: fround(scale), zeroPoint: roundHalfEven(min(127, max(0, exact))) };
}

/**
 * Quantizes activations with a scale chosen from their own range: `clamp(round(x / scale) + zeroPoint, 0, 255)`.
 * Multiplies by the reciprocal of the scale in float32 and rounds before adding the zero point, like its source:
 * fbgemm's QuantizeAvx2.
 * @param x [tokens, features] float32
 * @throws BertletError `input` if an activation is NaN or infinite
 */
export function quantizeActivations(x: HostTensor<Float32Array>, scheme: Scheme): QuantizedActivations {
  const [tokens, features] = checkMatrix('quantizeActivations', x);
  check('scheme', scheme, schemes);
  const data = new Uint8Array(x.data.length);
  const scales = new Float32Array(tokens);
  const zeroPoints = new Int32Array(tokens);
  const rows = scheme === 'torch' ? tokens : 1; // rows that share a scale
  for (let row = 0; row < tokens; row += rows) {
    const values = x.data.subarray(row * features, (row + rows) * features);
    let [low, high] = [0, 0];
    for (const value of values) [low, high] = [min(low, value), max(high, value)];
    if (!(high - low < Infinity)) throw inputError(`activations [${x.shape}]`, 'finite values', `${low} to ${high}`);
    const { scale, zeroPoint } = chooseScale(low, high);
    const inverse = fround(1 / scale);
    for (let i = 0; i < values.length; i++) {
      const rounded = roundHalfEven(fround(values[i]! * inverse)) + zeroPoint;
      data[row * features + i] = min(255, max(0, rounded));
    }
    scales.fill(scale, row, row + rows);
    zeroPoints.fill(zeroPoint, row, row + rows);
  }
  return { data, scale: scales, zeroPoint: zeroPoints };
}

/**
 * The sum of each row of a weight: [out, in] -> [out]. Integer products subtract `zeroPoint * sum` from an accumulator.
 */
export function rowSums(weight: QuantizedTensor): Int32Array {
  const [out, features] = checkWeight('rowSums', weight, ['I8']);
  const { data } = weight;
  const sums = new Int32Array(out);
  for (let row = 0; row < out; row++) {
    let sum = 0;
    for (let at = row * features; at < (row + 1) * features; at++) sum += data[at]!;
    sums[row] = sum;
  }
  return sums;
}

/**
 * The integer product `sum_k (x[row, k] - zeroPoint[row]) * weight[column, k]`, exact in int32 (below 2^17 features).
 * The zero point needs no work in the loop, because it multiplies the sum of a weight's row.
 * @returns [tokens, out] accumulators
 */
export function matmulInt8(x: QuantizedActivations, weight: QuantizedTensor): Int32Array {
  const [out, features] = checkWeight('matmulInt8: weight', weight, ['I8']);
  const tokens = x?.scale?.length;
  checkArray('matmulInt8: x.scale', x?.scale, 'Float32Array');
  checkArray('matmulInt8: x.zeroPoint', x.zeroPoint, 'Int32Array', tokens);
  checkArray('matmulInt8: x.data', x.data, 'Uint8Array', tokens * features);
  const accumulators = new Int32Array(tokens * out);
  const sums = rowSums(weight);
  for (let column = 0; column < out; column++) {
    const w = weight.data.subarray(column * features, (column + 1) * features);
    for (let row = 0; row < tokens; row++) {
      const values = x.data.subarray(row * features, (row + 1) * features);
      let dot = 0;
      for (let k = 0; k < features; k++) dot = (dot + values[k]! * w[k]!) | 0;
      accumulators[row * out + column] = dot - x.zeroPoint[row]! * sums[column]!;
    }
  }
  return accumulators;
}
