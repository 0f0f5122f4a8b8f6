/**
 * linear: `y = x weight^T + bias`; with `gelu`, each y becomes `y Phi(y) = y/2 (1 + erf(y / sqrt 2))`. x [tokens, in],
 * weight [out, in], bias [out] -> y [tokens, out]. Source: Hendrycks & Gimpel 2016 for GELU; BERT has the exact GELU,
 * not its tanh approximation.
 */
import type { Activation } from '../src/runtime.ts';
import { constant, type Float32Tensor, normal, type Op, U, withValue } from './op.ts';

export interface LinearInputs {
  x: Float32Tensor;
  weight: Float32Tensor;
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

/** Inputs whose x has a NaN. */
export const withNaN = <I extends { x: Float32Tensor }>(inputs: I, index: number): I => ({
  ...inputs,
  x: withValue(inputs.x, index, Number.NaN),
});

/** Cases `tokens x in to out` whose sizes fill no tile, for linear and linearInt8. */
export const oddSizes = <I>(make: (tokens: number, features: number, out: number) => I): Record<string, () => I> =>
  Object.fromEntries(
    [
      [1, 1, 1],
      [1, 3, 2],
      [3, 63, 65],
      [17, 64, 63],
      [5, 255, 257],
      [33, 384, 96],
      [130, 384, 96],
    ].map(([t, k, n]) => [`${t}x${k} to ${n}`, () => make(t!, k!, n!)]),
  );

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
  run: (runtime, { x, weight, bias, activation }) =>
    runtime.linear(runtime.tensor(x), runtime.linearLayer(weight, bias), activation),
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
  cases: {
    ...oddSizes(makeLinear),
    // Size 4, so that GELU's input lies far on both sides of 0.
    gelu: () => ({ ...makeLinear(7, 65, 66, 4), activation: 'gelu' }),
    relu: () => ({ ...makeLinear(7, 65, 66), activation: 'relu' }),
    tanh: () => ({ ...makeLinear(7, 65, 66), activation: 'tanh' }),
    'values of 1e4': () => makeLinear(9, 100, 33, 1e4),
    zeros: () => ({ ...makeLinear(2, 20, 12), x: constant([2, 20], 0) }),
    // Only its row becomes NaN, after GELU, too; not the row before, whose padding it would be.
    'NaN in one row': () => withNaN(makeLinear(3, 65, 63), 65),
    'NaN in one row, gelu': () => withNaN({ ...makeLinear(3, 65, 9), activation: 'gelu' }, 65),
  },
  selfTest: ['3x63 to 65', 'gelu'],
};
