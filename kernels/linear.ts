/**
 * linear: `y = x weight^T + bias`; with `gelu`, each y becomes `y Phi(y) = y/2 (1 + erf(y / sqrt 2))`. x [tokens, in],
 * weight [out, in], bias [out] -> y [tokens, out]. Source: Hendrycks & Gimpel 2016 for GELU; BERT has the exact GELU,
 * not its tanh approximation.
 */
import type { Activation, LinearWeight, Runtime, Tensor } from '../src/runtime.ts';
import { type Float32Tensor, normal, type Op, U } from './op.ts';

export interface LinearInputs<Weight = Float32Tensor> {
  x: Float32Tensor;
  weight: Weight;
  bias: Float32Tensor;
  activation?: Activation;
}

/** x of standard deviation `size`. The weight's is 1 / sqrt(in), so that y is about as large as x. */
export function makeLinear(tokens: number, features: number, out: number, size = 1): LinearInputs {
  return {
    x: normal([tokens, features], tokens, size),
    weight: normal([out, features], out + 7, 1 / Math.sqrt(features)),
    bias: normal([out], 5, size / 10),
  };
}

/** `run` of a linear with a weight of any dtype. */
export const runLinear = (runtime: Runtime, { x, weight, bias, activation }: LinearInputs<LinearWeight>): Tensor =>
  runtime.linear(runtime.tensor(x), runtime.linearLayer(weight, bias), activation);

/**
 * The error of GELU(y) where y itself errs by `error`. GELU's slope is at most 1.13. In float32 erf errs by about 4 U,
 * and the addition of 1 by 2 U more; both are multiplied by y/2.
 */
const geluBound = (y: number, error: number): number => 1.13 * error + 4 * U * (Math.abs(y) + error);

/**
 * The error of an activation of x where x itself errs by `error`. tanh and sigmoid are made of one exp, whose relative error of
 * about 4 U their slope takes down, one division and two additions.
 */
export function activationBound(name: Activation, x: number, error: number): number {
  if (name === 'gelu') return geluBound(x, error);
  if (name === 'relu') return error;
  const value = name === 'tanh' ? Math.tanh(x) : 1 / (1 + Math.exp(-x));
  const slope = name === 'tanh' ? 1 : 0.25;
  return slope * error + 8 * U * (Math.min(1, Math.abs(x)) + Math.abs(value)) + 2 ** -126;
}

export const linear: Op<LinearInputs> = {
  name: 'linear',
  run: runLinear,
  // A sum of `in` products and the bias: (in + 1) U times the sum of the magnitudes (Op.bound in op.ts).
  bound({ x, weight, bias, activation }) {
    const [features, out] = [x.shape[1]!, weight.shape[0]!];
    return Float64Array.from({ length: x.shape[0]! * out }, (_, at) => {
      const [row, column] = [Math.floor(at / out), at % out];
      let y = bias.data[column]!;
      let size = Math.abs(y);
      for (let k = 0; k < features; k++) {
        const product = x.data[row * features + k]! * weight.data[column * features + k]!;
        y += product;
        size += Math.abs(product);
      }
      const error = (features + 1) * U * size;
      return activation ? activationBound(activation, y, error) : error;
    });
  },
  selfTest: {
    '3x63 to 65': () => makeLinear(3, 63, 65),
    // Size 4, so that GELU's input lies far on both sides of 0.
    gelu: () => ({ ...makeLinear(7, 65, 66, 4), activation: 'gelu' }),
  },
};
