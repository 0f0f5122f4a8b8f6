/**
 * Effects of dynamic quantization on one question, linear by linear: float32 against both int8 schemes. Runs wherever
 * the engine does; the program, the HTML page and the web page show what it returns.
 */

import { inputError } from '../../src/errors.ts';
import { type Answer, QuestionAnswering } from '../../src/qa.ts';
import {
  Bert,
  type Checkpoint,
  type Device,
  type HostTensor,
  type Precision,
  type QuantizedActivations,
  quantizeActivations,
  Runtime,
  roundHalfEven,
  type Scheme,
  weightsOf,
} from '../../src/tensor.ts';
import { type LinearCall, TraceDevice } from './trace.ts';

export const SCHEMES: readonly Scheme[] = ['torch', 'accurate'];

/** How close an int8 output is to float32's. */
export interface Quality {
  /** Signal to quantization noise in dB, see `compare`; null where the two are equal. */
  readonly sqnr: number | null;
  readonly cosine: number;
}

/** Least, median and largest of several numbers; all three are one where there is one: the `torch` scheme has one scale for all tokens. */
export interface Spread {
  readonly low: number;
  readonly median: number;
  readonly high: number;
}

/** How one input [tokens, in] is made integers, and what comes of it. */
export interface Quantized {
  /** Smallest and largest activation, widened to hold 0, as the quantizer does. */
  readonly low: number;
  readonly high: number;
  /** Over the tokens. */
  readonly scale: Spread;
  readonly zeroPoint: Spread;
  /**
   * Share of the activations whose rounded integer, `round(x / scale) + zeroPoint`, lies outside 0..127. The scale is made
   * for this very range, so it can only be 128 or, by float32's rounding, -1: half a step beyond the end.
   */
  readonly clipped: number;
  /** How many different integers the median token has, of 128. */
  readonly levels: number;
  /**
   * Root mean square of `x / scale`: how many steps a typical activation is away from 0. One outlier that widens the
   * range makes it small, and with it the signal, for the rounding error is the same share of a step everywhere.
   */
  readonly steps: number;
  /** The linear's output against float32's. */
  readonly output: Quality;
}

/** A linear under one of the schemes. */
export interface SchemeReport {
  /** Over the output features. */
  readonly weightScale: Spread;
  /** Result with this linear alone in int8, fed with float32's own input: what it costs by itself. */
  readonly alone: Quantized;
  /** The whole model in int8, its input included: what has come together up to here. */
  readonly whole: Quantized;
}

/** One of a linear's input features. */
export interface Feature {
  readonly feature: number;
  readonly low: number;
  readonly high: number;
}

export interface LinearReport {
  /** From 0; null for what is behind the last layer. */
  readonly layer: number | null;
  /** `query|key|value`, `attention.output`, `intermediate`, `output` or `qa_outputs`. */
  readonly kind: string;
  /** The names in the checkpoint that it is made of. */
  readonly names: readonly string[];
  readonly in: number;
  readonly out: number;
  /** The features of float32's input that reach the furthest from 0, the furthest first, and the range of all others. */
  readonly outliers: readonly Feature[];
  readonly others: { readonly low: number; readonly high: number };
  readonly schemes: Readonly<Record<Scheme, SchemeReport>>;
}

/** Numbers, strings, arrays and objects only: `JSON.stringify` keeps all of it. */
export interface Explanation {
  readonly question: string;
  readonly context: string;
  readonly tokens: number;
  readonly answers: Readonly<Record<'fp32' | Scheme, Answer>>;
  /** Start and end logits of all tokens, against float32's. */
  readonly logits: Readonly<Record<Scheme, Quality>>;
  /** In the order of the forward. */
  readonly linears: readonly LinearReport[];
}

/** How many features `outliers` names. */
const OUTLIERS = 8;

/**
 * `SQNR = 10 log10(sum y^2 / sum (y - yq)^2)` dB, the larger the better, 6 dB for each bit; and
 * `cosine = sum y yq / sqrt(sum y^2 sum yq^2)`.
 * @param y float32's
 * @param yq the same with int8
 */
export function compare(y: ArrayLike<number>, yq: ArrayLike<number>): Quality {
  let [signal, noise, both, other] = [0, 0, 0, 0];
  for (let i = 0; i < y.length; i++) {
    signal += y[i]! ** 2;
    noise += (y[i]! - yq[i]!) ** 2;
    both += y[i]! * yq[i]!;
    other += yq[i]! ** 2;
  }
  const cosine = noise === 0 ? 1 : both / Math.sqrt(signal * other || 1);
  return { sqnr: noise === 0 ? null : 10 * Math.log10(signal / noise), cosine };
}

function spread(values: ArrayLike<number>): Spread {
  const sorted = Array.from(values).sort((a, b) => a - b);
  return { low: sorted[0]!, median: sorted[sorted.length >> 1]!, high: sorted.at(-1)! };
}

/** Smallest and largest value, widened to hold 0. */
export function range(values: Iterable<number>): { low: number; high: number } {
  let [low, high] = [0, 0];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return { low, high };
}

/** How an input became integers: everything of `Quantized` but the output. */
export function describe(x: HostTensor<Float32Array>, q: QuantizedActivations): Omit<Quantized, 'output'> {
  const [tokens, features] = x.shape as [number, number];
  let [clipped, squares] = [0, 0];
  const used: Set<number>[] = [];
  for (let token = 0; token < tokens; token++) {
    const [scale, zeroPoint] = [q.scale[token]!, q.zeroPoint[token]!];
    const inverse = Math.fround(1 / scale);
    const integers = new Set<number>();
    for (let i = token * features; i < (token + 1) * features; i++) {
      const integer = roundHalfEven(Math.fround(x.data[i]! * inverse)) + zeroPoint; // quantize.ts's, before its clamp
      if (integer < 0 || integer > 127) clipped++;
      squares += (x.data[i]! / scale) ** 2;
      integers.add(q.data[i]!);
    }
    used.push(integers);
  }
  return {
    ...range(x.data),
    scale: spread(q.scale),
    zeroPoint: spread(q.zeroPoint),
    clipped: clipped / x.data.length,
    levels: spread(used.map(({ size }) => size)).median,
    steps: Math.sqrt(squares / x.data.length),
  };
}

/** The features [tokens, features] whose values reach the furthest from 0, and the range of all others. */
export function outliers({ shape, data }: HostTensor<Float32Array>, count = OUTLIERS) {
  const [tokens, features] = shape as [number, number];
  const column = (feature: number) => Array.from({ length: tokens }, (_, token) => data[token * features + feature]!);
  const reach = ({ low, high }: Feature) => Math.max(-low, high);
  const all = Array.from({ length: features }, (_, feature): Feature => ({ feature, ...range(column(feature)) }));
  const sorted = all.sort((a, b) => reach(b) - reach(a));
  return {
    outliers: sorted.slice(0, count),
    others: range(sorted.slice(count).flatMap(({ low, high }) => [low, high])),
  };
}

/** `alone` or `whole` of a linear: its input quantized by the engine's own quantizer, its output beside float32's. */
const quantized = (x: HostTensor<Float32Array>, scheme: Scheme, y: Float32Array, want: Float32Array): Quantized => ({
  ...describe(x, quantizeActivations(x, scheme)),
  output: compare(want, y),
});

/** Parses names such as `bert.encoder.layer.0.attention.self.query`: layer 0, then its kind. */
export function place(names: readonly string[]): Pick<LinearReport, 'layer' | 'kind'> {
  const layer = /\.layer\.(\d+)\./.exec(names[0]!)?.[1];
  const kind = names.map((name) => name.replace(/^.*\.layer\.\d+\.(attention\.self\.)?/, '').replace(/\.dense$/, ''));
  return { layer: layer === undefined ? null : Number(layer), kind: kind.join('|') };
}

/**
 * Answers a question, and tells of every use of a linear on the way.
 * @param input a question and a passage that fit the model's positions together: in one window
 * @param device is disposed of
 * @throws BertletError `input` for a text that is too long; whatever `answer` throws
 */
export async function traced(
  checkpoint: Checkpoint,
  { question, context }: { question: string; context: string },
  device: Device,
  precision: Precision,
  onLinear: (call: LinearCall) => void | Promise<void>,
): Promise<Answer> {
  await using runtime = new Runtime(new TraceDevice(device, onLinear));
  const { config, tokenizer } = checkpoint;
  const tokens = tokenizer.encodePair(question, context).ids.length;
  if (tokens > config.positions) {
    const advice = 'Shorten the passage: one window is explained.';
    throw inputError('question and context', `at most ${config.positions} tokens`, tokens, advice);
  }
  const bert = new Bert(runtime, config, weightsOf(checkpoint, precision));
  const info = { device: 'reference', dtype: precision === 'fp32' ? 'fp32' : 'int8', weightBytes: 0 } as const; // unread
  const qa = new QuestionAnswering(tokenizer, bert, runtime, () => info);
  return (await qa.answer({ question, context, maxTokens: config.positions }))[0];
}

/**
 * Answers a question with the float32 model and with both int8 models, op by op, and reports on every linear.
 * @param checkpoint an open one, of `openCheckpoint`, its weights in float; it stays open
 * @param input a question and a passage that fit the model's positions together: one window is explained
 * @param start starts a device; called for each of the three models, one after the other, and disposed of here
 * @param onProgress told of each linear: how many of all are done; waited for
 * @throws BertletError `input` for an int8 checkpoint, or a text that is too long; whatever `answer` throws.
 */
export async function explain(
  checkpoint: Checkpoint,
  { question, context }: { question: string; context: string },
  start: () => Promise<Device>,
  onProgress: (progress: { done: number; total: number }) => unknown = () => {},
): Promise<Explanation> {
  const { config, scheme: quantizedAs } = checkpoint;
  if (quantizedAs) {
    const advice = 'Give the float32 checkpoint that it was made from.';
    throw inputError('checkpoint', 'float weights, to compare int8 with', `int8 (${quantizedAs})`, advice);
  }
  const total = 3 * (4 * config.layers + 1);
  let done = 0;
  const answer = async (precision: Precision, onLinear: (call: LinearCall) => void | Promise<void>) =>
    traced(checkpoint, { question, context }, await start(), precision, async (call) => {
      await onLinear(call);
      await onProgress({ done: ++done, total });
    });
  const float: LinearCall[] = [];
  const fp32 = await answer('fp32', (call) => void float.push(call));
  const reports: Record<Scheme, SchemeReport[]> = { torch: [], accurate: [] };
  const answerInt8 = (scheme: Scheme) =>
    answer(scheme, async ({ weightScale, x, y, run }) => {
      const want = float[reports[scheme].length]!;
      reports[scheme].push({
        weightScale: spread(weightScale!),
        alone: quantized(want.x, scheme, await run(want.x), want.y.data),
        whole: quantized(x, scheme, y.data, want.y.data),
      });
    });
  const answers = { fp32, torch: await answerInt8('torch'), accurate: await answerInt8('accurate') };
  const linears = float.map(({ names, shape, x }, i): LinearReport => {
    const schemes = { torch: reports.torch[i]!, accurate: reports.accurate[i]! };
    const [out, features] = shape;
    return { ...place(names), names, in: features, out, ...outliers(x), schemes };
  });
  const last = linears.at(-1)!.schemes; // qa_outputs: what it makes are the logits
  const logits = { torch: last.torch.whole.output, accurate: last.accurate.whole.output };
  const [tokens] = float[0]!.x.shape as [number];
  return { question, context, tokens, answers, logits, linears };
}

/** The linear that costs most by itself under a scheme: the one with the lowest SQNR. */
export const worst = (linears: readonly LinearReport[], scheme: Scheme): LinearReport => {
  const cost = ({ schemes }: LinearReport) => schemes[scheme].alone.output.sqnr ?? Infinity;
  return linears.reduce((a, b) => (cost(b) < cost(a) ? b : a));
};
