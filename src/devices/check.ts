/** What a device computes right before it is used: hard cases of every op, with what the reference makes of them. */
import { OPS } from '../../kernels/index.ts';
import { makeLinear } from '../../kernels/linear.ts';
import { type Op, runOp } from '../../kernels/op.ts';
import { quantizeWeight } from '../quantize.ts';
import { type Device, Runtime } from '../runtime.ts';
import { ReferenceDevice } from './reference.ts';

/** Names of an op's cases. */
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

export interface Example {
  readonly name: string;
  readonly op: Op<unknown>;
  readonly inputs: unknown;
  readonly want: Float32Array;
  readonly bound: Float64Array;
}

/** An int8 linear that stays in a CPU's cache. */
export const smallLinear = () => OPS.linearInt8.cases['130x384 to 96']!();
/** An int8 linear of so many tokens at bert-base's width, for a GPU. */
export function largeLinear(tokens: number) {
  const { x, weight, bias } = makeLinear(tokens, 768, 768);
  return { x, weight: quantizeWeight(weight, 'torch'), bias };
}

let made: Promise<Example[]> | undefined;
/** Made once in a process, for all the kernels that are tried. */
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

/** The first example that a device gets wrong, or null. */
export async function firstWrong(device: Device, examples: Example[]): Promise<string | null> {
  const runtime = new Runtime(device);
  for (const { name, op, inputs, want, bound } of examples) {
    const got = await runOp(runtime, op, inputs);
    if (!got.every((value, i) => Math.abs(value - want[i]!) <= bound[i]!)) return name;
  }
  return null;
}

/** A way to compute the same, and one timed run of it. */
export interface Candidate<T> {
  readonly choice: T;
  /** Milliseconds that it took. */
  readonly time: () => Promise<number>;
}

/**
 * The fastest of several ways, timed in turns so that what else happens on the machine happens to all.
 * @param warmUp milliseconds, or 0 for one run each, before a time counts: engines optimize in the background
 * @param rounds how many times each is timed; the best of them counts
 */
export async function fastest<T>(candidates: readonly Candidate<T>[], warmUp: number, rounds: number): Promise<T> {
  if (candidates.length === 1) return candidates[0]!.choice;
  const best = candidates.map(() => Infinity);
  const begin = performance.now();
  do for (const { time } of candidates) await time();
  while (performance.now() - begin < warmUp);
  for (let round = 0; round < rounds; round++) {
    for (const [i, { time }] of candidates.entries()) best[i] = Math.min(best[i]!, await time());
  }
  const winner = best.reduce((a, _, b) => (best[b]! < 0.95 * best[a]! ? b : a), 0); // on a tie, the same one each time
  return candidates[winner]!.choice;
}
