/**
 * Type of an entry of the op table, and the helpers that the entries share.
 */
import type { HostTensor, Runtime, Tensor } from '../src/runtime.ts';

/** Unit roundoff of float32: one operation errs by at most `|result| * U`. */
export const U = 2 ** -24;

export type Float32Tensor = HostTensor<Float32Array>;

/**
 * An entry: one op of `Runtime`. The op's formula is in the header of the entry's file, its slow implementation, which
 * defines what is right, in src/devices/reference.ts.
 */
export interface Op<Inputs> {
  readonly name: string;
  /** Uploads the inputs and records the op. */
  run(runtime: Runtime, inputs: Inputs): Tensor;
  /**
   * How far each output may be from the exact one: float32 arithmetic, with sums in any order. First order in U, from
   * the standard model (Higham 2002, sections 2.2, 3.1), by which a sum of n products errs by at most `n U sum |a b|`.
   */
  bound(inputs: Inputs): Float64Array;
  /** Inputs that a device must compute rightly when it starts: few, small and hard. Tests have many more (test/opCases.ts). */
  readonly selfTest: Readonly<Record<string, () => Inputs>>;
}

/** Runs one op as a program of its own and reads the result. */
export const runOp = (runtime: Runtime, op: Op<unknown>, inputs: unknown): Promise<Float32Array> =>
  runtime.read(op.run(runtime, inputs));

export const tensor = (shape: number[], data: Float32Array): Float32Tensor => ({ dtype: 'F32', shape, data });

/** Uniform numbers in [0, 1), the same on every machine for a seed: mulberry32 (Tommy Ettinger, public domain). */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A tensor of normal numbers (Box & Muller 1958) with standard deviation `size` around `mean`. */
export function normal(shape: number[], seed: number, size = 1, mean = 0): Float32Tensor {
  const next = uniform(seed);
  const count = shape.reduce((product, n) => product * n, 1);
  const data = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    data[i] = mean + size * (Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()));
  }
  return tensor(shape, data);
}

/** A tensor whose elements all have one value. */
export const constant = (shape: number[], value: number): Float32Tensor =>
  tensor(shape, new Float32Array(shape.reduce((product, n) => product * n, 1)).fill(value));
