/** The runtime on the GPU, on a software adapter: values, refusals, random programs. */
import { afterEach, describe, expect, test } from 'vitest';
import { constant, normal } from '../../kernels/op.ts';
import { ReferenceDevice } from '../../src/devices/reference.ts';
import type { WebgpuDevice } from '../../src/devices/webgpu/device.ts';
import { quantizeWeight } from '../../src/quantize.ts';
import { Runtime, type Scheme, type Tensor } from '../../src/runtime.ts';
import { gpuCalls, gpuClasses, useGpu } from '../gpu.ts';
import { expectError, largestDifference } from '../support.ts';
import { compareRandomPrograms, PROGRAMS, runtimeTests } from '../tensorPrograms.ts';

const { device } = useGpu();

describe('values and refusals', () =>
  runtimeTests(
    () => device(),
    (used) => (used as WebgpuDevice).clear(),
  ));

test(`${30 * PROGRAMS} random programs agree with the reference`, async () => {
  let worst = 0;
  for (let seed = 0; seed < 30 * PROGRAMS; seed++) {
    worst = Math.max(worst, await compareRandomPrograms(device(), [seed], true));
    device().clear();
  }
  console.log(`${30 * PROGRAMS} programs on ${device().adapter}: at most ${worst} apart`);
}, 3_600_000);

describe('one program of steps that differ', () => {
  const [uploaded, table] = [normal([3, 8], 3), normal([5, 8], 4)];
  /** Tensors that share no size and no arithmetic, some of them from the same input. */
  const tensors = (rt: Runtime) => {
    const [x, large] = [rt.tensor(uploaded), rt.tensor(normal([70, 8], 2))];
    const float = rt.linearLayer(normal([4, 8], 1), constant([4], 0));
    const int8 = (scheme: Scheme, out: number) =>
      rt.linearLayer(quantizeWeight(normal([out, 8], out), scheme), constant([out], 0));
    const [word, position, type] = [rt.tensor(table), rt.tensor(normal([9, 8], 5)), rt.tensor(normal([2, 8], 6))];
    const embed = (...ids: number[]) =>
      rt.embedding(Int32Array.from(ids), new Int32Array(ids.length), { word, position, type });
    const norm = { gamma: rt.tensor(constant([8], 1)), beta: rt.tensor(constant([8], 0)) };
    const normed = rt.layerNorm(large, null, norm, 1e-5);
    return [
      rt.linear(x, float),
      rt.linear(large, float),
      rt.linear(embed(1, 4, 0, 2), int8('accurate', 6)),
      rt.linear(embed(3), float),
      rt.linear(x, int8('torch', 5)),
      rt.linear(x, int8('accurate', 7)),
      rt.linear(normed, int8('accurate', 9)),
      rt.linear(normed, int8('torch', 10)),
      rt.linear(normed, float),
      x,
    ];
  };
  test('other numbers of rows, two embeddings, float and both kinds of int8: as each alone, and as the reference', async () => {
    const mine = tensors(new Runtime(device()));
    const theirs = tensors(new Runtime(new ReferenceDevice()));
    const together = await mine[0]!.runtime.readAll(mine);
    for (const [i, values] of together.entries()) {
      expect(values, `tensor ${i}`).toEqual(await mine[i]!.runtime.read(mine[i]!));
      expect(largestDifference(values, await theirs[i]!.runtime.read(theirs[i]!)), `tensor ${i}`).toBeLessThan(1e-5);
    }
    device().clear();
  });
  test('a range is recorded by the kernel that makes a tensor; a second one, and that of an upload, by one more dispatch', async () => {
    const rt = new Runtime(device());
    const layer = (scheme: Scheme) => rt.linearLayer(quantizeWeight(normal([8, 8], 1), scheme), constant([8], 0));
    const [torch, accurate] = [layer('torch'), layer('accurate')];
    const x = rt.tensor(normal([3, 8], 2));
    const dispatches = async (...tensors: Tensor[]) =>
      (await gpuCalls(() => rt.readAll(tensors))).dispatchWorkgroups ?? 0;
    const y = rt.linear(x, torch);
    expect(await dispatches(y)).toBe(2);
    expect(await dispatches(rt.linear(x, torch), rt.linear(x, torch))).toBe(3);
    expect(await dispatches(rt.linear(y, torch), rt.linear(y, torch))).toBe(4);
    expect(await dispatches(rt.linear(y, torch), rt.linear(y, accurate))).toBe(5);
    device().clear();
  });
});

describe('memory', () => {
  /** Reads of programs that differ in their steps: linears in a row, as many as asked for. */
  const programs = () => {
    const rt = new Runtime(device());
    const layer = rt.linearLayer(normal([8, 8], 1), constant([8], 0));
    const x = rt.tensor(normal([3, 8], 2));
    return (linears: number) => {
      let y = x;
      for (let i = 0; i < linears; i++) y = rt.linear(y, layer);
      return rt.read(y);
    };
  };
  const created = async (run: () => Promise<unknown>) => (await gpuCalls(run)).createBuffer ?? 0;

  test('programs by turns create GPU objects only in the first round', async () => {
    const read = programs();
    const first: Float32Array[] = [];
    for (const linears of [1, 2, 3, 4, 5]) first.push(await read(linears));
    const { bytes } = device();
    for (const linears of [1, 2, 3, 4, 5, 4, 2]) {
      const calls = await gpuCalls(async () => expect(await read(linears)).toEqual(first[linears - 1]));
      expect(calls).toEqual({ submit: 1, mapAsync: 1, beginComputePass: 1, dispatchWorkgroups: linears });
    }
    expect(device().bytes).toBe(bytes);
    device().clear();
    expect(device().bytes).toBe(0);
  });
  test('all programs share their buffers: a longer program of the same sizes needs no more for its tensors', async () => {
    const read = programs();
    await read(3);
    const { bytes } = device();
    for (const linears of [10, 1, 7]) await read(linears);
    expect(device().bytes - bytes).toBeLessThan(10_000); // the steps of ten dispatches
    device().clear();
  });
  test('inputs of other lengths: what a longer one has made serves the shorter', async () => {
    const rt = new Runtime(device());
    const layer = rt.linearLayer(normal([8, 8], 1), constant([8], 0));
    const inputs = [300, 3, 100, 299].map((rows) => rt.tensor(normal([rows, 8], 2)));
    const readAll = async () => {
      for (const x of inputs) await rt.read(rt.linear(rt.linear(x, layer), layer));
    };
    await rt.read(rt.linear(rt.linear(inputs[0]!, layer), layer));
    expect(await created(readAll)).toBe(0);
    expect((await gpuCalls(readAll)).createBindGroup ?? 0).toBe(0);
    device().clear();
  });
  test('a loop of uploads that are freed: no more memory, and what other programs have stays', async () => {
    const read = programs();
    const first = await read(3);
    const rt = new Runtime(device());
    const layer = rt.linearLayer(normal([8, 8], 1), constant([8], 0));
    const one = async (rows: number) => {
      const x = rt.tensor(normal([rows, 8], 2));
      expect((await rt.read(rt.linear(x, layer))).length).toBe(8 * rows);
      x.dispose();
    };
    for (const rows of [90, 3]) await one(rows);
    const { bytes } = device();
    for (let i = 0; i < 50; i++) await one(1 + ((i * 37) % 90));
    expect(device().bytes).toBe(bytes);
    const calls = await gpuCalls(async () => expect(await read(3)).toEqual(first));
    expect(calls).toEqual({ submit: 1, mapAsync: 1, beginComputePass: 1, dispatchWorkgroups: 3 });
    device().clear();
  });
  test('a tensor that is read several times, by one op, by later ones or as a result, keeps its buffer', async () => {
    const run = async (rt: Runtime) => {
      const norm = { gamma: rt.tensor(constant([8], 1)), beta: rt.tensor(constant([8], 0)) };
      const layer = rt.linearLayer(normal([8, 8], 1), constant([8], 0));
      const first = rt.linear(rt.tensor(normal([5, 8], 2)), layer);
      const doubled = rt.layerNorm(first, first, norm, 1e-5);
      const again = rt.linear(doubled, layer);
      let last = rt.layerNorm(again, again, norm, 1e-5); // read twice, and no result: one buffer becomes free
      last = rt.layerNorm(rt.linear(last, layer), rt.layerNorm(last, doubled, norm, 1e-5), norm, 1e-5);
      for (let i = 0; i < 4; i++) last = rt.layerNorm(rt.linear(last, layer), doubled, norm, 1e-5);
      return rt.read(last, first, last); // `doubled` is none, and is read five times
    };
    const [mine, theirs] = [await run(new Runtime(device())), await run(new Runtime(new ReferenceDevice()))];
    for (const [i, values] of mine.entries()) expect(largestDifference(values, theirs[i]!)).toBeLessThan(1e-4);
    device().clear();
  });

  describe('none is left', () => {
    const prototype = gpuClasses.GPUDevice.prototype;
    const { createBuffer, popErrorScope } = prototype;
    afterEach(() => Object.assign(prototype, { createBuffer, popErrorScope }));
    test.each([
      [
        'thrown',
        /got no memory for \d+ bytes of a program's buffers \(no memory\)\. Use `cpu`\.$/,
        {
          createBuffer() {
            throw new RangeError('no memory');
          },
        },
      ],
      [
        'reported later',
        /got no memory for a program's buffers \(no memory\)\. Use `cpu`\.$/,
        {
          async popErrorScope(this: GPUDevice) {
            await popErrorScope.call(this);
            return { message: 'no memory' };
          },
        },
      ],
    ])('%s: an error that says so; the device goes on', async (_, message, failing) => {
      const read = programs();
      const one = await read(1);
      Object.assign(prototype, failing);
      await expectError('device', message, () => read(2));
      Object.assign(prototype, { createBuffer, popErrorScope });
      expect(await read(1)).toEqual(one);
      expect((await read(2)).length).toBe(24);
      device().clear();
      expect(device().bytes).toBe(0);
    });
  });
});
