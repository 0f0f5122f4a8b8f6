/** The GPU's quantizer, in integers because no GPU divides as IEEE 754 asks: equal to the CPU's, bit for bit. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { uniform } from '../kernels/op.ts';
import { chooseScale } from '../src/quantize.ts';
import { gpuClasses, useGpu } from './gpu.ts';
import { ROOT } from './support.ts';

const { started } = useGpu();

/** Runs chooseQuantizer of int8.wgsl on pairs of numbers. */
async function quantizers(pairs: Float32Array<ArrayBuffer>) {
  const device = started().gpuDevice;
  const kernel = `@group(0) @binding(4) var<storage, read> pairs: array<vec2f>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) at: vec3u) {
      let q = chooseQuantizer(pairs[at.x].x, pairs[at.x].y);
      y[at.x] = vec4u(bitcast<u32>(q.scale), bitcast<u32>(q.inverse), u32(q.zeroPoint + 64), 0u);
    }`;
  const files = ['common.wgsl', 'int8.wgsl'].map((name) => readFileSync(join(ROOT, 'kernels', name), 'utf8'));
  const module = device.createShaderModule({ code: [...files, kernel].join('\n') });
  const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main' } });
  const make = (size: number, usage: number) => device.createBuffer({ size, usage });
  const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = gpuClasses.GPUBufferUsage;
  const input = make(pairs.byteLength, STORAGE | COPY_DST);
  const output = make(pairs.byteLength * 2, STORAGE | COPY_SRC);
  const staging = make(pairs.byteLength * 2, MAP_READ | COPY_DST);
  device.queue.writeBuffer(input, 0, pairs);
  const entries = [output, input].map((buffer, i) => ({ binding: 3 + i, resource: { buffer } }));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(pairs.length / 128);
  pass.end();
  encoder.copyBufferToBuffer(output, 0, staging, 0, output.size);
  device.queue.submit([encoder.finish()]);
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
