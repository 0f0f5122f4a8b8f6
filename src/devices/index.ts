/** The table of devices: the dtypes that each device supports, and how to start the device. */
import type { Device, DeviceInfo } from '../runtime.ts';
import { startCpu } from './cpu/start.ts';
import { ReferenceDevice } from './reference.ts';
import { startWebgpu } from './webgpu/start.ts';

export type DeviceName = 'webgpu' | 'cpu' | 'reference';
export type Dtype = 'fp32' | 'fp16' | 'int8';

/** Options of all devices. A device ignores the options of the others. */
export interface DeviceOptions {
  /** cpu: number of threads. Default: one for each core that this process may use. */
  threads?: number | undefined;
  /**
   * cpu in Node: switches on V8's experimental revectorizer, `--experimental-wasm-revectorize`, which joins
   * pairs of the kernels' 128-bit operations into 256-bit operations: up to twice as fast. The switch affects all
   * WebAssembly that this process compiles from then on, not only bertlet's. Default false.
   */
  wideSimd?: boolean | undefined;
  /** webgpu: measure each kernel for `info.milliseconds`, if the adapter has timestamps. Slower. */
  profile?: boolean | undefined;
}

/** A started device. `info` returns the values at the time of the call. */
export interface Started {
  readonly device: Device;
  readonly info: () => DeviceInfo;
}

/** Why a device is started. */
export interface Wish {
  /** `auto` tries the device: webgpu then refuses software adapters. */
  readonly auto: boolean;
  /** The linears will be int8: webgpu then times its int8 products. */
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
/** All devices, in the order in which `auto` tries them. */
export const DEVICE_NAMES: readonly DeviceName[] = ['webgpu', 'cpu', 'reference'];
