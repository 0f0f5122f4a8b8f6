/**
 * matmul: `y = x other`. x [m, k], other [k, n] -> y [m, n], in float32. transpose: `y[j, i] = x[i, j]`. x [m, n] -> y [n, m].
 */
import { type Float32Tensor, normal, type Op, U } from './op.ts';

export interface MatmulInputs {
  x: Float32Tensor;
  other: Float32Tensor;
}
const make = (m: number, k: number, n: number, size = 1): MatmulInputs => ({
  x: normal([m, k], m, size),
  other: normal([k, n], n + 7),
});

export const matmul: Op<MatmulInputs> = {
  name: 'matmul',
  run: (runtime, { x, other }) => runtime.matmul(runtime.tensor(x), runtime.tensor(other)),
  // A sum of k products (Op.bound in op.ts).
  bound({ x, other }) {
    const [m, k, n] = [x.shape[0]!, x.shape[1]!, other.shape[1]!];
    return Float64Array.from({ length: m * n }, (_, at) => {
      const [row, column] = [Math.floor(at / n), at % n];
      let size = 0;
      for (let i = 0; i < k; i++) size += Math.abs(x.data[row * k + i]! * other.data[i * n + column]!);
      return (k + 1) * U * size + 2 ** -148;
    });
  },
  cases: {
    ...Object.fromEntries(
      [
        [1, 1, 1],
        [1, 5, 3],
        [7, 33, 17],
        [3, 1, 65],
        [33, 64, 96],
      ].map(([m, k, n]) => [`${m}x${k}x${n}`, () => make(m!, k!, n!)]),
    ),
    'values of 1e4': () => make(9, 50, 20, 1e4),
    'no numbers': () => {
      const inputs = make(3, 2, 4);
      inputs.x.data.set([Number.NaN, 1, Infinity, 1]);
      return inputs;
    },
  },
  selfTest: ['7x33x17'],
};

export const transpose: Op<{ x: Float32Tensor }> = {
  name: 'transpose',
  run: (runtime, { x }) => runtime.transpose(runtime.tensor(x)),
  bound: ({ x }) => new Float64Array(x.data.length), // copies
  cases: Object.fromEntries(
    [
      [1, 1],
      [1, 17],
      [19, 1],
      [5, 17],
      [133, 40],
    ].map(([rows, columns]) => [`${rows}x${columns}`, () => ({ x: normal([rows!, columns!], rows!) })]),
  ),
  selfTest: ['5x17'],
};
