/** One GPU device for the tests of a file, and devices of ours over it, with every set of kernels. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { globals } from 'webgpu';
import { WebgpuDevice } from '../src/devices/webgpu/device.ts';
import type { GpuChoice } from '../src/devices/webgpu/plan.ts';
import { type StartedWebgpu, startWebgpu } from '../src/devices/webgpu/start.ts';
import { ACCUMULATOR_SIZES, type OP_CASES, shareOfBound, wrongAccumulators } from './support.ts';

/** WebGPU's classes and flags, which Node has no globals for. */
export const gpuClasses = globals as unknown as typeof globalThis;

export const DIRECT: GpuChoice = { product: 'direct', int8: 'packed' };
export const TILED: GpuChoice = { ...DIRECT, product: 'tiled' };

/**
 * From here on every model and runtime of this process has one and the same GPU device. Otherwise SwiftShader would
 * compile all kernels again for each of them.
 */
export function shareGpuDevice(): void {
  const { prototype } = gpuClasses.GPUAdapter;
  const { requestDevice } = prototype;
  let shared: Promise<GPUDevice> | undefined;
  prototype.requestDevice = function (descriptor) {
    shared ??= requestDevice.call(this, descriptor).then((device) => Object.assign(device, { destroy() {} }));
    return shared;
  };
}

/**
 * Opens a device with these kernels before the tests of a file, and closes it after them. A pipeline is compiled once for all
 * of them.
 */
export function useGpu(choice: GpuChoice = DIRECT) {
  let started: StartedWebgpu;
  const devices = new Map<string, WebgpuDevice>();
  beforeAll(async () => {
    started = await startWebgpu({ choice }); // no adapter is a failure here, not a skip
    console.log(`WebGPU adapter: ${started.device.adapter}; ${started.kernels}`);
  });
  afterAll(() => started.device.dispose());
  return {
    started: () => started,
    /** The device with these kernels. */
    device(choice: GpuChoice): WebgpuDevice {
      const key = JSON.stringify(choice);
      if (!devices.has(key)) devices.set(key, new WebgpuDevice(started.gpuDevice, started.device.adapter, choice));
      return devices.get(key)!;
    },
  };
}

/** Calls of the GPU objects' methods while something runs. */
export async function gpuCalls(run: () => Promise<unknown>): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  const methods = [
    ...(['createBuffer', 'createBindGroup', 'createComputePipelineAsync', 'createShaderModule'] as const).map(
      (name) => [gpuClasses.GPUDevice.prototype, name] as const,
    ),
    [gpuClasses.GPUQueue.prototype, 'submit'] as const,
    [gpuClasses.GPUBuffer.prototype, 'mapAsync'] as const,
    [gpuClasses.GPUCommandEncoder.prototype, 'beginComputePass'] as const,
    [gpuClasses.GPUComputePassEncoder.prototype, 'dispatchWorkgroups'] as const,
  ];
  const restore = methods.map(([owner, name]) => {
    const prototype = owner as unknown as Record<string, (...args: unknown[]) => unknown>;
    const original = prototype[name]!;
    prototype[name] = function (this: unknown, ...args: unknown[]) {
      counts[name] = (counts[name] ?? 0) + 1;
      return original.apply(this, args);
    };
    return () => Object.assign(prototype, { [name]: original });
  });
  await run();
  for (const undo of restore) undo();
  return counts;
}

/** Tests of kernels: cases of ops against the reference, and accumulators against exact sums. */
export function testKernels(
  device: (choice: GpuChoice) => WebgpuDevice,
  choices: readonly (readonly [name: string, choice: GpuChoice, cases: typeof OP_CASES])[],
): void {
  describe.each(choices)('%s', (_, choice, cases) => {
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
}
