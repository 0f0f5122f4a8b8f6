/** Makes a checkpoint's tensors what a model computes with: widened, rounded or quantized into memory of the caller. */

import type { BertConfig, WeightForm, Weights } from '../bert.ts';
import { fault, inputError } from '../errors.ts';
import { quantizeWeight } from '../quantize.ts';
import type { Device, HostTensor, Scheme } from '../runtime.ts';
import { tensorShapes } from './config.ts';
import { byteLength, readTensor, type StoredTensor, toFloat16, toFloat32, viewTensor } from './safetensors.ts';

/** The precision of the linears' weights: float32, float16, or int8 in one of the two schemes. */
export type Precision = 'fp32' | 'fp16' | Scheme;

const MAX_KEPT = 2 ** 24; // bytes of a tensor whose memory is used for the next: a layer's, and not the embeddings'

/** Tensors of a model, by the names of its family. */
interface Tensors {
  readonly config: BertConfig;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** How the linears were quantized; null or absent for float weights. */
  readonly scheme?: Scheme | null;
}

/**
 * Returns the weights of a checkpoint: those of linears in `precision`, all other tensors widened to float32. The weights
 * of an int8 checkpoint are passed on unchanged, so for an int8 checkpoint `precision` must be its scheme.
 * @param device that the weights are for: it may widen float16 tables itself, and quantize
 * @throws BertletError `input` for another precision than that; `fill` throws `weights` for values that are not finite
 */
export function weightsOf(
  { config, tensors, scheme = null }: Tensors,
  precision: Precision,
  device: Pick<Device, 'float16' | 'quantizeWeight'> = {},
): Weights {
  if (scheme && scheme !== precision) throw inputError('precision', `${scheme}, the checkpoint's`, precision);
  const shapes = tensorShapes(config);
  const int8 = precision === 'fp32' || precision === 'fp16' ? null : precision;
  const describe = (name: string): WeightForm => {
    const { own, shape, linear, table } = shapes.get(name)!;
    if (linear && int8) return { dtype: 'I8', shape, scheme: int8 };
    const half = linear ? precision === 'fp16' : table && device.float16 && tensors.get(own)!.dtype === 'F16';
    return { dtype: half ? 'F16' : 'F32', shape };
  };
  const memory = new ArrayBuffer(MAX_KEPT); // of the tensor that is converted: new memory costs more than to fill it
  /** Reads a tensor in the file's dtype, for as long as `use` runs. */
  const read = (own: string, use: (tensor: HostTensor) => void) => {
    const stored = tensors.get(own)!;
    const size = byteLength(stored);
    const bytes = size > MAX_KEPT ? new Uint8Array(size) : new Uint8Array(memory, 0, size);
    stored.read(bytes);
    use(viewTensor(stored, bytes, own));
    if (size > MAX_KEPT) bytes.buffer.transfer(0); // frees it now; garbage collection would let tensors pile up
  };
  /** Reads the scales of an int8 tensor: one for each row, or for all. */
  const scalesOf = (own: string): Float32Array => {
    const name = `${own}_scale`;
    const scales = toFloat32(readTensor(tensors.get(name)!, name), name);
    assertFinite(name, scales);
    return scales;
  };
  const fill: Weights['fill'] = (name, target, scale) => {
    const { own } = shapes.get(name)!;
    const stored = tensors.get(own)!;
    const { dtype } = describe(name);
    if (stored.dtype === dtype) stored.read(new Uint8Array(target.buffer, target.byteOffset, target.byteLength));
    else if (dtype === 'I8')
      read(own, (tensor) => quantizeInto(target as Int8Array, scale!, tensor, own, int8!, device));
    else if (dtype === 'F16') read(own, (tensor) => target.set(toFloat16(float32Of(tensor, own), own).data));
    else if (stored.dtype === 'I8') read(own, ({ data }) => dequantizeInto(target, data as Int8Array, scalesOf(own)));
    else read(own, (tensor) => toFloat32(tensor, own, target as Float32Array));
    if (dtype !== 'I8') assertFinite(own, target as Float32Array | Uint16Array);
    else if (stored.dtype === 'I8') {
      const scales = scalesOf(own);
      if (scales.length > 1) scale!.set(scales);
      else scale!.fill(scales[0]!);
    }
  };
  return { describe, fill };
}

function float32Of(tensor: HostTensor, name: string): HostTensor<Float32Array> {
  const data = toFloat32(tensor, name);
  assertFinite(name, data);
  return { dtype: 'F32', shape: tensor.shape, data };
}

/** Quantizes a tensor: on the device, where it can. */
function quantizeInto(
  target: Int8Array,
  scale: Float32Array,
  tensor: HostTensor,
  name: string,
  scheme: Scheme,
  device: Pick<Device, 'quantizeWeight'>,
): void {
  const quantized =
    device.quantizeWeight && (tensor.dtype === 'F16' || tensor.dtype === 'F32')
      ? device.quantizeWeight(tensor as HostTensor<Float32Array | Uint16Array>, scheme)
      : quantizeWeight(float32Of(tensor, name), scheme);
  assertFinite(name, quantized.scale);
  target.set(quantized.data);
  scale.set(quantized.scale);
  (quantized.data.buffer as ArrayBuffer).transfer(0);
}

/** Widens int8 with one scale for each row to float32. */
function dequantizeInto(target: { [i: number]: number }, data: Int8Array, scales: Float32Array): void {
  const columns = data.length / scales.length;
  for (let i = 0; i < data.length; i++) target[i] = data[i]! * scales[Math.floor(i / columns)]!;
}

/** @throws BertletError `weights` if a value is NaN or infinite */
function assertFinite(name: string, values: Float32Array | Uint16Array): void {
  if (values.BYTES_PER_ELEMENT === 4 ? !hasNonFinite32(values as Float32Array) : !hasNonFinite16(values as Uint16Array))
    return;
  throw fault('weights', name, 'finite values', 'NaN or Infinity', 'The file is damaged.');
}

// Two branch-free loops, one for each type of array: `every` is ten times slower, and V8 deoptimizes a loop that has seen both.
/** Adds up 0 * value, which is 0 unless a value is NaN or infinite. */
function hasNonFinite32(values: Float32Array): boolean {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += 0 * values[i]!;
  return sum !== 0;
}
/** Adds 1 to each exponent, two numbers at once: the carry tells that the exponent was that of NaN or infinity. */
function hasNonFinite16(values: Uint16Array): boolean {
  const whole = values.byteOffset % 4 === 0 ? values.length >> 1 : 0;
  const pairs = new Uint32Array(values.buffer, whole && values.byteOffset, whole);
  let carry = 0;
  for (let i = 0; i < pairs.length; i++) carry |= (pairs[i]! & 0x7c007c00) + 0x04000400;
  for (let i = 2 * whole; i < values.length; i++) carry |= (values[i]! & 0x7c00) + 0x400;
  return (carry & 0x80008000) !== 0;
}
