/**
 * mean, over the rows of each sequence: `y[s] = sum_t x[first_s + t] / rows_s`. x [rows, columns] -> y [sequences, columns].
 * Sentence embeddings are such means of the last hidden states (Reimers & Gurevych 2019, section 3).
 */
import { type Float32Tensor, normal, type Op, U } from './op.ts';

export interface MeanInputs {
  x: Float32Tensor;
  /** Rows of each sequence. */
  lengths: readonly number[];
}

export const mean: Op<MeanInputs> = {
  name: 'mean',
  run: (runtime, { x, lengths }) => runtime.mean(runtime.tensor(x, lengths)),
  // A sum of n rows, 1 / n and a product; and the rounding of the reference's result.
  bound({ x, lengths }) {
    const columns = x.shape[1]!;
    let row = 0;
    const parts = lengths.map((rows) => {
      const sizes = new Float64Array(columns);
      for (let end = row + rows; row < end; row++) {
        for (let i = 0; i < columns; i++) sizes[i]! += Math.abs(x.data[row * columns + i]!) / rows;
      }
      return [...sizes].map((size) => (rows + 3) * U * size + 2 ** -148);
    });
    return Float64Array.from(parts.flat());
  },
  selfTest: { 'three sequences': () => ({ x: normal([20, 33], 4), lengths: [1, 12, 7] }) },
};
