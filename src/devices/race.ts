/**
 * Two checks at the start of a device. The self-test runs hard cases of every op and compares with the reference;
 * `fastest` times the kernels that passed.
 */
import { constant, normal, runOp, tensor } from '../../kernels/op.ts';
import { EXPECTED } from '../../wasm/assets.js';
import { widenHalves } from '../float16.ts';
import { fromBase64 } from '../platform.ts';
import { quantizeWeight } from '../quantize.ts';
import { type Device, Runtime, type Tensor } from '../runtime.ts';
import { type Case, selfTestCases } from './selfTest.ts';

/** One case of one op. `want`: the reference's result; `bound`: the largest error allowed for each element. */
export interface Example extends Case {
  readonly want: Float32Array;
  readonly bound: Float32Array;
}

/** One row, `count` times. */
function repeated<A extends Float32Array | Int8Array>(row: A, count: number): A {
  const data = new (row.constructor as new (length: number) => A)(count * row.length);
  for (let at = 0; at < data.length; at += row.length) data.set(row, at);
  return data;
}

/**
 * Inputs of a linear [out, features] for timings, in float32 and in int8. The weights have the spread of real ones,
 * because the speed of the grouped product depends on it: in the embedded checkpoint the largest weight of a matrix is
 * about 7 standard deviations. All rows are alike, since normal numbers take longer than what is timed.
 */
export function timedLinear(tokens: number, features: number, out: number) {
  const x = normal([1, features], 1).data;
  const row = x.map((value, i) => (i === 0 ? 7 : value) / Math.sqrt(features));
  const { data, scale } = quantizeWeight(tensor([1, features], row), 'torch');
  const shape = [out, features];
  return {
    x: tensor([tokens, features], repeated(x, tokens)),
    weight: tensor(shape, repeated(row, out)),
    quantized: { dtype: 'I8', shape, data: repeated(data, out), scale: repeated(scale, out), scheme: 'torch' } as const,
    bias: constant([out], 0.1),
  };
}

let made: Example[] | undefined;
/** The cases of the self-test with what is expected of each: made once in a process, for every choice of kernels. */
export const selfTestExamples = (): Example[] => {
  made ??= selfTestCases().map((one) => {
    const values = new Float32Array(fromBase64(EXPECTED[one.name as keyof typeof EXPECTED]).buffer);
    return { ...one, want: values.subarray(0, values.length / 2), bound: values.subarray(values.length / 2) };
  });
  return made;
};

/**
 * Runs the examples on a device, and lets it quantize weights if it does. Returns the name of the first example with a value
 * outside its bound, `quantizeWeight` if the device's differs from src/quantize.ts, or null.
 */
export async function firstWrong(device: Device, examples: Example[]): Promise<string | null> {
  const runtime = new Runtime(device);
  for (const { name, op, inputs, want, bound } of examples) {
    const got = await runOp(runtime, op, inputs);
    if (!got.every((value, i) => Math.abs(value - want[i]!) <= bound[i]!)) return name;
  }
  const half = Uint16Array.from({ length: 120 }, (_, i) => (i * 523) & 0xbfff); // float16 of both signs, up to 2
  const weight = { dtype: 'F32', shape: [3, 40], data: widenHalves(half) } as const;
  for (const scheme of ['torch', 'accurate'] as const) {
    const got = device.quantizeWeight?.({ ...weight, dtype: 'F16', data: half }, scheme);
    if (!got) continue;
    const { data, scale } = quantizeWeight(weight, scheme);
    const equal = data.every((value, i) => value === got.data[i]) && scale.every((value, i) => value === got.scale[i]);
    if (!equal) return 'quantizeWeight';
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
