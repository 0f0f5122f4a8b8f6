/**
 * The self-test at the start of a device: hard cases of every op, compared with the reference. What the reference makes of
 * them is stored by `npm run build` (EXPECTED in wasm/assets.js), because to compute it takes longer than the test itself.
 */
import { ALL_OPS } from '../../kernels/index.ts';
import { type Op, runOp } from '../../kernels/op.ts';
import { widenHalves } from '../float16.ts';
import { fromBase64 } from '../platform.ts';
import { quantizeWeight } from '../quantize.ts';
import { type Device, Runtime } from '../runtime.ts';

/** One case of one op. */
export interface Case {
  readonly name: string;
  readonly op: Op<unknown>;
  readonly inputs: unknown;
}

/** The cases that a device must pass, by their ops' `selfTest`. */
export const selfTestCases = (): Case[] =>
  ALL_OPS.flatMap((op) =>
    Object.entries(op.selfTest).map(([key, inputs]) => ({ name: `${op.name}, ${key}`, op, inputs: inputs() })),
  );

/** A case, the reference's result, and the largest error allowed for each element. */
export interface Example extends Case {
  readonly want: Float32Array;
  readonly bound: Float32Array;
}

/** The cases with what is expected of each. */
export const selfTestExamples = (expected: Readonly<Record<string, string>>): Example[] =>
  selfTestCases().map((one) => {
    const values = new Float32Array(fromBase64(expected[one.name]!).buffer);
    return { ...one, want: values.subarray(0, values.length / 2), bound: values.subarray(values.length / 2) };
  });

/** Runs the examples on a device. Returns the name of the first one with a value outside its bound, or null. */
export async function firstWrong(device: Device, examples: readonly Example[]): Promise<string | null> {
  const runtime = new Runtime(device);
  for (const { name, op, inputs, want, bound } of examples) {
    const got = await runOp(runtime, op, inputs);
    const isRight = (value: number, i: number) => Object.is(value, want[i]) || Math.abs(value - want[i]!) <= bound[i]!;
    if (!got.every(isRight)) return name; // NaN and Infinity are themselves
  }
  return null;
}

/** A device that quantizes weights. */
export type Quantizing = Device & Required<Pick<Device, 'quantizeWeight'>>;

/** Whether a device quantizes weights, from float16 as well, to the bits of src/quantize.ts. */
export function quantizesRight(device: Quantizing): boolean {
  const half = Uint16Array.from({ length: 120 }, (_, i) => (i * 523) & 0xbfff); // float16 of both signs, up to 2
  const weight = { dtype: 'F32', shape: [3, 40], data: widenHalves(half) } as const;
  return (['torch', 'accurate'] as const).every((scheme) => {
    const want = quantizeWeight(weight, scheme);
    const got = device.quantizeWeight({ ...weight, dtype: 'F16', data: half }, scheme);
    return (['data', 'scale'] as const).every((of) => want[of].every((value, i) => value === got[of][i]));
  });
}
