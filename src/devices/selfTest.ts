/**
 * The self-test of a device: hard cases of every op, and what the reference makes of them. To compute that takes longer
 * than the test itself, so `npm run build` does it and stores it in wasm/assets.js.
 */
import { OPS } from '../../kernels/index.ts';
import { type Op, runOp } from '../../kernels/op.ts';
import { Runtime } from '../runtime.ts';
import { ReferenceDevice } from './reference.ts';

/** The cases of each op that a device must pass, by their names in kernels/<op>.ts. */
const CASES: { [K in keyof typeof OPS]: string[] } = {
  embedding: ['17 tokens of 20'],
  layerNorm: ['3 rows of 31', 'mean 100'],
  linear: ['3x63 to 65', 'gelu'],
  linearInt8: ['accurate', 'gelu', 'large sums', 'sums that fill 16 bits', 'large sums of 128', 'activations of 1e-30'],
  attention: ['17 tokens, heads of 8', 'scores of 1e3'],
};

/** One case of one op. */
export interface Case {
  readonly name: string;
  readonly op: Op<unknown>;
  readonly inputs: unknown;
}

/** All cases. */
export const selfTestCases = (): Case[] =>
  Object.entries(CASES).flatMap(([name, cases]) => {
    const op = OPS[name as keyof typeof OPS] as Op<unknown>;
    return cases.map((key) => ({ name: `${name}, ${key}`, op, inputs: op.cases[key]!() }));
  });

/** For each case by its name | the reference's result | the largest error allowed for each element |, float32 in base64. */
export async function expectedResults(): Promise<Record<string, string>> {
  const reference = new Runtime(new ReferenceDevice());
  const results: Record<string, string> = {};
  for (const { name, op, inputs } of selfTestCases()) {
    const want = await runOp(reference, op, inputs);
    const bound = op.bound(inputs).map((error) => error * (1 + 2 ** -23)); // so that float32 does not round it down
    const bytes = new Uint8Array(Float32Array.of(...want, ...bound).buffer);
    results[name] = btoa(String.fromCharCode(...bytes));
  }
  return results;
}
