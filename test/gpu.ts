/** One GPU device for the tests of a file, and devices of ours over it, with every set of kernels. */
import { afterAll, beforeAll } from 'vitest';
import { globals } from 'webgpu';
import { WebgpuDevice } from '../src/devices/webgpu/device.ts';
import type { GpuChoice } from '../src/devices/webgpu/plan.ts';
import { type StartedWebgpu, startWebgpu } from '../src/devices/webgpu/start.ts';

/** WebGPU's classes and flags, which Node has no globals for. */
export const gpuClasses = globals as unknown as typeof globalThis;

export const DIRECT: GpuChoice = { product: 'direct', int8: 'packed' };
export const TILED: GpuChoice = { ...DIRECT, product: 'tiled' };

/** Opens a device with these kernels before the tests of a file, and closes it after them; a pipeline is compiled once for all of them. */
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
