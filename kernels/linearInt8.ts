/**
 * linearInt8: linear with an int8 weight and activations that are quantized when it runs:
 * `y = float32(sum_k (xq - zeroPoint) wq) * (xScale * wScale) + bias`. The sum is int32 and equal on every device.
 * x [tokens, in] float32, weight [out, in] int8, bias [out] -> y [tokens, out]. Source: src/quantize.ts.
 */

import { matmulInt8, quantizeActivations, quantizeWeight } from '../src/quantize.ts';
import type { Activation, QuantizedTensor, Scheme } from '../src/runtime.ts';
import { activationBound, makeLinear, oddSizes, withNaN } from './linear.ts';
import { constant, type Float32Tensor, type Op, tensor, U, uniform } from './op.ts';

export interface LinearInt8Inputs {
  x: Float32Tensor;
  weight: QuantizedTensor;
  bias: Float32Tensor;
  activation?: Activation;
}

/** makeLinear with its weight quantized. */
function make(tokens: number, features: number, out: number, scheme: Scheme = 'torch'): LinearInt8Inputs {
  const { x, weight, bias } = makeLinear(tokens, features, out);
  return { x, weight: quantizeWeight(weight, scheme), bias };
}

/** Activations are `low` or `high` at random, weights -128 or 127 by column: the largest sums there are. */
function extremes(tokens: number, features: number, out: number, low: number, high: number): LinearInt8Inputs {
  const next = uniform(features);
  const x = Float32Array.from({ length: tokens * features }, () => (next() < 0.5 ? low : high));
  const data = Int8Array.from({ length: out * features }, (_, i) => (Math.floor(i / features) % 2 ? 127 : -128));
  const weight = {
    dtype: 'I8',
    shape: [out, features],
    data,
    scale: new Float32Array(out).fill(1),
    scheme: 'torch',
  } as const;
  return { x: tensor([tokens, features], x), weight, bias: constant([out], 0) };
}

/**
 * Weights of 32 and of -32 against activations of 128, at the limit of sums in 16 bits (linearInt8Grouped.wasm.ts). 8
 * products of -32 * 128 are -2^15, which int16 holds; 8 products of 32 * 128 are 2^15, one too large. The weights 0
 * and 2 of each 16 are `smaller` than 32 if the positive sums are to fit.
 */
function limits(smaller: number): LinearInt8Inputs {
  const { x, weight, bias } = extremes(3, 64, 16, 1, 1);
  x.data[0] = -1; // range [-1, 1]: xq of 1 is 128
  const data = weight.data.map((value, i) => (value < 0 ? -32 : i % 16 === 0 || i % 16 === 2 ? smaller : 32));
  return { x, weight: { ...weight, data }, bias };
}

/** The matrices of onnxruntime#7524, whose sums saturated on AVX2; the left one less its zero point, 42. */
function onnxruntime7524(): LinearInt8Inputs {
  const left = [238, 115, 94, 245, 111, 102, 158, 225, 48].map((value) => value - 42);
  const data = Int8Array.of(25, 42, -81, 36, -123, -86, 125, 76, 35);
  const weight = { dtype: 'I8', shape: [3, 3], data, scale: new Float32Array(3).fill(1), scheme: 'torch' } as const;
  return { x: tensor([3, 3], Float32Array.from(left)), weight, bias: constant([3], 0) };
}

export const linearInt8: Op<LinearInt8Inputs> = {
  name: 'linearInt8',
  run: (runtime, { x, weight, bias, activation }) =>
    runtime.linear(runtime.tensor(x), runtime.linearLayer(weight, bias), activation),
  // The integers are exact. Four roundings remain: the product of the scales, the accumulator's conversion to float32,
  // the product of these two, and the addition of the bias.
  bound({ x, weight, bias, activation }) {
    const out = weight.shape[0]!;
    if (x.data.some(Number.isNaN)) return new Float64Array(x.shape[0]! * out).fill(Number.NaN);
    const quantized = quantizeActivations(x, weight.scheme);
    return Float64Array.from(matmulInt8(quantized, weight), (accumulator, at) => {
      const product = accumulator * quantized.scale[Math.floor(at / out)]! * weight.scale[at % out]!;
      const [y, size] = [product + bias.data[at % out]!, Math.abs(product) + Math.abs(bias.data[at % out]!)];
      return activation ? activationBound(activation, y, 4 * U * size) : 4 * U * size;
    });
  },
  cases: {
    ...oddSizes(make),
    '3x3072 to 40': () => make(3, 3072, 40),
    accurate: () => make(13, 70, 30, 'accurate'),
    gelu: () => ({ ...make(7, 65, 66), activation: 'gelu' }),
    tanh: () => ({ ...make(7, 65, 66), activation: 'tanh' }),
    'largest sums': () => extremes(6, 3072, 18, -1, 1.01),
    'activations of 128': () => extremes(6, 3072, 18, -1, 1),
    // Short, for the self-test.
    'large sums': () => extremes(6, 256, 18, -1, 1.01),
    'large sums of 128': () => extremes(6, 256, 18, -1, 1),
    // Below and above the limit at which the grouped product must widen earlier.
    'sums that fill 16 bits': () => limits(31),
    'sums beyond 16 bits': () => limits(32),
    // A range of 0, and one that chooseScale widens.
    'activations of 0': () => ({ ...make(4, 33, 20), x: constant([4, 33], 0) }),
    'activations of 1e-30': () => ({ ...make(4, 33, 20), x: constant([4, 33], 1e-30) }),
    'one-sided activations': () => ({ ...make(4, 33, 20), x: constant([4, 33], -3) }),
    'onnxruntime#7524': onnxruntime7524,
    // A range with a NaN in it is none: all rows that share it become NaN, after GELU, too.
    'NaN in one row': () => withNaN(make(3, 63, 65), 63),
    'NaN in one row, gelu': () => withNaN({ ...make(3, 63, 9), activation: 'gelu' }, 63),
  },
  selfTest: ['accurate', 'gelu', 'large sums', 'sums that fill 16 bits', 'large sums of 128', 'activations of 1e-30'],
};
