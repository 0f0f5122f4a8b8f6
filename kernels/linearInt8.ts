/**
 * linearInt8: linear with an int8 weight and activations that are quantized when it runs:
 * `y = float32(sum_k (xq - zeroPoint) wq) * (xScale * wScale) + bias`. The sum is int32 and equal on every device.
 * x [tokens, in] float32, weight [out, in] int8, bias [out] -> y [tokens, out]. Source: src/quantize.ts.
 */

import { matmulInt8, quantizeActivations, quantizeWeight } from '../src/quantize.ts';
import type { QuantizedTensor, Scheme } from '../src/runtime.ts';
import { activationBound, type LinearInputs, makeLinear, runLinear } from './linear.ts';
import { constant, type Op, tensor, U, uniform } from './op.ts';

export type LinearInt8Inputs = LinearInputs<QuantizedTensor>;

/** makeLinear with its weight quantized. */
export function makeLinearInt8(
  tokens: number,
  features: number,
  out: number,
  scheme: Scheme = 'torch',
): LinearInt8Inputs {
  const { x, weight, bias } = makeLinear(tokens, features, out);
  return { x, weight: quantizeWeight(weight, scheme), bias };
}

/** A weight [out, in] of these integers, all scales 1. */
export function ofIntegers(out: number, data: Int8Array): QuantizedTensor {
  return { dtype: 'I8', shape: [out, data.length / out], data, scale: new Float32Array(out).fill(1), scheme: 'torch' };
}

/** Activations are `low` or `high` at random, weights -128 or 127 by column: the largest sums there are. */
export function extremes(tokens: number, features: number, out: number, low: number, high: number): LinearInt8Inputs {
  const next = uniform(features);
  const x = Float32Array.from({ length: tokens * features }, () => (next() < 0.5 ? low : high));
  const data = Int8Array.from({ length: out * features }, (_, i) => (Math.floor(i / features) % 2 ? 127 : -128));
  return { x: tensor([tokens, features], x), weight: ofIntegers(out, data), bias: constant([out], 0) };
}

/**
 * Weights of 32 and of -32 against activations of 128, at the limit of sums in 16 bits (linearInt8Grouped.wasm.ts). 8
 * products of -32 * 128 are -2^15, which int16 holds; 8 products of 32 * 128 are 2^15, one too large. The weights 0
 * and 2 of each 16 are `smaller` than 32 if the positive sums are to fit.
 */
export function limits(smaller: number): LinearInt8Inputs {
  const { x, weight, bias } = extremes(3, 64, 16, 1, 1);
  x.data[0] = -1; // range [-1, 1]: xq of 1 is 128
  const data = weight.data.map((value, i) => (value < 0 ? -32 : i % 16 === 0 || i % 16 === 2 ? smaller : 32));
  return { x, weight: ofIntegers(16, data), bias };
}

export const linearInt8: Op<LinearInt8Inputs> = {
  name: 'linearInt8',
  run: runLinear,
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
  selfTest: {
    accurate: () => makeLinearInt8(13, 70, 30, 'accurate'),
    gelu: () => ({ ...makeLinearInt8(7, 65, 66), activation: 'gelu' }),
    'large sums': () => extremes(6, 256, 18, -1, 1.01),
    'sums that fill 16 bits': () => limits(31),
    'large sums of 128': () => extremes(6, 256, 18, -1, 1),
    // A range that chooseScale widens.
    'activations of 1e-30': () => ({ ...makeLinearInt8(4, 33, 20), x: constant([4, 33], 1e-30) }),
  },
};
