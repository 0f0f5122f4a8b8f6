/**
 * The public API of the engine, `bertlet/tensor`: tensors and the four ops on a device, the quantizer and the integer
 * product, the model, and the tensors of checkpoint files by name. `bertlet` (index.ts) builds on it to answer
 * questions.
 */
import './node.ts';
import { checkThreads } from './devices/cpu/start.ts';
import { DEVICE_NAMES, DEVICES, type DeviceName, type DeviceOptions } from './devices/index.ts';
import { BertletError } from './errors.ts';
import { checkOneOf, checkType, optionsOf } from './options.ts';
import { Runtime } from './runtime.ts';

export { Bert, type BertConfig, type Weights } from './bert.ts';
export { parseConfig, tensorShapes } from './checkpoint/config.ts';
export { locate } from './checkpoint/hub.ts';
export { checkpointBytes } from './checkpoint/layout.ts';
export { type Checkpoint, openCheckpoint, type Precision, weightsOf } from './checkpoint/load.ts';
export { elements, readSafetensors, toFloat16, toFloat32 } from './checkpoint/safetensors.ts';
export { writeSafetensors } from './checkpoint/write.ts';
export type { DeviceName, DeviceOptions } from './devices/index.ts';
export { BertletError, type ErrorCode } from './errors.ts';
export {
  chooseScale,
  matmulInt8,
  type QuantizedActivations,
  quantizeActivations,
  quantizeWeight,
  roundHalfEven,
  rowSums,
} from './quantize.ts';
export {
  type Device,
  type DeviceInfo,
  type DType,
  type HostTensor,
  type Linear,
  type LinearWeight,
  type Norm,
  type QuantizedTensor,
  Runtime,
  type Scheme,
  type Step,
  type Tables,
  type Tensor,
  type TensorData,
} from './runtime.ts';

/**
 * Starts a device to compute on. The options and `info` are those of `load`.
 * @param device `cpu`, the default; `webgpu`; `reference`; or `auto`, the first of webgpu, cpu, reference that starts
 * @throws BertletError `input` for a wrong option; `device` if the device does not start
 */
export async function openRuntime(device: DeviceName | 'auto' = 'cpu', given: DeviceOptions = {}): Promise<Runtime> {
  checkOneOf('device', device, ['auto', ...DEVICE_NAMES]);
  const options = optionsOf('openRuntime', given, ['threads', 'wideSimd', 'profile']);
  for (const name of ['wideSimd', 'profile'] as const) checkType(name, options[name], 'boolean');
  if (options.threads !== undefined) checkThreads(options.threads);
  const reasons: string[] = [];
  for (const name of device === 'auto' ? DEVICE_NAMES : [device]) {
    try {
      const { device: started, info } = await DEVICES[name].start(options, { auto: device === 'auto', int8: true });
      if (device !== 'auto') return new Runtime(started, info);
      const reason = [...reasons, `${name} is the fastest device that starts here`].join('; ');
      return new Runtime(started, () => ({ ...info(), reason }));
    } catch (error) {
      if (device !== 'auto' || !(error instanceof BertletError) || error.code !== 'device') throw error;
      reasons.push(error.message); // only `auto` falls back to another device
    }
  }
  throw new BertletError('device', `auto: expected a device that starts, got none: ${reasons.join('; ')}.`);
}
