/** The devices: the dtypes that each device supports, and how one is started, by its name or by `auto`. */
import { BertletError, fault, messageOf } from '../errors.ts';
import { boolean, check, type GivenOf, integer, oneOf } from '../options.ts';
import type { Device, DeviceInfo } from '../runtime.ts';
import { startCpu } from './cpu/start.ts';
import { ReferenceDevice } from './reference.ts';
import { startWebgpu } from './webgpu/start.ts';

export type DeviceName = 'webgpu' | 'cpu' | 'reference';
export type Dtype = 'fp32' | 'fp16' | 'int8';

export const DEVICE_OPTIONS = {
  /** cpu: number of threads. Default: one for each core that this process may use. */
  threads: integer(1, 256),
  /**
   * cpu in Node: compiles the kernels with V8's revectorizer, which joins pairs of their 128-bit operations into 256-bit
   * ones: up to twice as fast. V8's flags are changed while the kernels are tested, once in a process, and set back, so
   * other WebAssembly of the process stays as it is. Default true; false leaves the flags alone.
   */
  wideSimd: boolean,
  /** webgpu: measure each kernel for `info.milliseconds`, if the adapter has timestamps. Slower. */
  profile: boolean,
};
/** Options of all devices. A device ignores the options of the others. */
export type DeviceOptions = GivenOf<typeof DEVICE_OPTIONS>;

/** A device that may be started. */
interface Entry {
  readonly dtypes: readonly Dtype[];
  /**
   * @param int8 the linears will be int8: only then are their kernels tested and named
   * @param auto `auto` tries the device: webgpu then refuses software adapters
   */
  start(options: DeviceOptions, int8: boolean, auto: boolean): Promise<{ device: Device; info: () => DeviceInfo }>;
}

/** The devices, fastest first (the order in which `auto` tries them). */
const DEVICES: Readonly<Record<DeviceName, Entry>> = {
  webgpu: {
    dtypes: ['fp32', 'fp16', 'int8'],
    start: async ({ profile = false }, int8, auto) => {
      const { device, kernels } = await startWebgpu({ hardware: auto, int8, profile });
      const { adapter, milliseconds } = device;
      return { device, info: () => ({ adapter, kernels, gpuBytes: device.bytes, ...(profile && { milliseconds }) }) };
    },
  },
  cpu: {
    dtypes: ['fp32', 'int8'],
    start: async (options, int8) => {
      const { device, ...about } = await startCpu(options, int8);
      return { device, info: () => ({ threads: device.threads, ...about, milliseconds: device.milliseconds }) };
    },
  },
  reference: {
    dtypes: ['fp32', 'int8'],
    start: async () => ({ device: new ReferenceDevice(), info: () => ({}) }),
  },
};
/** All devices, in the order in which `auto` tries them. */
const NAMES: readonly DeviceName[] = ['webgpu', 'cpu', 'reference'];

/** The dtypes that a device supports; those of `auto` are the dtypes that some device supports. */
export function dtypesOf(device: DeviceName | 'auto'): readonly Dtype[] {
  check('device', device, deviceName);
  return DEVICES[device === 'auto' ? 'webgpu' : device].dtypes;
}

/** The option that names a device. */
export const deviceName = oneOf<DeviceName | 'auto'>(['auto', ...NAMES]);

/**
 * Starts a device and uses it. `auto` tries the devices that support the dtype, fastest first, and takes the first that
 * starts and can be used.
 * @param use called with a started device; if it throws, it has disposed of the device
 * @returns what `use` made, the device's name, and its `info`, whose `reason` says why this device and these kernels
 * @throws BertletError `device` if no device starts; what `use` throws
 */
export async function startDevice<T>(
  device: DeviceName | 'auto',
  dtype: Dtype,
  options: DeviceOptions,
  use: (device: Device) => T | Promise<T>,
): Promise<{ name: DeviceName; used: T; info: () => DeviceInfo }> {
  const auto = device === 'auto';
  const reasons: string[] = [];
  for (const name of auto ? NAMES.filter((each) => dtypesOf(each).includes(dtype)) : [device]) {
    try {
      const started = await DEVICES[name].start(options, dtype === 'int8', auto);
      const used = await use(started.device);
      if (auto) reasons.push(`${name} is the fastest device that starts here`);
      const info = () => {
        const about = started.info();
        const all = about.reason ? [...reasons, about.reason] : reasons;
        return { ...about, ...(all.length > 0 && { reason: all.join('; ') }) };
      };
      return { name, used, info };
    } catch (error) {
      // Only `auto` falls back to another device: where one does not start, or has no room for the model's shape.
      if (!auto || !(error instanceof BertletError) || !['device', 'input'].includes(error.code)) throw error;
      reasons.push(messageOf(error));
    }
  }
  throw fault('device', 'auto', 'a device that starts', `none: ${reasons.join('; ')}`);
}
