/**
 * The public API of the engine, `bertlet/tensor`: tensors and ops on a device, the quantizer and the integer
 * product, the model, and the tensors of checkpoint files by name. `bertlet` (index.ts) builds on it to answer
 * questions.
 */
import './platform.ts';
import { DEVICE_OPTIONS, type DeviceName, type DeviceOptions, deviceName, startDevice } from './devices/index.ts';
import { check, optionsOf } from './options.ts';
import { Runtime } from './runtime.ts';

export { Bert, type BertConfig, type WeightForm, type Weights } from './bert.ts';
export { type Checkpoint, openCheckpoint, type Precision, weightsOf } from './checkpoint/index.ts';
export { readSafetensors, type StoredTensor, toFloat16, toFloat32 } from './checkpoint/safetensors.ts';
export { writeSafetensors } from './checkpoint/write.ts';
export { type DeviceName, type DeviceOptions, dtypesOf } from './devices/index.ts';
export { BertletError, type ErrorCode } from './errors.ts';
export { filesOf, type HubOptions, hub } from './files/hub.ts';
export type { Files, OnProgress, OpenFile, OpenOptions, SiteOptions } from './files/index.ts';
export { blobs, folder, site } from './files/index.ts';
export type { QuantizedActivations } from './quantize.ts';
export { chooseScale, matmulInt8, quantizeActivations, quantizeWeight, roundHalfEven, rowSums } from './quantize.ts';
export type {
  Activation,
  Device,
  DeviceInfo,
  DType,
  HostTensor,
  Linear,
  LinearWeight,
  Norm,
  QuantizedTensor,
  ReadOptions,
  Scheme,
  Step,
  Tables,
  Tensor,
} from './runtime.ts';
export { Runtime, type TensorData } from './runtime.ts';

/**
 * Starts a device to compute on. The options and `info` are those of `load`.
 * @param name `cpu`, the default; `webgpu`; `reference`; or `auto`, the first of webgpu, cpu, reference that starts
 * @throws BertletError `input` for a wrong option; `device` if the device does not start
 */
export async function openRuntime(device: DeviceName | 'auto' = 'cpu', given: DeviceOptions = {}): Promise<Runtime> {
  const options = optionsOf('openRuntime', given, DEVICE_OPTIONS);
  check('device', device, deviceName);
  const { used, info } = await startDevice(device, 'int8', options, (started) => started);
  return new Runtime(used, info);
}
