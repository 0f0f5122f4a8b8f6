/**
 * add and mul: `y = x + other`, `y = x other`, element by element; other is [rows, columns] as x, or one row [1, columns]
 * for all rows. activation: `y = f(x)`, f being
 *   gelu     x Phi(x) = x/2 (1 + erf(x / sqrt 2))     Hendrycks & Gimpel 2016
 *   relu     max(x, 0)
 *   tanh     (e^2x - 1) / (e^2x + 1)
 *   sigmoid  1 / (1 + e^-x)
 * NaN stays NaN. x [rows, columns] -> y [rows, columns].
 */
import { ACTIVATIONS, type Activation } from '../src/runtime.ts';
import { activationBound } from './linear.ts';
import { type Float32Tensor, normal, type Op, tensor, U } from './op.ts';

export interface PairInputs {
  x: Float32Tensor;
  other: Float32Tensor;
}
export interface ActivationInputs {
  x: Float32Tensor;
  name: Activation;
}

/** Zeros of both signs, both sides of where exp ends, numbers that overflow, and what is no number. */
const HARD = [0, 1e-30, 0.3, 1.5, 5.5, 9, 18, 88, 104, 1e4, 3e38, Infinity].flatMap((x) => [x, -x]);
export const hard = (): Float32Tensor => tensor([1, HARD.length + 1], Float32Array.of(...HARD, Number.NaN));
/** A device may take numbers below this for 0, and give 0 instead of them (WGSL, section 15.7.2). */
const SMALLEST = 2 ** -126;

/** An entry of an op on two tensors. One rounding, and one of the reference's result; three numbers may be too small. */
const pairOp = (name: 'add' | 'mul', exact: (a: number, b: number) => number): Op<PairInputs> => ({
  name,
  run: (runtime, { x, other }) => runtime[name](runtime.tensor(x), runtime.tensor(other)),
  bound: ({ x, other }) =>
    Float64Array.from(x.data, (value, i) => {
      const second = other.data[i % other.data.length]!;
      const result = Math.abs(exact(value, second));
      const lost = name === 'mul' && Math.min(Math.abs(value), Math.abs(second)) < SMALLEST;
      return (lost ? result : 2 * U * result) + 3 * SMALLEST;
    }),
  selfTest: { '3x5, one row for all': () => ({ x: normal([3, 5], 1), other: normal([1, 5], 2) }) },
});
export const add = pairOp('add', (a, b) => a + b);
export const mul = pairOp('mul', (a, b) => a * b);

export const activation: Op<ActivationInputs> = {
  name: 'activation',
  run: (runtime, { x, name }) => runtime.activation(runtime.tensor(x), name),
  bound: ({ x, name }) => Float64Array.from(x.data, (value) => activationBound(name, value, 0) + 2 * SMALLEST),
  selfTest: Object.fromEntries(ACTIVATIONS.map((name) => [`${name}, hard`, () => ({ x: hard(), name })])),
};
