/**
 * softmax, for each row: `y_i = exp(x_i - max x) / sum_j exp(x_j - max x)`. A row with NaN or an infinite maximum is NaN, as in
 * PyTorch. x [rows, columns] -> y [rows, columns]. Source: Bridle 1990; subtracting the maximum keeps exp from overflowing.
 */
import { hard } from './elementwise.ts';
import { constant, type Float32Tensor, normal, type Op, tensor, U, withValue } from './op.ts';

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
      const weights = Float64Array.from(values, (value) => Math.exp(value - max));
      const sum = weights.reduce((a, b) => a + b);
      const largest = weights.reduce((most, weight, i) => (weight > 0 ? Math.max(most, max - values[i]!) : most), 0);
      const relative = (columns + 12 + 2 * Math.min(largest, 104)) * U;
      for (let i = 0; i < columns; i++) bound[row * columns + i] = (relative * weights[i]!) / sum + 2 ** -125;
    }
    return bound;
  },
  cases: {
    '1x1': () => ({ x: normal([1, 1], 1) }),
    '3x17': () => ({ x: normal([3, 17], 2, 4) }),
    '5x384': () => ({ x: normal([5, 384], 3, 10) }),
    'rows of equal values': () => ({ x: constant([2, 33], 7) }),
    'far apart': () => ({ x: tensor([2, 5], Float32Array.of(1e4, -1e4, 0, 3, 1e4, -3e38, 3e38, 1, 0, -0)) }),
    'no numbers': () => ({
      x: tensor([3, 4], Float32Array.of(-Infinity, 1, 2, -Infinity, Infinity, 1, 2, 3, Number.NaN, 1, 2, 3)),
    }),
    // Padding, 0, is no maximum; and a kernel that takes a row in several rounds must keep that of the first.
    'far below 0, the largest early': () => ({ x: withValue(normal([1, 601], 4, 1, -1000), 5, -900) }),
    hard: () => ({ x: hard() }),
  },
  selfTest: ['3x17', 'far apart'],
};
