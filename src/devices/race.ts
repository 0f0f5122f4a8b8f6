/** Times the kernels that passed their self-test: which of several ways to compute the same is the fastest here? */
import { constant, normal, tensor } from '../../kernels/op.ts';
import { Runtime, type Tensor } from '../runtime.ts';
import type { Quantizing } from './selfTest.ts';

/**
 * A linear of 130 x 384 to 96 for timings, so small that it stays in the cache. The weights have the spread of real ones,
 * because the speed of the grouped product depends on it: in the embedded checkpoint the largest weight of a matrix is
 * about 7 standard deviations. All rows are alike, since normal numbers take longer than what is timed.
 */
export function timedProduct(device: Quantizing, int8: boolean): Tensor {
  const [rows, features, out] = [130, 384, 96];
  const { data } = normal([1, features], 1);
  const repeated = (count: number, row: Float32Array) => {
    const matrix = tensor([count, features], new Float32Array(count * features));
    for (let at = 0; at < matrix.data.length; at += features) matrix.data.set(row, at);
    return matrix;
  };
  const weight = repeated(
    out,
    data.map((value, i) => (i === 0 ? 7 : value) / Math.sqrt(features)),
  );
  const runtime = new Runtime(device);
  const layer = runtime.linearLayer(int8 ? device.quantizeWeight(weight, 'torch') : weight, constant([out], 0.1));
  return runtime.linear(runtime.tensor(repeated(rows, data)), layer);
}

/** One of several ways to compute the same tensor. */
export interface Candidate<T> {
  readonly choice: T;
  /** A tensor on a device that computes this way. */
  readonly y: Tensor;
}

/** Timed runs of each way in a set; sets, at most; the ticks of the clock that a run must last. */
const [ROUNDS, MAX_SETS, MIN_TICKS] = [5, 6, 20];
/** A later way must win by 10 %, so that neither a near tie nor other load on the machine decides. */
const CLEARLY = 0.9;

/** The smallest step of the clock in milliseconds: below a microsecond in Node, up to 1 ms in a page. */
function tickOfClock(): number {
  let tick = Infinity;
  for (let i = 0; i < 4; i++) {
    const begin = performance.now();
    let now = begin;
    for (let tries = 0; now === begin && tries < 1e6; tries++) now = performance.now(); // a test may have stopped it
    tick = Math.min(tick, now - begin);
  }
  return tick;
}

/** Milliseconds of a read of y: of as many reads as the clock can tell apart, divided by their number. */
async function timeOf(y: Tensor, min: number): Promise<number> {
  const begin = performance.now();
  let reads = 0;
  do await y.runtime.read(y);
  while (++reads < 1000 && performance.now() - begin < min);
  return (performance.now() - begin) / reads;
}

/**
 * Picks the fastest of several ways, the likely winner first. Their reads are timed in turns, in sets, until two sets agree:
 * other load on the machine slows all alike, or makes sets disagree.
 * @param warmUp milliseconds of untimed runs, because engines optimize in the background; with 0 each way runs once
 * @returns the choice, and the best time of each way in milliseconds; none for a single way, which is not timed
 */
export async function fastest<T>(
  candidates: readonly Candidate<T>[],
  warmUp: number,
): Promise<{ choice: T; milliseconds: number[] }> {
  const best = candidates.map(() => Infinity);
  if (candidates.length === 1) return { choice: candidates[0]!.choice, milliseconds: [] };
  const min = MIN_TICKS * tickOfClock();
  const begin = performance.now();
  for (let runs = 0; runs === 0 || (runs < 1000 && performance.now() - begin < warmUp); runs++) {
    for (const { y } of candidates) await y.runtime.read(y);
  }
  const winnerOf = (times: number[]) => times.reduce((a, time, b) => (time < CLEARLY * times[a]! ? b : a), 0);
  let winner = -1;
  for (let set = 0; set < MAX_SETS; set++) {
    const times = candidates.map(() => Infinity);
    for (let round = 0; round < ROUNDS; round++) {
      for (const [i, { y }] of candidates.entries()) times[i] = Math.min(times[i]!, await timeOf(y, min));
    }
    for (const [i, time] of times.entries()) best[i] = Math.min(best[i]!, time);
    const before = winner;
    winner = winnerOf(times);
    if (winner === before) return { choice: candidates[winner]!.choice, milliseconds: best };
  }
  return { choice: candidates[winnerOf(best)]!.choice, milliseconds: best };
}
