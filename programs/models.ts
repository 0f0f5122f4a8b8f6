/**
 * The models that `bertlet qa` asks and times. One that may be on the GPU has a process of its own, whose stderr is read and kept:
 * Dawn and Vulkan write warnings there, which are worth reading where something fails.
 */
import { extname, join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { type Protocol, Sampler } from '../bench/measure.ts';
import { startChild, takeTurns } from '../bench/turns.ts';
import type { Failure, Hello, Job, Order, State } from '../bench/variant.ts';
import {
  type Answer,
  BertletError,
  type Info,
  type LoadOptions,
  load,
  type Question,
  type QuestionAnswering,
} from '../src/index.ts';

export type Tokens = Parameters<QuestionAnswering['logits']>[0];
type Times = Pick<State, 'done' | 'warmups' | 'milliseconds'>;

export interface Model {
  readonly info: Info;
  answer(asked: Question): Promise<[Answer, ...Answer[]]>;
  /** Times some forwards more of these tokens, of those that the protocol asks for. */
  time(tokens: Tokens, protocol: Protocol, forwards: number): Promise<Times>;
  dispose(): Promise<void>;
}

/** Loads a model in this process. */
export async function loadHere(model: string, options: LoadOptions): Promise<Model> {
  const qa = await load(model, options);
  let sampler: Sampler | undefined;
  return {
    info: qa.info,
    answer: (asked) => qa.answer(asked),
    time: async (tokens, protocol, forwards) => {
      sampler ??= new Sampler(
        () => qa.logits(tokens),
        protocol,
        () => performance.now(),
      );
      for (let i = 0; i < forwards && !sampler.done; i++) {
        await sampler.turn(1);
        await new Promise(setImmediate); // the reference never waits, and would let no signal through
      }
      return sampler;
    },
    dispose: () => qa.dispose(),
  };
}

/** In the sources a .ts, in the package a .js, as this file. */
const VARIANT = join(import.meta.dirname, '../bench', `variant${extname(import.meta.filename)}`);

/**
 * Loads a model in a process of its own.
 * @param onFailure told what the process wrote on stderr, if it fails
 */
export async function loadApart(
  model: string,
  options: LoadOptions,
  onFailure: (said: string) => void,
): Promise<Model> {
  const job: Job = { model, options };
  const child = startChild(String(options.device), process.execPath, [VARIANT, JSON.stringify(job)]);
  const heard = async <T extends object>(saying: Promise<T | Failure>): Promise<T> => {
    const said = await saying;
    if (!('error' in said)) return said;
    await child.end();
    onFailure(child.said());
    throw new BertletError(said.code, said.error);
  };
  const order = <T extends object>(order: Order) => heard(child.ask<T | Failure>(JSON.stringify(order)));
  const { info } = await heard(child.next<Exclude<Hello, Failure> | Failure>());
  return {
    info,
    answer: (asked) => order({ order: 'ask', asked }),
    time: ({ inputIds }, protocol, forwards) =>
      order<State>({ order: 'turn', tokens: inputIds.length, protocol, forwards }),
    dispose: () => child.end(),
  };
}

/** Forwards of a turn, and the rest between two turns: threads spin for 50 µs after a forward. */
const [TURN, REST] = [10, 20];

/**
 * Has the models take turns, so that what else happens on the machine happens to all of them.
 * @param onProgress told how many forwards of how many are done
 */
export async function timeInTurns(
  models: readonly Model[],
  tokens: Tokens,
  protocol: Protocol,
  onProgress: (done: number, total: number) => void,
): Promise<Times[]> {
  const each = protocol.warmups + protocol.samples;
  const times: Times[] = [];
  const turn = async (model: Model, i: number) => {
    times[i] = await model.time(tokens, protocol, TURN);
    const done = times.map(({ done, warmups, milliseconds }) => (done ? each : warmups + milliseconds.length));
    onProgress(
      done.reduce((sum, count) => sum + count, 0),
      each * models.length,
    );
    return !times[i].done;
  };
  await takeTurns(
    models.map((model, i) => () => turn(model, i)),
    REST,
  );
  return times;
}
