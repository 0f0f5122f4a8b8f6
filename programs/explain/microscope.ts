/**
 * One token through one linear, number by number: from a row of floats to the integers, their product, and back. All
 * integers are made by the engine's own quantizer; `STEPS` of report/microscope.ts has the line of code behind each
 * number. Runs wherever the engine does.
 */
import { inputError } from '../../src/errors.ts';
import {
  type Checkpoint,
  type Device,
  type HostTensor,
  matmulInt8,
  type QuantizedTensor,
  quantizeActivations,
  quantizeWeight,
  rowSums,
  type Scheme,
  weightsOf,
} from '../../src/tensor.ts';
import { compare, range, traced } from './explain.ts';
import type { LinearCall } from './trace.ts';

/** A linear under the microscope, with its input on one question. */
export interface Slide {
  /** Name in the checkpoint. */
  readonly name: string;
  readonly tokens: readonly string[];
  /** Where each token begins in the passage; null for those that are not of it. */
  readonly places: readonly (number | null)[];
  /** [tokens, in], float32's */
  readonly x: HostTensor<Float32Array>;
  /** [out, in] */
  readonly weight: HostTensor<Float32Array>;
  /** [out] */
  readonly bias: Float32Array;
  readonly int8: Readonly<Record<Scheme, QuantizedTensor>>;
}

/** One token and one output feature under a scheme. */
export interface Through {
  /** The range that the scale is made for, widened to hold 0. */
  readonly low: number;
  readonly high: number;
  readonly scale: number;
  readonly zeroPoint: number;
  /** [in], of the token */
  readonly integers: Uint8Array;
  /** How many different ones. */
  readonly levels: number;
  /** The largest |weight| among those that share a scale, and that scale. */
  readonly largest: number;
  readonly weightScale: number;
  /** [in], of the output feature */
  readonly weights: Int8Array;
  /** Sums of integers times weights, then of the weights alone; `accumulator` is the first less zeroPoint times the second. */
  readonly sum: number;
  readonly weightSum: number;
  readonly accumulator: number;
  readonly y: number;
  /** All output features of the token against float32's, in dB; null where they are equal. */
  readonly sqnr: number | null;
}

export interface View {
  /** [in]: the token's activations, and the weights of the output feature. */
  readonly values: Float32Array;
  readonly weights: Float32Array;
  readonly bias: number;
  /** float32's */
  readonly y: number;
  readonly schemes: Readonly<Record<Scheme, Through>>;
}

/**
 * Runs the float model on a question, and keeps the input of one linear.
 * @param device is disposed of
 * @param name the linear's, in the checkpoint
 */
export async function slideOf(
  checkpoint: Checkpoint,
  input: { question: string; context: string },
  device: Device,
  name: string,
): Promise<Slide> {
  const calls: LinearCall[] = [];
  await traced(checkpoint, input, device, 'fp32', (call) => void calls.push(call));
  const names = calls.flatMap((call) => call.names);
  const { x } = calls.find((call) => call.names.includes(name)) ?? {};
  if (!x) throw inputError('linear', names.join(', '), name);
  const all = weightsOf(checkpoint, 'fp32');
  const read = (tensor: string) => {
    const { shape } = all.describe(tensor);
    const data = new Float32Array(shape.reduce((count, size) => count * size, 1));
    all.fill(tensor, data);
    return { dtype: 'F32', shape, data } as const;
  };
  const { tokens, offsets, sequence } = checkpoint.tokenizer.encodePair(input.question, input.context);
  const places = offsets.map(([start], token) => (sequence[token] === 1 ? start : null));
  const weight = read(`${name}.weight`);
  const int8 = { torch: quantizeWeight(weight, 'torch'), accurate: quantizeWeight(weight, 'accurate') };
  return { name, tokens, places, x, weight, bias: read(`${name}.bias`).data, int8 };
}

const { fround } = Math;
/** The activation that reaches the furthest from 0. */
export function outlierOf({ x }: Slide): { token: number; feature: number; value: number } {
  const at = x.data.reduce((far, value, i) => (Math.abs(value) > Math.abs(x.data[far]!) ? i : far), 0);
  const features = x.shape[1]!;
  return { token: Math.floor(at / features), feature: at % features, value: x.data[at]! };
}

/** The slide with its outlier at another value. */
export function moved(slide: Slide, value: number): Slide {
  const { token, feature } = outlierOf(slide);
  const data = slide.x.data.slice();
  data[token * slide.x.shape[1]! + feature] = value;
  return { ...slide, x: { ...slide.x, data } };
}

/** The token to begin with, the first of the answer if there is one, and the output feature where it is largest. */
export function beginning(slide: Slide, start: number): { token: number; output: number } {
  const token = Math.max(0, slide.places.indexOf(start));
  const y = floatRow(slide, token).map(Math.abs);
  return { token, output: y.indexOf(Math.max(...y)) };
}

/** float32's output of a token: [out], added up in float64, as the reference does. */
function floatRow({ x, weight, bias }: Slide, token: number): Float32Array {
  const features = x.shape[1]!;
  return bias.map((start, row) => {
    let sum = 0;
    for (let k = 0; k < features; k++) sum += x.data[token * features + k]! * weight.data[row * features + k]!;
    return sum + start;
  });
}

/** Everything about one token and one output feature. */
export function look(slide: Slide, token: number, output: number): View {
  const { x, weight, bias, int8 } = slide;
  const features = x.shape[1]!;
  const rowOf = <A extends Float32Array | Uint8Array | Int8Array>(data: A, row: number) =>
    data.subarray(row * features, (row + 1) * features) as A;
  const values = rowOf(x.data, token);
  const alone = { dtype: 'F32', shape: [1, features], data: values } as const;
  const y = floatRow(slide, token);
  const through = (scheme: Scheme): Through => {
    const [seen, row] = scheme === 'torch' ? [x, token] : [alone, 0]; // whose range makes the scale
    const all = quantizeActivations(seen, scheme);
    const [scale, zeroPoint] = [all.scale.subarray(row, row + 1), all.zeroPoint.subarray(row, row + 1)];
    const integers = rowOf(all.data, row);
    const accumulators = matmulInt8({ data: integers, scale, zeroPoint }, int8[scheme]);
    const sharing = scheme === 'torch' ? weight.data : rowOf(weight.data, output);
    const weightSum = rowSums(int8[scheme])[output]!;
    const made = bias.map((start, column) => {
      return fround(accumulators[column]!) * fround(scale[0]! * int8[scheme].scale[column]!) + start; // as linearInt8
    });
    return {
      ...range(seen.data),
      ...{ scale: scale[0]!, zeroPoint: zeroPoint[0]!, integers, levels: new Set(integers).size },
      largest: sharing.reduce((most, value) => Math.max(most, Math.abs(value)), 0),
      ...{ weightScale: int8[scheme].scale[output]!, weights: rowOf(int8[scheme].data, output), weightSum },
      ...{ sum: accumulators[output]! + zeroPoint[0]! * weightSum, accumulator: accumulators[output]! },
      ...{ y: made[output]!, sqnr: compare(y, made).sqnr },
    };
  };
  const schemes = { torch: through('torch'), accurate: through('accurate') };
  return { values, weights: rowOf(weight.data, output), bias: bias[output]!, y: y[output]!, schemes };
}
