/** How sure a mean difference is. */
import { uniform } from '../../kernels/op.ts';

export interface Interval {
  low: number;
  high: number;
}

/**
 * Paired bootstrap: the 95 % percentile interval of the mean of differences, from means of as many drawn with
 * replacement. Paired, as two models answer the same questions. Source: Efron & Tibshirani, An Introduction to the
 * Bootstrap (1993), chapter 13.
 * @param differences one for each question, at least one
 */
export function bootstrap(differences: readonly number[], seed = 1, resamples = 10_000): Interval {
  const next = uniform(seed);
  const means = Float64Array.from({ length: resamples }, () => {
    let sum = 0;
    for (let i = 0; i < differences.length; i++) sum += differences[Math.floor(next() * differences.length)]!;
    return sum / differences.length;
  }).sort();
  /** Between the two nearest, linearly. */
  const quantile = (share: number) => {
    const at = share * (resamples - 1);
    const [below, above] = [means[Math.floor(at)]!, means[Math.ceil(at)]!];
    return below + (above - below) * (at % 1);
  };
  return { low: quantile(0.025), high: quantile(0.975) };
}
