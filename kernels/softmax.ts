/**
 * softmax, for each row: `y_i = exp(x_i - max x) / sum_j exp(x_j - max x)`. A row with NaN or an infinite maximum is NaN, as in
 * PyTorch. x [rows, columns] -> y [rows, columns]. Source: Bridle 1990; subtracting the maximum keeps exp from overflowing.
 */
import { type Float32Tensor, normal, type Op, tensor, U } from './op.ts';

/** Computes a row in float64, for bounds. */
export function softmaxOf(x: ArrayLike<number>): Float64Array {
  const max = Array.from(x).reduce((a, b) => Math.max(a, b));
  const weights = Float64Array.from(x, (value) => Math.exp(value - max));
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((weight) => weight / sum);
}

export const softmax: Op<{ x: Float32Tensor }> = {
  name: 'softmax',
  run: (runtime, { x }) => runtime.softmax(runtime.tensor(x)),
  /**
   * A distance to the maximum errs by U times itself, which exp turns into a relative error, and adds 4 U of its own. The sum
   * of n such values, in any order, errs by n U more. A device may give 2^-126 where exp gives less.
   */
  bound({ x: { shape, data } }) {
    const [rows, columns] = shape as [number, number];
    const bound = new Float64Array(data.length);
    for (let row = 0; row < rows; row++) {
      const values = data.subarray(row * columns, (row + 1) * columns);
      const max = values.reduce((a, b) => Math.max(a, b));
      const y = softmaxOf(values);
      const largest = y.reduce((most, share, i) => (share > 0 ? Math.max(most, max - values[i]!) : most), 0);
      const relative = (columns + 12 + 2 * Math.min(largest, 104)) * U;
      for (let i = 0; i < columns; i++) bound[row * columns + i] = relative * y[i]! + 2 ** -125;
    }
    return bound;
  },
  selfTest: {
    '3x17': () => ({ x: normal([3, 17], 2, 4) }),
    'far apart': () => ({ x: tensor([2, 5], Float32Array.of(1e4, -1e4, 0, 3, 1e4, -3e38, 3e38, 1, 0, -0)) }),
  },
};
