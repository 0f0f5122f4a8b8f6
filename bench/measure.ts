/**
 * The timing core: which runs count, from when to when, and their statistics. Not tinybench's, which times one function to its end:
 * here each stops after a few runs for another's turn, the clock is given, and percentiles are numpy's.
 */

export interface Protocol {
  /** Forwards that are not counted; fewer, but at least 1, where they would take more than a fifth of `seconds`. */
  readonly warmups: number;
  /** Forwards that are; fewer, but at least 1, where there is no time for them. */
  readonly samples: number;
  /** Time for both. */
  readonly seconds: number;
}

/** Times one forward over and over, a few at a time. */
export class Sampler {
  /** Times of the forwards that count, from the call to its logits read back. */
  readonly milliseconds: number[] = [];
  warmups = 0;
  readonly #forward: () => Promise<unknown>;
  readonly #protocol: Protocol;
  readonly #now: () => number;
  #spent = 0;

  /**
   * @param forward resolves once its result is in this thread's memory
   * @param now a clock, in milliseconds
   */
  constructor(forward: () => Promise<unknown>, protocol: Protocol, now: () => number) {
    this.#forward = forward;
    this.#protocol = protocol;
    this.#now = now;
  }

  get done(): boolean {
    const { samples, seconds } = this.#protocol;
    return this.milliseconds.length >= samples || (this.milliseconds.length > 0 && this.#spent >= seconds * 1000);
  }

  /** Runs so many forwards, or those that are left. */
  async turn(forwards: number): Promise<void> {
    const { warmups, seconds } = this.#protocol;
    for (let i = 0; i < forwards && !this.done; i++) {
      const begin = this.#now();
      await this.#forward();
      const elapsed = this.#now() - begin;
      if (this.warmups < 1 || (this.warmups < warmups && this.#spent * 5 < seconds * 1000)) this.warmups++;
      else this.milliseconds.push(elapsed);
      this.#spent += elapsed;
    }
  }
}

/** A run that tells how many milliseconds it took. */
export const timed = (run: () => unknown) => async (): Promise<number> => {
  const begin = performance.now();
  await run();
  return performance.now() - begin;
};

/**
 * Runs functions of one process in turns, so that whatever else happens on the machine happens to all.
 * @param runs each tells the milliseconds that count
 * @returns those of each, after the warm-ups
 */
export async function inTurns(
  runs: readonly (() => Promise<number>)[],
  { warmups, rounds }: { warmups: number; rounds: number },
): Promise<number[][]> {
  const times = runs.map((): number[] => []);
  for (let round = -warmups; round < rounds; round++) {
    for (const [i, run] of runs.entries()) {
      const milliseconds = await run();
      if (round >= 0) times[i]!.push(milliseconds);
    }
  }
  return times;
}

/** `numpy.percentile` of sorted values: linear between the two nearest ranks. */
export function percentile(sorted: readonly number[], percent: number): number {
  const rank = ((sorted.length - 1) * percent) / 100;
  const [low, high] = [sorted[Math.floor(rank)]!, sorted[Math.ceil(rank)]!];
  return low + (high - low) * (rank - Math.floor(rank));
}

/** Latencies as optimum-benchmark writes them: seconds, `stdev` of the population, `stdev_` in percent of the mean. */
export interface Latency {
  readonly unit: 's';
  readonly values: readonly number[];
  readonly count: number;
  readonly total: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  readonly stdev: number;
  readonly stdev_: number;
}

/** The middle one of the values; of an even number of them, the upper of the two. */
export const median = (values: ArrayLike<number>): number => Float64Array.from(values).sort()[values.length >> 1]!;

/**
 * Statistics of measured times, as optimum-benchmark has them (its `Latency.from_values`).
 * @param milliseconds at least one
 */
export function latencyOf(milliseconds: readonly number[]): Latency {
  const values = milliseconds.map((ms) => ms / 1000);
  const sorted = values.toSorted((a, b) => a - b);
  const total = values.reduce((sum, value) => sum + value, 0);
  const mean = total / values.length;
  const stdev = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
  const [p50, p90, p95, p99] = [50, 90, 95, 99].map((percent) => percentile(sorted, percent)) as [
    number,
    number,
    number,
    number,
  ];
  const spread = { stdev, stdev_: (stdev / Math.abs(mean)) * 100 };
  return { unit: 's', values, count: values.length, total, mean, p50, p90, p95, p99, ...spread };
}
