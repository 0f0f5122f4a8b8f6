/** The runtime on the GPU, on a software adapter: values, refusals, random programs. */
import { afterEach, describe, expect, test } from 'vitest';
import { constant, normal } from '../../kernels/op.ts';
import type { WebgpuDevice } from '../../src/devices/webgpu/device.ts';
import { quantizeWeight } from '../../src/quantize.ts';
import { Runtime, type Tensor } from '../../src/runtime.ts';
import { DIRECT, gpuCalls, gpuClasses, useGpu } from '../gpu.ts';
import { expectError } from '../support.ts';
import { compareRandomPrograms, runtimeTests } from '../tensorPrograms.ts';

const { device } = useGpu();

describe('values and refusals', () =>
  runtimeTests(
    () => device(DIRECT),
    (used) => (used as WebgpuDevice).clear(),
  ));

test('30 random programs agree with the reference', async () => {
  await compareRandomPrograms(
    device(DIRECT),
    Array.from({ length: 30 }, (_, i) => i),
    true,
  );
  device(DIRECT).clear();
});

test('a program whose tensors have other numbers of rows, or two embeddings, is refused; the device goes on', async () => {
  const rt = new Runtime(device(DIRECT));
  const layer = rt.linearLayer(normal([4, 8], 1), constant([4], 0));
  const [three, five] = [rt.tensor(normal([3, 8], 1)), rt.tensor(normal([5, 8], 2))].map((x) => rt.linear(x, layer));
  await expectError('input', /^webgpu: program: expected 3 rows in all its ops, got 5\. Read them in programs/, () =>
    rt.read(three!, five!),
  );
  const uploaded = rt.tensor(normal([3, 8], 3));
  const embed = (id: number) =>
    rt.embedding(Int32Array.of(id), Int32Array.of(0), { word: uploaded, position: uploaded, type: uploaded });
  await expectError('input', /^webgpu: program: expected one embedding, got 2\./, () => rt.read(embed(0), embed(1)));
  const int8 = rt.linearLayer(quantizeWeight(normal([8, 8], 4), 'torch'), constant([8], 0));
  const message = /^webgpu: program: expected linears of one arithmetic, got int8 torch and float\. Read them in/;
  await expectError('input', message, () => rt.read(rt.linear(rt.linear(uploaded, int8), layer)));
  expect((await rt.read(three!)).length).toBe(12);
  expect((await rt.read(five!)).length).toBe(20);
  device(DIRECT).clear();
});

describe('plans', () => {
  /** Reads of programs that differ in their steps: linears in a row, as many as asked for. */
  const programs = () => {
    const rt = new Runtime(device(DIRECT));
    const layer = rt.linearLayer(normal([8, 8], 1), constant([8], 0));
    const x = rt.tensor(normal([3, 8], 2));
    return (linears: number) => {
      let y = x;
      for (let i = 0; i < linears; i++) y = rt.linear(y, layer);
      return rt.read(y);
    };
  };
  const created = async (run: () => Promise<unknown>) => (await gpuCalls(run)).createBuffer ?? 0;

  test('four programs by turns create GPU objects only in the first round', async () => {
    const read = programs();
    const first: Float32Array[] = [];
    for (const linears of [1, 2, 3, 4]) first.push(await read(linears));
    const { bytes } = device(DIRECT);
    for (const linears of [1, 2, 3, 4, 4, 2]) {
      const calls = await gpuCalls(async () => expect(await read(linears)).toEqual(first[linears - 1]));
      expect(calls).toEqual({ submit: 1, mapAsync: 1, beginComputePass: 1, dispatchWorkgroups: linears });
    }
    expect(device(DIRECT).bytes).toBe(bytes);
    device(DIRECT).clear();
  });
  test('inputs of other lengths use one plan; one that is too small makes way for a larger one', async () => {
    const rt = new Runtime(device(DIRECT));
    const layer = rt.linearLayer(normal([8, 8], 1), constant([8], 0));
    const read = (x: Tensor) => rt.read(rt.linear(x, layer));
    const [short, long] = [rt.tensor(normal([3, 8], 2)), rt.tensor(normal([100, 8], 3))];
    for (const x of [short, long]) await read(x);
    const again = await created(async () => {
      for (const x of [short, long, short, long]) await read(x);
    });
    expect(again).toBe(0);
    device(DIRECT).clear();
  });
  test('of five programs the one that was not used for longest leaves, and its buffers with it', async () => {
    const read = programs();
    for (const linears of [1, 2, 3, 4]) await read(linears);
    await read(1); // so that 2 is the oldest
    const { bytes } = device(DIRECT);
    expect(await created(() => read(5))).toBeGreaterThan(0);
    expect(device(DIRECT).bytes).toBeLessThan(bytes + 10_000);
    for (const kept of [1, 3, 4, 5]) expect(await created(() => read(kept)), `program ${kept}`).toBe(0);
    expect(await created(() => read(2))).toBeGreaterThan(0);
    device(DIRECT).clear();
    expect(device(DIRECT).bytes).toBe(0);
  });

  describe('without memory for one more', () => {
    const prototype = gpuClasses.GPUDevice.prototype;
    const { createBuffer, popErrorScope } = prototype;
    afterEach(() => Object.assign(prototype, { createBuffer, popErrorScope }));
    /** Lets the next `times` calls of a method fail. */
    const failing = (method: object, times: number) => {
      const [[name, fail]] = Object.entries(method) as [[string, () => unknown]];
      const original = { createBuffer, popErrorScope }[name] as (...args: unknown[]) => unknown;
      const failed = function (this: unknown, ...args: unknown[]) {
        const result = original.apply(this, args);
        return times-- > 0 ? fail() : result;
      };
      Object.assign(prototype, { [name]: failed });
    };
    const none = () => {
      throw new RangeError('no memory');
    };
    const reported = async () => ({ message: 'no memory' });
    test.each([
      ['thrown', { createBuffer: none }],
      ['reported later', { popErrorScope: reported }],
    ])('%s: the other plans are dropped, and it is tried once more', async (_, method) => {
      const read = programs();
      const [one] = [await read(1), await read(2)];
      failing(method, 1);
      expect((await read(3)).length).toBe(24);
      expect(await created(() => read(3))).toBe(0);
      expect(await created(async () => expect(await read(1)).toEqual(one))).toBeGreaterThan(0);
      device(DIRECT).clear();
    });
    test('still none: an error that says so; the device goes on', async () => {
      const read = programs();
      await read(1);
      failing({ popErrorScope: reported }, 2);
      await expectError('device', /got no memory for a program's buffers \(no memory\)\. Use `cpu`\.$/, () => read(2));
      expect((await read(2)).length).toBe(24);
      device(DIRECT).clear();
      expect(device(DIRECT).bytes).toBe(0);
    });
  });
});
