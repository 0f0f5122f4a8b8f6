/** What the op table knows of an op, and the helpers that its entries share. */
import type { HostTensor, Runtime, Tensor } from '../src/runtime.ts';

/** Unit roundoff of float32: one operation errs by at most `|result| * U`. */
export const U = 2 ** -24;

export type Float32Tensor = HostTensor<Float32Array>;

/** An op of `Runtime`. Its reference is `devices/reference.ts`; its formula is in the file that defines the entry. */
export interface Op<Inputs> {
  readonly name: string;
  /** Records it, uploading its inputs. */
  run(runtime: Runtime, inputs: Inputs): Tensor;
  /**
   * How far each output may be from the exact one, for float32 arithmetic in any order of summation. First order in U,
   * from the standard model (Higham 2002, sections 2.2, 3.1): a sum of n products errs by `n U sum |a b|`.
   */
  bound(inputs: Inputs): Float64Array;
  /** Hard inputs by name: sizes that fill no tile, extreme values. */
  readonly cases: Readonly<Record<string, () => Inputs>>;
}

/** Runs an op and reads what it makes. */
export const runOp = (runtime: Runtime, op: Op<unknown>, inputs: unknown): Promise<Float32Array> =>
  runtime.read(op.run(runtime, inputs));

export const tensor = (shape: number[], data: Float32Array): Float32Tensor => ({ dtype: 'F32', shape, data });

/** Uniform numbers in [0, 1), the same for a seed everywhere: mulberry32 (Tommy Ettinger, public domain). */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A tensor of normal numbers (Box & Muller 1958) of standard deviation `size` around `mean`. */
export function normal(shape: number[], seed: number, size = 1, mean = 0): Float32Tensor {
  const next = uniform(seed);
  const count = shape.reduce((product, n) => product * n, 1);
  const draw = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
  return tensor(
    shape,
    Float32Array.from({ length: count }, () => mean + size * draw()),
  );
}

/** A tensor of one value. */
export const constant = (shape: number[], value: number): Float32Tensor =>
  tensor(shape, new Float32Array(shape.reduce((product, n) => product * n, 1)).fill(value));
