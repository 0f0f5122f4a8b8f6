/** The GPU's kernels, each op against the reference, on a software adapter; and what they refuse. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { constant, normal, tensor, uniform } from '../../kernels/op.ts';
import { ReferenceDevice } from '../../src/devices/reference.ts';
import { chooseScale, quantizeWeight } from '../../src/quantize.ts';
import { type Device, Runtime } from '../../src/runtime.ts';
import { gpuClasses, useGpu } from '../gpu.ts';
import {
  ACCUMULATOR_SIZES,
  expectError,
  largestDifference,
  OP_CASES,
  ROOT,
  shareOfBound,
  wrongAccumulators,
} from '../support.ts';

const { device, started } = useGpu();

describe('kernels', () => {
  test.each(OP_CASES)('%s, %s: within its bound of the reference', async (_, key, op) => {
    expect(await shareOfBound(device(), key, op)).toBeLessThanOrEqual(1);
    device().clear();
  });
  test.each(ACCUMULATOR_SIZES)(
    '%d tokens, %d features, %d outputs: accumulators equal exact sums',
    async (...sizes) => {
      expect(await wrongAccumulators(device(), ...sizes)).toBe(0);
      device().clear();
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
  const on = device();
  expect(largestDifference(await run(on), await run(new ReferenceDevice()))).toBeLessThan(1e-6);
  on.clear();
});

test('matmul: what lies beyond the rows of the second factor does not count', async () => {
  const on = device();
  const rt = new Runtime(on);
  const layer = rt.linearLayer(normal([8, 8], 1), constant([8], 0));
  // An earlier run leaves NaN in the buffers that the second factor gets then.
  await rt.read(rt.linear(rt.linear(rt.tensor(constant([300, 8], Number.NaN)), layer), layer));
  const product = (runtime: Runtime) => {
    const linear = runtime.linearLayer(normal([8, 8], 1), constant([8], 0));
    const second = runtime.linear(runtime.tensor(normal([3, 8], 2)), linear);
    return runtime.read(runtime.matmul(runtime.tensor(normal([5, 3], 3)), second));
  };
  expect(largestDifference(await product(rt), await product(new Runtime(new ReferenceDevice())))).toBeLessThan(1e-5);
  on.clear();
});

describe('limits', () => {
  const runtime = () => new Runtime(device());
  const zeros = (rt: Runtime, ...shape: number[]) => rt.tensor(constant(shape, 0));
  test('heads of 66', () =>
    expectError('input', /webgpu: attention: expected headDim a multiple of 4, got 66\. Use `cpu`/, () => {
      const rt = runtime();
      return rt.read(rt.attention(zeros(rt, 1, 3 * 66), 1));
    }));
  test('more rows than a dispatch has workgroups', () => {
    const message = /^webgpu: layerNorm: expected at most 65535 workgroups in each dimension, got 65536\. Make batches/;
    return expectError('input', message, () => {
      const rt = runtime();
      const gamma = zeros(rt, 1);
      return rt.read(rt.layerNorm(zeros(rt, 65536, 1), null, { gamma, beta: gamma }, 1e-12));
    });
  });
  test('a tensor beyond the largest binding', () => {
    const { limits } = started().gpuDevice;
    const most = Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize);
    const tag = { [Symbol.toStringTag]: 'Float32Array' };
    const data = { length: most / 4 + 1, BYTES_PER_ELEMENT: 4, ...tag } as Float32Array;
    return expectError('device', new RegExp(`^webgpu, .*software.*limit of ${most} bytes`), () =>
      runtime().tensor({ shape: [most / 4 + 1, 1], data }),
    );
  });
});

/** Runs chooseQuantizer of quantizer.wgsl on pairs of numbers. */
async function quantizers(pairs: Float32Array<ArrayBuffer>) {
  const { gpuDevice } = started();
  const kernel = `@group(0) @binding(4) var<storage, read> pairs: array<vec2f>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) at: vec3u) {
      let q = chooseQuantizer(pairs[at.x].x, pairs[at.x].y);
      y[at.x] = vec4u(bitcast<u32>(q.scale), bitcast<u32>(q.inverse), u32(q.zeroPoint + 64), 0u);
    }`;
  const files = ['common.wgsl', 'quantizer.wgsl'].map((name) => readFileSync(join(ROOT, 'kernels', name), 'utf8'));
  const module = gpuDevice.createShaderModule({ code: [...files, kernel].join('\n') });
  const pipeline = await gpuDevice.createComputePipelineAsync({
    layout: 'auto',
    compute: { module, entryPoint: 'main' },
  });
  const make = (size: number, usage: number) => gpuDevice.createBuffer({ size, usage });
  const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = gpuClasses.GPUBufferUsage;
  const input = make(pairs.byteLength, STORAGE | COPY_DST);
  const output = make(pairs.byteLength * 2, STORAGE | COPY_SRC);
  const staging = make(pairs.byteLength * 2, MAP_READ | COPY_DST);
  gpuDevice.queue.writeBuffer(input, 0, pairs);
  const entries = [output, input].map((buffer, i) => ({ binding: 3 + i, resource: { buffer } }));
  const encoder = gpuDevice.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, gpuDevice.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(pairs.length / 128);
  pass.end();
  encoder.copyBufferToBuffer(output, 0, staging, 0, output.size);
  gpuDevice.queue.submit([encoder.finish()]);
  await staging.mapAsync(MAP_READ);
  const bits = new Uint32Array(staging.getMappedRange().slice(0));
  return { floats: new Float32Array(bits.buffer), bits };
}

describe('quantizer', () => {
  const next = uniform(1);
  const exponential = (least: number, most: number) => 2 ** (least + (most - least) * next());
  const ranges: [name: string, make: () => [low: number, high: number]][] = [
    ['of like size', () => [exponential(-3, 3), exponential(-3, 3)]],
    ['lopsided', () => [exponential(-40, 5), exponential(-3, 8)]],
    ['symmetric', () => Array(2).fill(Math.fround(exponential(-10, 10))) as [number, number]],
    ['whole multiples: zero points halfway', () => [Math.floor(next() * 255), Math.floor(next() * 255)]],
    ['one-sided', () => (next() < 0.5 ? [exponential(-5, 5), 0] : [0, exponential(-5, 5)])],
    ['tiny: widened', () => [exponential(-115, -6), exponential(-115, -6)]],
    ['huge', () => [exponential(60, 126), exponential(60, 126)]],
    ['zero or nearly', () => [0, next() < 0.5 ? 0 : exponential(-148, -122)]],
  ];
  test.each(ranges)("%s: scale, its inverse and zero point equal PyTorch's to the bit", async (_, make) => {
    const count = 64 * 256;
    const pairs = Float32Array.from({ length: 2 * count });
    for (let i = 0; i < count; i++) pairs.set(make(), 2 * i);
    const { floats, bits } = await quantizers(pairs);
    const wrong: unknown[] = [];
    for (let i = 0; i < count; i++) {
      const [low, high] = [pairs[2 * i]!, pairs[2 * i + 1]!];
      const { scale, zeroPoint } = chooseScale(-low, high);
      const want = [scale, Math.fround(1 / scale), zeroPoint + 0];
      const got = [floats[4 * i]!, floats[4 * i + 1]!, bits[4 * i + 2]!];
      if (want.some((value, k) => value !== got[k])) wrong.push({ low, high, want, got });
    }
    expect(wrong.slice(0, 3)).toEqual([]);
    expect(wrong.length).toBe(0);
  });
});
