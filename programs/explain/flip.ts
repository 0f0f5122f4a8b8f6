/**
 * Why two right programs give two scores: two runs of the int8 model side by side, to the first integer that one of them
 * rounds the other way, and on to the logits. Floats may be added up in any order, so they differ in their last bits; where
 * one lies next to the border between two integers, that is enough. Runs wherever the engine does.
 */
import { inColumns } from '../../bench/columns.ts';
import { inputError } from '../../src/errors.ts';
import { type Checkpoint, type Device, type HostTensor, quantizeActivations } from '../../src/tensor.ts';
import { place, traced } from './explain.ts';
import { nameOf, percent, short } from './text.ts';
import type { LinearCall } from './trace.ts';

/** The input of a linear, as a run of the int8 model (scheme `torch`) made integers of it. */
interface TracedInput {
  readonly linear: string;
  readonly features: number;
  readonly scale: number;
  readonly zeroPoint: number;
  /** [tokens, in] */
  readonly integers: Uint8Array;
  /** The activation itself, if the trace has it. */
  readonly x: (at: number) => number | null;
}

export interface Trace {
  /** In the order of the forward; in any, if they are read from a file. */
  readonly inputs: readonly TracedInput[];
  /** [tokens, 2] */
  readonly logits: Float32Array;
}

/** One run at the first integer that differs. */
interface Side {
  readonly x: number | null;
  /** x times the reciprocal of the scale, in float32: what is rounded. */
  readonly quotient: number | null;
  readonly scale: number;
  readonly zeroPoint: number;
  readonly integer: number;
}

/** Two runs compared. Numbers, strings, arrays and objects only. */
export interface Flip {
  readonly tokens: number;
  /** Null where all integers are equal. */
  readonly first: {
    readonly linear: string;
    readonly token: number;
    readonly feature: number;
    readonly sides: readonly [Side, Side];
    /** The number between the two that is as far from one integer as from the other, in the first run's scale. */
    readonly border: number;
  } | null;
  /** For the input of each linear: how many integers there are, how many differ, and by how much at most. */
  readonly growth: readonly {
    readonly linear: string;
    readonly integers: number;
    readonly different: number;
    readonly most: number;
  }[];
  /** The largest difference of a logit. */
  readonly logits: number;
  readonly answers: readonly [Best, Best];
}
interface Best {
  readonly text: string;
  readonly score: number;
}

/**
 * Runs the int8 model, scheme `torch`, on a device and keeps the input of every linear.
 * @param device is disposed of
 */
export async function traceOf(
  checkpoint: Checkpoint,
  input: { question: string; context: string },
  device: Device,
): Promise<Trace> {
  const calls: LinearCall[] = [];
  await traced(checkpoint, input, device, 'torch', (call) => void calls.push(call));
  const inputs = calls.map(({ names, x }): TracedInput => {
    const { data, scale, zeroPoint } = quantizeActivations(x, 'torch');
    const one = { scale: scale[0]!, zeroPoint: zeroPoint[0]!, integers: data };
    return { linear: nameOf(place(names)), features: x.shape[1]!, ...one, x: (at) => x.data[at]! };
  });
  return { inputs, logits: calls.at(-1)!.y.data };
}

/** Reads what test/golden/make_trace.py wrote of PyTorch's run; it has the activations near a border alone. */
export function readTrace(tensors: ReadonlyMap<string, HostTensor>): Trace {
  const data = <A>(name: string) => {
    const tensor = tensors.get(name);
    if (!tensor) throw inputError('trace', `a tensor ${name}, as test/golden/make_trace.py writes it`, 'none');
    return tensor.data as A;
  };
  const names = [...tensors.keys()].filter((name) => name.endsWith('/xq')).map((name) => name.slice(0, -'/xq'.length));
  const inputs = names.map((name): TracedInput => {
    const places = data<Int32Array>(`${name}/at`);
    const values = data<Float32Array>(`${name}/x`);
    const near = new Map(Array.from(places, (at, i) => [at, values[i]!]));
    const stacked = name.endsWith('.query')
      ? ['query', 'key', 'value'].map((part) => name.replace(/query$/, part))
      : [name];
    return {
      linear: nameOf(place(stacked)),
      features: tensors.get(`${name}/xq`)!.shape[1]!,
      scale: data<Float32Array>(`${name}/scale`)[0]!,
      zeroPoint: data<Int32Array>(`${name}/zeroPoint`)[0]!,
      integers: data<Uint8Array>(`${name}/xq`),
      x: (at) => near.get(at) ?? null,
    };
  });
  return { inputs, logits: data<Float32Array>('logits') };
}

/**
 * The best span and its score, as `answer` has them for one window.
 * @param logits [tokens, 2]
 */
export function bestOf(
  checkpoint: Checkpoint,
  { question, context }: { question: string; context: string },
  logits: Float32Array,
): Best {
  const { sequence, offsets } = checkpoint.tokenizer.encodePair(question, context);
  const among = [0, ...sequence.flatMap((part, token) => (part === 1 ? [token] : []))]; // no answer, or the passage
  const [start, end] = [0, 1].map((which) => among.map((token) => logits[2 * token + which]!)) as [number[], number[]];
  let best = [0, 0] as [number, number];
  for (let j = 1; j < among.length; j++) {
    for (let i = Math.max(1, j - 29); i <= j; i++) {
      if (start[i]! + end[j]! > start[best[0]]! + end[best[1]]!) best = [i, j];
    }
  }
  const share = (values: number[], at: number) =>
    1 / values.reduce((sum, value) => sum + Math.exp(value - values[at]!), 0);
  const text = best[1] === 0 ? '' : context.slice(offsets[among[best[0]]!]![0], offsets[among[best[1]]!]![1]);
  return { text, score: share(start, best[0]) * share(end, best[1]) };
}

const sideOf = ({ x, scale, zeroPoint, integers }: TracedInput, at: number): Side => {
  const value = x(at);
  const quotient = value === null ? null : Math.fround(value * Math.fround(1 / scale));
  return { x: value, quotient, scale, zeroPoint, integer: integers[at]! };
};

/** Compares two runs of one question; the other is no file's. */
export function compareTraces(
  checkpoint: Checkpoint,
  input: { question: string; context: string },
  one: Trace,
  other: Trace,
): Flip {
  if (one.logits.length !== other.logits.length) {
    const [tokens, got] = [one, other].map(({ logits }) => `${logits.length / 2} tokens`) as [string, string];
    throw inputError('trace', `one of this question, of ${tokens}`, got, "PyTorch's is of the article's question.");
  }
  let first: Flip['first'] = null;
  const growth = other.inputs.map((theirs) => {
    const input = one.inputs.find(({ linear }) => linear === theirs.linear)!;
    const [a, b] = [input.integers, theirs.integers];
    let [different, most] = [0, 0];
    for (let at = 0; at < a.length; at++) {
      if (a[at] === b[at]) continue;
      different++;
      most = Math.max(most, Math.abs(a[at]! - b[at]!));
      if (first) continue;
      const sides = [sideOf(input, at), sideOf(theirs, at)] as const;
      const border = (Math.min(a[at]!, b[at]!) + 0.5 - input.zeroPoint) * input.scale;
      const [token, feature] = [Math.floor(at / input.features), at % input.features];
      first = { linear: input.linear, token, feature, sides, border };
    }
    return { linear: input.linear, integers: a.length, different, most };
  });
  const logits = one.logits.reduce((most, value, at) => Math.max(most, Math.abs(value - other.logits[at]!)), 0);
  const answers = [bestOf(checkpoint, input, one.logits), bestOf(checkpoint, input, other.logits)] as const;
  return { tokens: one.logits.length / 2, first, growth, logits, answers };
}

/** Output of `bertlet explain --flip`. */
export function flipText({ tokens, first, growth, logits, answers }: Flip, names: readonly [string, string]): string {
  const percentOf = ({ different, integers }: Flip['growth'][0]) => percent(different / integers);
  const said = answers.map(({ text, score }, i) => {
    return `${names[i]}: ${text === '' ? 'no answer' : JSON.stringify(text)}, score ${score.toFixed(3)}`;
  });
  const ends = [`logits: ${short(logits)} apart at most`, ...said].join('\n');
  const title = `${tokens} tokens, int8 torch: ${names.join(' beside ')}`;
  if (!first) return `${title}\nall integers of all linears are equal\n${ends}`;
  const [{ zeroPoint, scale }] = first.sides;
  const rows = first.sides.map(({ x, quotient, integer, ...own }, i) => [
    names[i]!,
    x?.toPrecision(9) ?? 'unknown',
    own.scale.toPrecision(9),
    quotient?.toPrecision(9) ?? 'unknown',
    String(integer - own.zeroPoint),
    String(integer),
  ]);
  const border = ['border', first.border.toPrecision(9), '', (first.border / scale).toPrecision(9), '', ''];
  const head = ['', 'x', 'scale', 'x / scale', 'rounded', `+ ${zeroPoint}`];
  const table = inColumns([head, ...rows, border]);
  const lines = inColumns([
    ['', 'integers', 'differ', '', 'by at most'],
    ...growth.map((one) => [
      one.linear,
      ...[one.integers.toLocaleString('en'), one.different.toLocaleString('en'), percentOf(one), String(one.most)],
    ]),
  ]);
  const where = `input of ${first.linear}, token ${first.token}, feature ${first.feature}: the first integer that differs`;
  return [title, '', where, table, '', lines, '', ends].join('\n');
}
