/** Inputs that ops.ts has every engine compute, and the check of their results. */
import { normal } from '../../kernels/op.ts';

/** Matrices of SIZE x SIZE; each op CHAIN times in a row, so that what it takes to hand numbers in and out counts little. */
export const [SIZE, CHAIN] = [512, 8];
/** x, and a factor that leaves x's size as it is. */
export const x = normal([SIZE, SIZE], 1).data;
export const factor = normal([SIZE, SIZE], 2, 1 / Math.sqrt(SIZE)).data;

const OPS: Record<string, (from: Float64Array) => Float64Array> = {
  matmul(from) {
    const y = new Float64Array(SIZE * SIZE);
    for (let row = 0; row < SIZE; row++) {
      for (let k = 0; k < SIZE; k++) {
        const value = from[row * SIZE + k]!;
        for (let n = 0; n < SIZE; n++) y[row * SIZE + n]! += value * factor[k * SIZE + n]!;
      }
    }
    return y;
  },
  softmax(from) {
    const y = from.map(Math.exp); // of numbers below 6
    for (let at = 0; at < y.length; at += SIZE) {
      const row = y.subarray(at, at + SIZE);
      const sum = row.reduce((a, b) => a + b);
      row.set(row.map((value) => value / sum));
    }
    return y;
  },
  add: (from) => from.map((value, i) => value + factor[i]!),
};
export type OpName = 'matmul' | 'softmax' | 'add';
export const NAMES = Object.keys(OPS) as OpName[];

/** @throws Error where a result is not that of float64, but for the rounding of float32 */
export function verify(engine: string, op: OpName, got: Float32Array): void {
  let want = Float64Array.from(x);
  for (let i = 0; i < CHAIN; i++) want = OPS[op]!(want) as Float64Array<ArrayBuffer>;
  const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const wrong = want.findIndex((value, i) => !(Math.abs(got[i]! - value) <= 1e-5 * largest));
  if (wrong >= 0) throw new Error(`${engine}, ${op}: expected ${want[wrong]} at ${wrong}, got ${got[wrong]}`);
}
