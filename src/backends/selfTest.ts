/** What a device computes right before it is used: hard cases of every op, with what the reference makes of them. */
import { OPS } from '../../kernels/index.ts';
import { type Op, runOp } from '../../kernels/op.ts';
import type { Backend } from '../backend.ts';
import { ReferenceBackend } from './reference.ts';

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

let made: Promise<Example[]> | undefined;
/** Made once in a process, for all the kernels that are tried. */
export function selfTestExamples(): Promise<Example[]> {
  made ??= makeExamples();
  return made;
}

async function makeExamples(): Promise<Example[]> {
  const reference = new ReferenceBackend();
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

/** The first example that a backend gets wrong, or null. */
export async function firstWrong(backend: Backend, examples: Example[]): Promise<string | null> {
  for (const { name, op, inputs, want, bound } of examples) {
    const got = await runOp(backend, op, inputs);
    if (!got.every((value, i) => Math.abs(value - want[i]!) <= bound[i]!)) return name;
  }
  return null;
}
