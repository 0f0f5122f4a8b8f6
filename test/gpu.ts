/** One GPU device for the tests of a file, and counts of what is called on it. */
import { afterAll, beforeAll } from 'vitest';
import { globals } from 'webgpu';
import { startWebgpu } from '../src/devices/webgpu/start.ts';

/** WebGPU's classes and flags, which Node has no globals for. */
export const gpuClasses = globals as unknown as typeof globalThis;

/**
 * From here on every model and runtime of this process has one and the same GPU device, which compiles each kernel once:
 * SwiftShader takes a second for some.
 */
export function shareGpuDevice(): void {
  const { prototype } = gpuClasses.GPUAdapter;
  const { requestDevice } = prototype;
  const { createComputePipelineAsync } = gpuClasses.GPUDevice.prototype;
  const pipelines: Record<string, Promise<GPUComputePipeline>> = {};
  let shared: Promise<GPUDevice> | undefined;
  prototype.requestDevice = function (descriptor) {
    shared ??= requestDevice.call(this, descriptor).then((device) =>
      Object.assign(device, {
        destroy() {},
        createComputePipelineAsync(pipeline: GPUComputePipelineDescriptor) {
          pipelines[pipeline.label!] ??= createComputePipelineAsync.call(device, pipeline);
          return pipelines[pipeline.label!];
        },
      }),
    );
    return shared;
  };
}

/** Starts the device. Returns it with the GPUDevice that it keeps to itself. */
export async function startWithGpuDevice(options: Parameters<typeof startWebgpu>[0] = {}) {
  const { prototype } = gpuClasses.GPUAdapter;
  const { requestDevice } = prototype;
  let gpuDevice: GPUDevice | undefined;
  prototype.requestDevice = async function (descriptor) {
    gpuDevice = await requestDevice.call(this, descriptor);
    return gpuDevice;
  };
  try {
    const started = await startWebgpu(options);
    return { ...started, gpuDevice: gpuDevice! };
  } finally {
    prototype.requestDevice = requestDevice;
  }
}

/** Opens a device before the tests of a file, and closes it after them. */
export function useGpu() {
  let started: Awaited<ReturnType<typeof startWithGpuDevice>>;
  beforeAll(async () => {
    started = await startWithGpuDevice(); // no adapter is a failure here, not a skip
    console.log(`WebGPU adapter: ${started.device.adapter}; ${started.kernels}`);
  });
  afterAll(() => started.device.dispose());
  return { started: () => started, device: () => started.device };
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
