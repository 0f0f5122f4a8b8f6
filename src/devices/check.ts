/**
 * Two checks at the start of a device. The self-test runs hard cases of every op and compares with the reference;
 * `fastest` times the kernels that passed.
 */
import { OPS } from '../../kernels/index.ts';
import { constant, normal, type Op, runOp, tensor } from '../../kernels/op.ts';
import { quantizeWeight } from '../quantize.ts';
import { type Device, Runtime, type Tensor } from '../runtime.ts';
import { ReferenceDevice } from './reference.ts';

/** The cases of each op that a device must pass, by their names in kernels/<op>.ts. */
const CASES: { [K in keyof typeof OPS]: string[] } = {
  embedding: ['17 tokens of 20'],
  layerNorm: ['3 rows of 31', 'mean 100'],
  linear: ['3x63 to 65', 'gelu'],
  linearInt8: [
    ...['3x63 to 65', 'accurate', 'gelu', 'largest sums', 'sums that fill 16 bits', 'activations of 128'],
    'activations of 1e-30',
  ],
  attention: ['17 tokens, heads of 8', 'scores of 1e3'],
};

/** One case of one op. `want`: the reference's result; `bound`: the largest error allowed for each element. */
export interface Example {
  readonly name: string;
  readonly op: Op<unknown>;
  readonly inputs: unknown;
  readonly want: Float32Array;
  readonly bound: Float64Array;
}

/**
 * Inputs of a linear [out, features] for timings, in float32 and in int8. The weights have the spread of real ones,
 * because the speed of the grouped product depends on it: in the embedded checkpoint the largest weight of a matrix is
 * about 7 standard deviations.
 */
export function timedLinear(tokens: number, features: number, out: number) {
  const { data: row } = normal([features], 1); // one for all rows: normal numbers take longer than what is timed
  const rows = (count: number, size: number) =>
    tensor(
      [count, features],
      Float32Array.from({ length: count * features }, (_, i) => row[i % features]! * size),
    );
  const [x, weight] = [rows(tokens, 1), rows(out, 1 / Math.sqrt(features))];
  weight.data[0] = 7 / Math.sqrt(features);
  return { x, weight, quantized: quantizeWeight(weight, 'torch'), bias: constant([out], 0.1) };
}

let made: Promise<Example[]> | undefined;
/** All examples. They are computed once in a process and serve every choice of kernels. */
export function selfTestExamples(): Promise<Example[]> {
  made ??= makeExamples();
  return made;
}

async function makeExamples(): Promise<Example[]> {
  const reference = new Runtime(new ReferenceDevice());
  const examples: Example[] = [];
  for (const [name, cases] of Object.entries(CASES) as [keyof typeof OPS, string[]][]) {
    const op = OPS[name] as Op<unknown>;
    for (const key of cases) {
      const inputs = op.cases[key]!();
      const want = await runOp(reference, op, inputs);
      examples.push({ name: `${name}, ${key}`, op, inputs, want, bound: op.bound(inputs) });
    }
  }
  return examples;
}

/** Runs the examples on a device. Returns the name of the first example with a value outside its bound, or null. */
export async function firstWrong(device: Device, examples: Example[]): Promise<string | null> {
  const runtime = new Runtime(device);
  for (const { name, op, inputs, want, bound } of examples) {
    const got = await runOp(runtime, op, inputs);
    if (!got.every((value, i) => Math.abs(value - want[i]!) <= bound[i]!)) return name;
  }
  return null;
}

/** One of several ways to compute the same tensor. */
export interface Candidate<T> {
  readonly choice: T;
  /** A tensor on a device that computes this way. */
  readonly y: Tensor;
}

/**
 * Picks the fastest of several ways. Their reads are timed in turns, so that other load on the machine slows all alike.
 * @param warmUp milliseconds of untimed runs, because engines optimize in the background; with 0 each way runs once
 * @param rounds timed runs of each way; the best time of each counts
 */
export async function fastest<T>(candidates: readonly Candidate<T>[], warmUp: number, rounds: number): Promise<T> {
  if (candidates.length === 1) return candidates[0]!.choice;
  const best = candidates.map(() => Infinity);
  const begin = performance.now();
  do for (const { y } of candidates) await y.runtime.read(y);
  while (performance.now() - begin < warmUp);
  for (let round = 0; round < rounds; round++) {
    for (const [i, { y }] of candidates.entries()) {
      const before = performance.now();
      await y.runtime.read(y);
      best[i] = Math.min(best[i]!, performance.now() - before);
    }
  }
  // A later way must win by 5 %, so that a near tie gives the same choice at every start.
  const winner = best.reduce((a, _, b) => (best[b]! < 0.95 * best[a]! ? b : a), 0);
  return candidates[winner]!.choice;
}
