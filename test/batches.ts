/** Tests of batches that every device must pass: each sequence has the bits that it has alone. */
import { expect, test } from 'vitest';
import { randomWeights } from '../bench/model.ts';
import { constant, normal, uniform } from '../kernels/op.ts';
import { Bert, type BertConfig } from '../src/bert.ts';
import type { Precision } from '../src/checkpoint/index.ts';
import { quantizeWeight } from '../src/quantize.ts';
import { type Device, Runtime } from '../src/runtime.ts';

export const SMALL: BertConfig = {
  ...{ vocab: 300, positions: 64, types: 2, hidden: 48, layers: 2, heads: 3, intermediate: 80, eps: 1e-12 },
};
/** Sequences of these lengths, of random ids. */
function sequences(lengths: readonly number[], { vocab }: BertConfig) {
  const next = uniform(lengths.length);
  const ids = lengths.map((tokens) => Int32Array.from({ length: tokens }, () => Math.floor(next() * vocab)));
  return { ids, typeIds: ids.map((all) => all.map((_, i) => (2 * i < all.length ? 0 : 1))) };
}

/** Lengths that begin and end anywhere in a tile, a chunk or a workgroup. */
const LENGTHS = [17, 1, 33, 5, 64, 2, 16, 31];

export function batchTests(
  device: () => Promise<Device>,
  precisions: readonly Precision[] = ['fp32', 'torch', 'accurate'],
) {
  test.each(precisions)('%s: a batch of 1 and of 8 sequences: the bits of each alone', async (precision) => {
    const bert = new Bert(new Runtime(await device()), SMALL, randomWeights(SMALL, precision, 0.2));
    const { ids, typeIds } = sequences(LENGTHS, SMALL);
    const alone: Float32Array[] = [];
    for (const [i, one] of ids.entries()) alone.push(await bert.forward(one, typeIds[i]!));
    expect(await bert.forwardBatch(ids.slice(0, 1), typeIds.slice(0, 1))).toEqual(alone.slice(0, 1));
    expect(await bert.forwardBatch(ids, typeIds)).toEqual(alone);
    expect(await bert.forwardBatch(ids.toReversed(), typeIds.toReversed())).toEqual(alone.toReversed());
    expect(alone[0]).not.toEqual(alone[6]!.subarray(0, 2));
  });
  test('an uploaded batch: attention stays within a sequence', async () => {
    const runtime = new Runtime(await device());
    const qkv = normal([40, 3 * 16], 3);
    const lengths = [7, 20, 13];
    const whole = await runtime.read(runtime.attention(runtime.tensor(qkv, lengths), 2));
    let first = 0;
    for (const tokens of lengths) {
      const data = qkv.data.slice(first * 48, (first + tokens) * 48);
      const alone = await runtime.read(runtime.attention(runtime.tensor({ shape: [tokens, 48], data }), 2));
      expect(whole.slice(first * 16, (first + tokens) * 16)).toEqual(alone);
      first += tokens;
    }
  });
  test('a NaN in one sequence leaves the others as they are', async () => {
    const runtime = new Runtime(await device());
    const weight = quantizeWeight(normal([8, 16], 4), 'torch');
    const [float, int8] = [normal([8, 16], 5), weight].map((each) => runtime.linearLayer(each, constant([8], 0)));
    const run = (lengths: number[], data: Float32Array) => {
      const qkv = runtime.tensor({ shape: [data.length / 48, 48], data }, lengths);
      const mixed = runtime.attention(qkv, 2);
      return runtime.readAll([mixed, runtime.linear(mixed, float!, 'gelu'), runtime.linear(mixed, int8!)]);
    };
    const { data } = normal([20, 48], 3);
    const alone = await run([5], data.slice(0, 5 * 48));
    data.fill(Number.NaN, 5 * 48);
    const both = await run([5, 15], data);
    for (const [i, values] of alone.entries()) {
      expect(both[i]!.slice(0, values.length)).toEqual(values);
      expect(both[i]!.slice(values.length).every(Number.isNaN)).toBe(true);
    }
  });
}
