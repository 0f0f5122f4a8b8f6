/** The devices: which there are, which dtypes each one supports, and how each is started. */
import type { Device, DeviceInfo } from '../runtime.ts';
import { startCpu } from './cpu/start.ts';
import { ReferenceDevice } from './reference.ts';
import { startWebgpu } from './webgpu/start.ts';

export type DeviceName = 'webgpu' | 'cpu' | 'reference';
export type Dtype = 'fp32' | 'fp16' | 'int8';

/** What a device is started with; each takes what it knows of. */
export interface DeviceOptions {
  /** cpu: how many threads. Default: one for each core that this process may use. */
  threads?: number | undefined;
  /**
   * cpu in Node: switches on V8's experimental revectorizer, `--experimental-wasm-revectorize`, which makes 256-bit
   * operations of the kernels' 128-bit ones: up to twice as fast. It holds for all WebAssembly that this process compiles
   * from then on, not only bertlet's. Default false.
   */
  wideSimd?: boolean | undefined;
  /** webgpu: take the time of each kernel for `info.milliseconds`, where the adapter has timestamps. Slower. */
  profile?: boolean | undefined;
}

/** A device that has started; `info` says what holds at the time that it is called. */
export interface Started {
  readonly device: Device;
  readonly info: () => DeviceInfo;
}

/** How a device is asked for: by whom matters to `auto`, which wants a real GPU, and so does what it will compute. */
export interface Wish {
  readonly auto: boolean;
  readonly int8: boolean;
}

/** The devices, fastest first (the order in which `auto` tries them), and the dtypes that each one supports. */
export const DEVICES: Readonly<
  Record<DeviceName, { dtypes: readonly Dtype[]; start: (options: DeviceOptions, wish: Wish) => Promise<Started> }>
> = {
  webgpu: {
    dtypes: ['fp32', 'fp16', 'int8'],
    start: async ({ profile = false }, { auto, int8 }) => {
      const { device, kernels } = await startWebgpu({ hardware: auto, int8, profile });
      const { adapter, milliseconds } = device;
      return { device, info: () => ({ adapter, kernels, gpuBytes: device.bytes, ...(profile && { milliseconds }) }) };
    },
  },
  cpu: {
    dtypes: ['fp32', 'int8'],
    start: async (options) => {
      const { device, kernels, reason } = await startCpu(options);
      const { threads, milliseconds } = device;
      return { device, info: () => ({ threads, kernels, milliseconds, ...(reason && { reason }) }) };
    },
  },
  reference: {
    dtypes: ['fp32', 'int8'],
    start: async () => ({ device: new ReferenceDevice(), info: () => ({}) }),
  },
};
/** In the order of `auto`. */
export const DEVICE_NAMES: readonly DeviceName[] = ['webgpu', 'cpu', 'reference'];
