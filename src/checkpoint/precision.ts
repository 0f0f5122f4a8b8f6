/** Makes a checkpoint's tensors what a model computes with: widened, rounded or quantized into memory of the caller. */

import { type BertConfig, free, type WeightForm, type Weights } from '../bert.ts';
import { fault, inputError } from '../errors.ts';
import { check, object, oneOf } from '../options.ts';
import { quantizeWeight } from '../quantize.ts';
import type { Device, HostTensor, Scheme } from '../runtime.ts';
import type { Tokenizer } from '../text/json.ts';
import { tensorShapes } from './config.ts';
import { readTensor, type StoredTensor, toFloat16, toFloat32 } from './safetensors.ts';

/** The precision of the linears' weights: float32, float16, or int8 in one of the two schemes. */
export type Precision = 'fp32' | 'fp16' | Scheme;

/** An open checkpoint: its sizes and tensors, its tokenizer. */
export interface Checkpoint {
  readonly config: BertConfig;
  readonly tokenizer: Tokenizer;
  /** By the names of the model's family. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** How the linears of an int8 checkpoint were quantized; null for a float checkpoint. */
  readonly scheme: Scheme | null;
  /** Reads one tensor into memory of its own. */
  readonly tensor: (name: string) => HostTensor;
  /** Closes the files of the weights. */
  readonly close: () => void;
}

/**
 * Returns the weights of a checkpoint: those of linears in `precision`, all other tensors widened to float32. The weights
 * of an int8 checkpoint are passed on unchanged, so for an int8 checkpoint `precision` must be its scheme.
 * @param device that the weights are for: it may widen float16 tables itself, and quantize
 * @throws BertletError `input` for another precision than that; `fill` throws `weights` for values that are not finite
 */
export function weightsOf(
  checkpoint: Pick<Checkpoint, 'config' | 'tensors'> & Partial<Checkpoint>,
  precision: Precision,
  device: Pick<Device, 'float16' | 'quantizeWeight'> = {},
): Weights {
  check('checkpoint', checkpoint?.config, object);
  check('precision', precision, oneOf<Precision>(['fp32', 'fp16', 'torch', 'accurate']));
  check('device', device, object);
  const { config, tensors, scheme = null } = checkpoint;
  if (scheme && scheme !== precision) throw inputError('precision', `${scheme}, the checkpoint's`, precision);
  const shapes = tensorShapes(config);
  const int8 = precision === 'fp32' || precision === 'fp16' ? null : precision;
  const describe = (name: string): WeightForm => {
    const { fileName, shape, kind } = shapes.get(name)!;
    if (kind === 'linear' && int8) return { dtype: 'I8', shape, scheme: int8 };
    const isHalf = device.float16 && tensors.get(fileName)!.dtype === 'F16';
    const half = kind === 'linear' ? precision === 'fp16' : kind === 'table' && isHalf;
    return { dtype: half ? 'F16' : 'F32', shape };
  };
  /** Reads the scales of an int8 tensor: one for each row, or for all. */
  const scalesOf = (fileName: string): Float32Array => {
    const name = `${fileName}_scale`;
    return float32Of(readTensor(tensors.get(name)!, name), name).data;
  };
  const quantize = (tensor: HostTensor, name: string, data: Int8Array, scale: Float32Array) => {
    if (device.quantizeWeight && (tensor.dtype === 'F16' || tensor.dtype === 'F32'))
      return device.quantizeWeight(tensor as HostTensor<Float32Array | Uint16Array>, int8!, { data, scale });
    const quantized = quantizeWeight(float32Of(tensor, name), int8!);
    data.set(quantized.data);
    scale.set(quantized.scale);
  };
  const fill = (name: string, target: Target, scale = new Float32Array(0)) => {
    const { fileName } = shapes.get(name)!;
    const stored = tensors.get(fileName)!;
    const { dtype } = describe(name);
    const scales = stored.dtype === 'I8' ? scalesOf(fileName) : scale;
    if (stored.dtype === dtype) {
      stored.read(new Uint8Array(target.buffer, target.byteOffset, target.byteLength));
      for (let i = 0; i < scale.length; i++) scale[i] = scales[i % scales.length]!;
    } else {
      const tensor = readTensor(stored, fileName);
      const columns = target.length / scales.length;
      if (dtype === 'I8') quantize(tensor, fileName, target as Int8Array, scale);
      else if (dtype === 'F16') target.set(toFloat16(float32Of(tensor, fileName), fileName).data);
      else if (stored.dtype !== 'I8') toFloat32(tensor, fileName, target as Float32Array);
      else
        for (let i = 0; i < target.length; i++) target[i] = Number(tensor.data[i]) * scales[Math.floor(i / columns)]!;
      free(tensor.data);
    }
    assertFinite(fileName, dtype === 'I8' ? scale : (target as Float32Array | Uint16Array));
  };
  return { describe, fill };
}

type Target = Parameters<Weights['fill']>[1];

function float32Of(tensor: HostTensor, name: string): HostTensor<Float32Array> {
  const data = toFloat32(tensor, name);
  assertFinite(name, data);
  return { dtype: 'F32', shape: tensor.shape, data };
}

/** @throws BertletError `weights` if a value is NaN or infinite */
function assertFinite(name: string, values: Float32Array | Uint16Array): void {
  const is16 = values.BYTES_PER_ELEMENT === 2;
  const wrong = is16 ? hasNonFinite16(values as Uint16Array) : hasNonFinite32(values as Float32Array);
  if (wrong) throw fault('weights', name, 'finite values', 'NaN or Infinity', 'The file is damaged.');
}

// Two branch-free loops, one for each type of array: `every` is ten times slower, and V8 deoptimizes a loop that has seen both.
/** Adds up 0 * value, which is 0 unless a value is NaN or infinite. */
function hasNonFinite32(values: Float32Array): boolean {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += 0 * values[i]!;
  return sum !== 0;
}
/** Adds 1 to each exponent: a carry tells that it was that of NaN or infinity. */
function hasNonFinite16(values: Uint16Array): boolean {
  let carry = 0;
  for (let i = 0; i < values.length; i++) carry |= (values[i]! & 0x7c00) + 0x400;
  return (carry & 0x8000) !== 0;
}
