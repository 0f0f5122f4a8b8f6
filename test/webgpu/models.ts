/** Whole models of seeded weights on the GPU, on a software adapter: right at any length, and what a forward costs. */
import { describe, expect, test } from 'vitest';
import { forwardOf, randomIds, randomWeights } from '../../bench/model.ts';
import { Bert, type BertConfig, type Weights } from '../../src/bert.ts';
import type { Precision } from '../../src/checkpoint/index.ts';
import { ReferenceDevice } from '../../src/devices/reference.ts';
import { widenHalves } from '../../src/float16.ts';
import { type Device, Runtime } from '../../src/runtime.ts';
import { gpuCalls, useGpu } from '../gpu.ts';
import { largestDifference } from '../support.ts';

const { device } = useGpu();

const SMALL: BertConfig = {
  ...{ vocab: 500, positions: 70, types: 2, hidden: 128, layers: 2, heads: 2, intermediate: 256, eps: 1e-12 },
};
/** Logits of seeded weights; fp16's are rounded for the reference, which computes with the same numbers in float32. */
function forward(on: Device, config: BertConfig, precision: Precision) {
  const weights = randomWeights(config, precision, 0.2); // large, so that attention is far from even
  const isHalf = (name: string) => weights.describe(name).dtype === 'F16';
  const widened: Weights = {
    describe: (name) => (isHalf(name) ? { ...weights.describe(name), dtype: 'F32' } : weights.describe(name)),
    fill: (name, target, scale) => {
      if (!isHalf(name)) return weights.fill(name, target, scale);
      const halves = new Uint16Array(target.length);
      weights.fill(name, halves);
      target.set(widenHalves(halves));
    },
  };
  return forwardOf(on, config, on instanceof ReferenceDevice ? widened : weights);
}

describe('whole models of seeded weights', () => {
  const reference = new ReferenceDevice();
  test.each(['fp32', 'torch', 'fp16', 'accurate'] as const)(
    '%s: near the reference, at any length and in any order',
    async (precision) => {
      const [gpu, exact] = [forward(device(), SMALL, precision), forward(reference, SMALL, precision)];
      const lengths = [70, 1, 33];
      const first = new Map<number, Float32Array>();
      for (const tokens of lengths) first.set(tokens, await gpu(tokens));
      for (const tokens of lengths.toReversed()) {
        expect(await gpu(tokens), 'the same input gives the same bits, whatever came before').toEqual(
          first.get(tokens),
        );
      }
      for (const tokens of lengths) {
        // int8: a value that one last bit moves to the next step changes logits by what such a step is worth.
        const most = precision === 'fp32' || precision === 'fp16' ? 2e-4 : 0.1;
        expect(largestDifference(first.get(tokens)!, await exact(tokens))).toBeLessThan(most);
      }
      device().clear();
    },
  );
});

describe('what a forward costs', () => {
  const twelve: BertConfig = { ...SMALL, layers: 12, positions: 64 };
  test.each([
    ['torch', 12],
    ['fp16', 2],
    ['fp32', 2],
  ] as const)(
    '%s, %d layers: 3 dispatches and 7 for each layer (87 for 12), one submit, one readback',
    async (precision, layers) => {
      const gpu = forward(device(), { ...twelve, layers }, precision);
      const first = await gpuCalls(() => gpu(20));
      expect(first.createBindGroup).toBeGreaterThan(6 * layers);
      for (const tokens of [20, 7, 64]) {
        const want = { submit: 1, mapAsync: 1, beginComputePass: 1, dispatchWorkgroups: 3 + 7 * layers };
        expect(await gpuCalls(() => gpu(tokens))).toEqual(want); // no buffer, bind group or pipeline
      }
      device().clear();
    },
  );
  test.each([
    ['torch', 4],
    ['accurate', 2],
    ['fp32', 2],
  ] as const)(
    '%s, %d layers: a batch of 32 sequences costs as many dispatches as one, and has the bits of each alone',
    async (precision, layers) => {
      const narrow = { ...twelve, layers, hidden: 32, intermediate: 64 };
      const bert = new Bert(new Runtime(device()), narrow, randomWeights(narrow, precision, 0.2));
      const ids = Array.from({ length: 32 }, (_, i) => randomIds(1 + ((i * 7) % 12), narrow));
      const typeIds = ids.map((all) => new Int32Array(all.length));
      let [batch, eight]: Float32Array[][] = [];
      const want = { submit: 1, mapAsync: 1, beginComputePass: 1, dispatchWorkgroups: 3 + 7 * layers };
      const first = await gpuCalls(async () => {
        batch = await bert.forwardBatch(ids, typeIds);
      });
      expect(first).toMatchObject(want);
      const readEight = async () => {
        eight = await bert.forwardBatch(ids.slice(0, 8), typeIds.slice(0, 8));
      };
      expect(
        (await gpuCalls(readEight)).createBuffer,
        'a smaller batch has room where a larger one had',
      ).toBeUndefined();
      expect(await gpuCalls(readEight)).toEqual(want); // no buffer, bind group or pipeline any more
      expect(eight).toEqual(batch!.slice(0, 8));
      for (const i of [0, 5, 31]) expect(await bert.forward(ids[i]!, typeIds[i]!)).toEqual(batch![i]);
      device().clear();
    },
  );
  test('forwards of mixed lengths leave GPU bytes and RSS as they were', async () => {
    const on = device();
    const gpu = forward(on, { ...SMALL, hidden: 32, intermediate: 64 }, 'torch');
    for (let i = 0; i < 10; i++) await gpu(1 + ((i * 37) % 60));
    const [bytes, rss] = [on.bytes, process.memoryUsage().rss];
    for (let i = 0; i < 40; i++) await gpu(1 + ((i * 37) % 60));
    const grown = (process.memoryUsage().rss - rss) / 2 ** 20;
    console.log(`40 forwards of 1 to 60 tokens: RSS grew by ${grown.toFixed(1)} MB, GPU bytes by ${on.bytes - bytes}`);
    expect(on.bytes).toBe(bytes);
    expect(grown).toBeLessThan(12);
    on.clear();
    expect(on.bytes).toBe(0);
  });
});
