/**
 * rows: `y[i] = x[indices[i]]`. x [rows, columns], indices [n] -> y [n, columns]; of an upload or of what an op made, such as the
 * rows of [CLS]. The kernel adds up to three such results, for `embedding` (embedding.ts).
 */
import { type Float32Tensor, normal, type Op } from './op.ts';

export interface RowsInputs {
  x: Float32Tensor;
  indices: Int32Array;
}

export const rows: Op<RowsInputs> = {
  name: 'rows',
  run: (runtime, { x, indices }) => runtime.rows(runtime.tensor(x), indices),
  bound: ({ x, indices }) => new Float64Array(indices.length * x.shape[1]!), // copies
  selfTest: { '5 of 9, one twice': () => ({ x: normal([9, 17], 2), indices: Int32Array.of(8, 0, 3, 3, 1) }) },
};
