/** The GPU's kernels with the direct product, each op against the reference, on a software adapter; and what they refuse. */
import { describe, expect, test } from 'vitest';
import { constant, normal, tensor } from '../kernels/op.ts';
import { ReferenceDevice } from '../src/backends/reference.ts';
import { quantizeWeight } from '../src/quantize.ts';
import { type Device, Runtime } from '../src/runtime.ts';
import { DIRECT, useGpu } from './gpu.ts';
import {
  ACCUMULATOR_SIZES,
  expectError,
  GPU_CASES,
  LINEAR_CASES,
  largestDifference,
  shareOfBound,
  wrongAccumulators,
} from './support.ts';

const { device, started } = useGpu();

/** Only linears depend on the product, and only their int8 form on whether it is packed. */
const CHOICES = [
  ['direct, packed', DIRECT, GPU_CASES],
  ['direct, float', { ...DIRECT, int8: 'float' }, LINEAR_CASES.filter(([op]) => op === 'linearInt8')],
] as const;

describe.each(CHOICES)('%s', (_, choice, cases) => {
  test.each(cases)('%s, %s: within its bound of the reference', async (_, key, op) => {
    expect(await shareOfBound(device(choice), key, op)).toBeLessThanOrEqual(1);
    device(choice).clear();
  });
  test.each(ACCUMULATOR_SIZES)(
    '%d tokens, %d features, %d outputs: accumulators equal exact sums',
    async (...sizes) => {
      expect(await wrongAccumulators(device(choice), ...sizes)).toBe(0);
      device(choice).clear();
    },
  );
});

test('rows beyond the last do not widen the range of those that are quantized', async () => {
  // Every token looks at the first one, whose value is 1; a row of padding would look at all, whose values are -5.
  const qkv = Float32Array.from({ length: 17 * 12 }, (_, i) => {
    const [token, part] = [Math.floor(i / 12), Math.floor((i % 12) / 4)];
    return [20, token === 0 ? 20 : -20, token === 0 ? 1 : -5][part]!;
  });
  const weight = quantizeWeight(normal([8, 4], 1), 'torch');
  const run = async (on: Device) => {
    const rt = new Runtime(on);
    const mixed = rt.attention(rt.tensor(tensor([17, 12], qkv)), 1);
    return rt.read(rt.linear(mixed, rt.linearLayer(weight, constant([8], 0))));
  };
  const on = device(DIRECT);
  expect(largestDifference(await run(on), await run(new ReferenceDevice()))).toBeLessThan(1e-6);
  on.clear();
});

describe('limits', () => {
  const runtime = () => new Runtime(device(DIRECT));
  const zeros = (rt: Runtime, ...shape: number[]) => rt.tensor(constant(shape, 0));
  test('layerNorm of more than 1024 columns', () =>
    expectError('input', /webgpu: layerNorm: expected at most 1024 columns, got 1028. Use `cpu`/, () => {
      const rt = runtime();
      const gamma = zeros(rt, 1028);
      return rt.read(rt.layerNorm(zeros(rt, 1, 1028), null, { gamma, beta: gamma }, 1e-12));
    }));
  test('heads of more than 64', () =>
    expectError('input', /webgpu: attention: expected headDim a multiple of 4, at most 64, got 68/, () => {
      const rt = runtime();
      return rt.read(rt.attention(zeros(rt, 1, 3 * 68), 1));
    }));
  test('a tensor beyond the largest binding', () => {
    const { limits } = started().gpuDevice;
    const most = Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize);
    const data = { length: most / 4 + 1, BYTES_PER_ELEMENT: 4 } as Float32Array;
    return expectError('device', new RegExp(`^webgpu, .*software.*limit of ${most} bytes`), () =>
      runtime().tensor({ shape: [most / 4 + 1, 1], data }),
    );
  });
});
