/**
 * matmul: `y = x other`. x [m, k], other [k, n] -> y [m, n], in float32. transpose: `y[j, i] = x[i, j]`. x [m, n] -> y [n, m].
 */
import type { PairInputs } from './elementwise.ts';
import { type Float32Tensor, normal, type Op, U } from './op.ts';

export const matmul: Op<PairInputs> = {
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
  selfTest: { '7x33x17': () => ({ x: normal([7, 33], 7), other: normal([33, 17], 24) }) },
};

export const transpose: Op<{ x: Float32Tensor }> = {
  name: 'transpose',
  run: (runtime, { x }) => runtime.transpose(runtime.tensor(x)),
  bound: ({ x }) => new Float64Array(x.data.length), // copies
  selfTest: { '5x17': () => ({ x: normal([5, 17], 5) }) },
};
