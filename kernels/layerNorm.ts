/**
 * layerNorm, for each row of `v = x + residual`: `y = (v - mean v) / sqrt(variance v + eps) * gamma + beta`. The
 * variance is the sum of (v - mean v)^2 divided by hidden, not by hidden - 1. x, residual [tokens, hidden], gamma,
 * beta [hidden] -> y [tokens, hidden]. Source: Ba, Kiros & Hinton 2016, eq. 4.
 */
import { type Float32Tensor, normal, type Op, U } from './op.ts';

export interface LayerNormInputs {
  x: Float32Tensor;
  residual: Float32Tensor | null;
  gamma: Float32Tensor;
  beta: Float32Tensor;
  eps: number;
}

/** Inputs of standard deviation `size`; x lies around `mean`, gamma around 1. */
export const makeLayerNorm = (tokens: number, hidden: number, size = 1, mean = 0): LayerNormInputs => ({
  x: normal([tokens, hidden], hidden, size, mean),
  residual: normal([tokens, hidden], hidden + 1, size),
  gamma: normal([hidden], 3, 0.2, 1),
  beta: normal([hidden], 4, 0.2),
  eps: 1e-12,
});

export const layerNorm: Op<LayerNormInputs> = {
  name: 'layerNorm',
  run: (runtime, { x, residual, gamma, beta, eps }) =>
    runtime.layerNorm(
      runtime.tensor(x),
      residual && runtime.tensor(residual),
      { gamma: runtime.tensor(gamma), beta: runtime.tensor(beta) },
      eps,
    ),
  /**
   * The mean errs by (hidden + 1) U mean|v|. A distance d = v - mean errs by the mean's error and by U (|v| + |d|). The
   * deviation's relative error is (hidden + 4)/2 U plus the error of d divided by the deviation.
   */
  bound({ x, residual, gamma, beta, eps }) {
    const [tokens, hidden] = [x.shape[0]!, x.shape[1]!];
    const bound = new Float64Array(tokens * hidden);
    for (let token = 0; token < tokens; token++) {
      const at = token * hidden;
      const v = Float64Array.from({ length: hidden }, (_, i) => x.data[at + i]! + (residual?.data[at + i] ?? 0));
      // In float64, so that the bound has no such errors of its own.
      const average = (f: (value: number) => number) => v.reduce((sum, value) => sum + f(value), 0) / hidden;
      const mean = average((value) => value);
      const deviation = Math.sqrt(average((value) => (value - mean) ** 2) + eps);
      const meanError = (hidden + 1) * U * average(Math.abs);
      // The largest |v| stands for all, so the bound holds for every distance.
      const largest = v.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      const relative = ((hidden + 4) / 2) * U + (meanError + 2 * U * largest) / deviation;
      for (let i = 0; i < hidden; i++) {
        const distance = Math.abs(v[i]! - mean);
        const error = meanError + U * (Math.abs(v[i]!) + distance) + distance * (relative + 4 * U);
        bound[at + i] = (Math.abs(gamma.data[i]!) * error) / deviation + 2 * U * Math.abs(beta.data[i]!);
      }
    }
    return bound;
  },
  selfTest: {
    '3 rows of 31': () => makeLayerNorm(3, 31),
    // The one-pass formula for the variance would lose digits here.
    'mean 100': () => makeLayerNorm(3, 64, 1, 100),
  },
};
