/** The runtime on the GPU, on a software adapter: values, refusals, random programs. */
import { describe, expect, test } from 'vitest';
import { constant, normal } from '../../kernels/op.ts';
import type { WebgpuDevice } from '../../src/devices/webgpu/device.ts';
import { quantizeWeight } from '../../src/quantize.ts';
import { Runtime } from '../../src/runtime.ts';
import { DIRECT, useGpu } from '../gpu.ts';
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
