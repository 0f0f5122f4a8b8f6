/** One GPU device for the tests of a file, and backends over it with every set of kernels. */
import { afterAll, beforeAll } from 'vitest';
import { globals } from 'webgpu';
import { type StartedWebgpu, startWebgpu } from '../src/backends/startWebgpu.ts';
import { WebgpuBackend } from '../src/backends/webgpu.ts';
import type { GpuChoice } from '../src/backends/webgpuPlan.ts';

/** WebGPU's classes and flags, which Node has no globals for. */
export const gpuClasses = globals as unknown as typeof globalThis;

export const DIRECT: GpuChoice = { product: 'direct', groups: 1, int8: 'packed', workgroups: 1 };
export const TILED: GpuChoice = { ...DIRECT, product: 'tiled' };

/** Opens a device before the tests of a file, and closes it after them; a pipeline is compiled once for all of them. */
export function useGpu() {
  let started: StartedWebgpu;
  const backends = new Map<string, WebgpuBackend>();
  beforeAll(async () => {
    started = await startWebgpu({ choice: { int8: 'packed' } }); // no adapter is a failure here, not a skip
    console.log(`WebGPU adapter: ${started.backend.adapter}; ${started.kernels}`);
  }, 180_000);
  afterAll(() => started.backend.dispose());
  return {
    started: () => started,
    /** The backend with these kernels. */
    backend(choice: GpuChoice): WebgpuBackend {
      const key = JSON.stringify(choice);
      if (!backends.has(key)) backends.set(key, new WebgpuBackend(started.device, started.backend.adapter, choice));
      return backends.get(key)!;
    },
  };
}
