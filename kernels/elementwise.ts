/**
 * add and mul: `y = x + other`, `y = x other`, element by element; other is [rows, columns] as x, or one row [1, columns]
 * for all rows. activation: `y = f(x)`, f being
 *   gelu     x Phi(x) = x/2 (1 + erf(x / sqrt 2))     Hendrycks & Gimpel 2016
 *   relu     max(x, 0)
 *   tanh     (e^2x - 1) / (e^2x + 1)
 *   sigmoid  1 / (1 + e^-x)
 * NaN stays NaN. x [rows, columns] -> y [rows, columns].
 */
import type { Activation } from '../src/runtime.ts';
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
const denormals = (): Float32Tensor => tensor([1, 4], Float32Array.of(1e-42, -1e-42, 2e-40, 1e-38));
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
  cases: {
    '1x1': () => ({ x: normal([1, 1], 1), other: normal([1, 1], 2) }),
    '5x17': () => ({ x: normal([5, 17], 1), other: normal([5, 17], 2) }),
    '3x5, one row for all': () => ({ x: normal([3, 5], 1), other: normal([1, 5], 2) }),
    '7x33, one row for all': () => ({ x: normal([7, 33], 1), other: normal([1, 33], 2) }),
    '130x384': () => ({ x: normal([130, 384], 1), other: normal([130, 384], 2) }),
    hard: () => {
      const { data } = hard();
      const all = Float32Array.from({ length: data.length ** 2 }, (_, i) => data[Math.floor(i / data.length)]!);
      return { x: tensor([data.length, data.length], all), other: hard() };
    },
    denormals: () => ({ x: denormals(), other: tensor([1, 4], Float32Array.of(0.5, 3, -2, 1e-3)) }),
  },
  selfTest: ['3x5, one row for all'],
});
export const add = pairOp('add', (a, b) => a + b);
export const mul = pairOp('mul', (a, b) => a * b);

const NAMES: readonly Activation[] = ['gelu', 'relu', 'tanh', 'sigmoid'];
export const activation: Op<ActivationInputs> = {
  name: 'activation',
  run: (runtime, { x, name }) => runtime.activation(runtime.tensor(x), name),
  bound: ({ x, name }) => Float64Array.from(x.data, (value) => activationBound(name, value, 0) + 2 * SMALLEST),
  cases: Object.fromEntries(
    NAMES.flatMap((name) => [
      [`${name}, hard`, () => ({ x: hard(), name })],
      [`${name}, denormals`, () => ({ x: denormals(), name })],
      [`${name}, 5x17`, () => ({ x: normal([5, 17], 3, 3), name })],
      [`${name}, near 0`, () => ({ x: normal([3, 65], 4, 1e-3), name })],
    ]),
  ),
  selfTest: NAMES.map((name) => `${name}, hard`),
};
