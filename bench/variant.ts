/**
 * One variant of the benchmark, in a process of its own so that its memory is its own: bench/matrix.ts starts it with
 * JSON and talks to it in lines of JSON. It loads, gives its first answer, says what both took, then takes orders.
 */
import { createInterface } from 'node:readline';
import { BertletError, type ErrorCode, type Info, type LoadOptions, load, type Question } from '../src/index.ts';
import { peakBytes } from './environment.ts';
import { type Protocol, Sampler } from './measure.ts';
import { randomIds } from './model.ts';

/** Argument of the process. */
export interface Job {
  readonly model: string;
  readonly options: LoadOptions;
  /** Question of the first answer; without it there is none. */
  readonly question?: string;
  readonly context?: string;
}

/** First line of output. */
export type Hello =
  | { readonly info: Info; readonly load: number; readonly first: number; readonly peakBytes: number }
  | Failure;
/** Last line of output where it cannot go on. */
export type Failure = { readonly error: string; readonly code: ErrorCode };

export type Order =
  /** Answer a question. */
  | { readonly order: 'ask'; readonly asked: Question }
  /** Time so many forwards more, of those that the protocol asks for at this length. */
  | { readonly order: 'turn'; readonly tokens: number; readonly protocol: Protocol; readonly forwards: number }
  /** Mean times of so many forwards in each kind of kernel. */
  | { readonly order: 'stages'; readonly tokens: number; readonly forwards: number };

/** Answer to `turn`: how far the process is. */
export interface State {
  readonly done: boolean;
  readonly warmups: number;
  readonly milliseconds: readonly number[];
  readonly peakBytes: number;
}

/** Answer to `stages`: mean milliseconds of one forward in each kind of kernel. */
export type Stages = Record<string, number>;

const say = (value: object) => console.log(JSON.stringify(value));

async function main({ model, options, question, context }: Job): Promise<void> {
  const begin = performance.now();
  const qa = await load(model, options);
  const loaded = performance.now();
  const most = qa.config.positions / 2; // a token has a character or more: the article's question fits all but tiny models
  if (question && context) await qa.answer({ question: question.slice(0, most), context, stride: 0 });
  const { info } = qa;
  say({ info, load: loaded - begin, first: performance.now() - loaded, peakBytes: peakBytes() } satisfies Hello);

  const forward = (tokens: number) => {
    const input = { inputIds: randomIds(tokens, qa.config), tokenTypeIds: new Int32Array(tokens) };
    return () => qa.logits(input);
  };
  const stages = async (tokens: number, forwards: number): Promise<Stages> => {
    const run = forward(tokens);
    await run();
    const before = { ...qa.info.milliseconds };
    for (let i = 0; i < forwards; i++) await run();
    const mean = ([name, ms = 0]: [string, number | undefined]) => [name, (ms - (before[name] ?? 0)) / forwards];
    return Object.fromEntries(Object.entries(qa.info.milliseconds ?? {}).map(mean));
  };
  const samplers = new Map<string, Sampler>();
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line) as Order;
    if (order.order === 'ask') {
      say(await qa.answer(order.asked));
      continue;
    }
    if (order.order === 'stages') {
      say(await stages(order.tokens, order.forwards));
      continue;
    }
    const { tokens, protocol } = order;
    const key = JSON.stringify([tokens, protocol]);
    if (!samplers.has(key)) samplers.set(key, new Sampler(forward(tokens), protocol, () => performance.now()));
    const sampler = samplers.get(key)!;
    await sampler.turn(order.forwards);
    const { done, warmups, milliseconds } = sampler;
    say({ done, warmups, milliseconds, peakBytes: peakBytes() } satisfies State);
  }
  await qa.dispose();
}

try {
  await main(JSON.parse(process.argv[2]!) as Job);
} catch (error) {
  if (!(error instanceof BertletError)) throw error;
  say({ error: error.message, code: error.code } satisfies Failure);
}
