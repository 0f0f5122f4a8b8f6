/** Variants of a model answer the same questions in turns, and what comes of it. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { inputError } from '../../src/errors.ts';
import { BertletError, type DeviceName, type Dtype, type Info, type Scheme } from '../../src/index.ts';
import type { Environment } from '../environment.ts';
import { Pool, type PoolOptions } from '../pool.ts';
import { nameOf } from '../result.ts';
import { bootstrap, type Interval } from './bootstrap.ts';
import type { Dataset, Question } from './dataset.ts';
import { type Figures, figures, type Prediction, score } from './metric.ts';
import type { Answered, Header, Predictions } from './predictions.ts';

/** Windows and answers as in Hugging Face's run_qa.py. */
export const WINDOWS = { maxTokens: 384, stride: 128, maxAnswerTokens: 30 };
/** Header of predictions that a model makes of a dataset in these windows. */
export const headerOf = ({ name, sha256 }: Header['dataset'], model: Header['model']): Header => ({
  version: 1,
  dataset: { name, sha256 },
  model,
  options: WINDOWS,
});

export interface Variant {
  readonly device: DeviceName;
  readonly dtype: Dtype;
  /** For int8. */
  readonly scheme?: Scheme;
}

/** One that answers questions: a variant of bertlet, or a peer. */
export interface Answerer {
  readonly name: string;
  readonly answer: (question: Question) => Promise<Answered>;
  /** How many questions it answers at the same time. Default 1. */
  readonly workers?: number;
}

/** A variant that is loaded. */
export interface Loaded extends Answerer {
  readonly info: Info;
  readonly dispose: () => Promise<void>;
}

/**
 * Every device with every dtype, and int8 with every scheme.
 * @param stored the scheme of an int8 checkpoint, which is in that one alone
 * @throws BertletError `input` if none is left
 */
export function variantsOf(
  devices: DeviceName[],
  dtypes: Dtype[],
  schemes: Scheme[],
  stored: Scheme | null = null,
): Variant[] {
  const all = devices.flatMap((device) =>
    dtypes.flatMap((dtype): Variant[] =>
      dtype === 'int8' ? schemes.map((scheme) => ({ device, dtype, scheme })) : [{ device, dtype }],
    ),
  );
  const left = all.filter(({ scheme }) => !stored || scheme === stored);
  if (left.length > 0) return left;
  throw inputError('dtype, scheme', `int8 ${stored}, the checkpoint's`, 'others');
}

/** Loads a variant. The best span is what counts, whatever "no answer" has: a threshold is put to it afterwards. */
export async function loadVariant(path: string, variant: Variant, options: PoolOptions): Promise<Loaded> {
  const pool = await Pool.load(path, { ...options, ...variant });
  let ended = 0; // when the pool gave its last answer
  const answer = ({ id, question, context }: Question): Promise<Answered> =>
    pool.use(async (model) => {
      const begin = performance.now();
      let windows = 0;
      const onProgress = ({ done }: { done: number }) => {
        windows = done;
      };
      const input = { question, context, ...WINDOWS, nullThreshold: Number.MAX_VALUE, onProgress };
      const answers = await model.answer(input).catch((error: unknown) => {
        if (!(error instanceof BertletError)) throw error;
        if (error.code === 'input') return error; // what this question is, and not the next
        throw new BertletError(error.code, `question ${id}: ${error.message}`, { cause: error });
      });
      const now = performance.now();
      // Time in which another model was at work is that one's: the sum is the time of the pool.
      const milliseconds = now - Math.max(begin, ended);
      ended = now;
      const about = { windows, milliseconds };
      // The official script gives a question with the answer '' what "no answer" gets, whatever its score.
      if (answers instanceof BertletError) return { text: '', noAnswerScore: 0, ...about, reason: answers.message };
      const { text, nullScore, startLogit, endLogit } = answers[0];
      // float32, as Hugging Face's metric takes it: its thresholds are then ours to the last bit
      return { text, noAnswerScore: Math.fround(nullScore - (startLogit + endLogit)), ...about };
    });
  const { info, models } = pool;
  return { name: nameOf(variant), info, answer, workers: models.length, dispose: () => pool.dispose() };
}

/**
 * Has every answerer answer every question that it has no prediction of, in turns of some questions, so that what else
 * happens on the machine happens to all. Each of their workers first answers one that does not count.
 * @param onAnswer told of every answer
 */
export async function takeTurns(
  answerers: readonly Answerer[],
  questions: readonly Question[],
  predictions: Predictions,
  onAnswer: () => void = () => {},
  turn = 20,
): Promise<void> {
  const warm = new Set<Answerer>();
  for (let begin = 0; begin < questions.length; begin += turn) {
    for (const answerer of answerers) {
      const { name, workers = 1 } = answerer;
      const turns = questions.slice(begin, begin + turn).filter(({ id }) => !predictions.get(name, id));
      if (turns.length > 0 && !warm.has(answerer)) {
        await Promise.all(Array.from({ length: workers }, () => answerer.answer(turns[0]!)));
        warm.add(answerer);
      }
      const one = async (question: Question) => {
        predictions.add(name, question.id, await answerer.answer(question));
        onAnswer();
        await new Promise(setImmediate); // a device that never waits would let no signal through
      };
      await Readable.from(turns).forEach(one, { concurrency: workers });
    }
  }
}

/** Result of one answerer. */
export interface Result {
  name: string;
  figures: Figures;
  /** F1 less that of another on the same questions, in points, with its 95 % interval; missing for that one itself. */
  difference?: { to: string; f1: number } & Interval;
  questionsPerSecond: number;
  windowsPerSecond: number;
  /** Windows of all questions. */
  windows: number;
}

/** Output of `bertlet evaluate --json`. */
export interface Evaluation {
  version: 1;
  environment: Environment & { torch?: string; kernels?: string | undefined; threads?: number };
  /** `questions`: how many were asked, `of` how many. */
  dataset: Pick<Dataset, 'name' | 'sha256' | 'format'> & { questions: number; of: number; seed: number };
  /** The questions of SQuAD 2.0 that have an answer, as SQuAD 1.1. */
  answerable?: true;
  model: Awaited<ReturnType<typeof identify>>;
  threshold?: number;
  /** Questions that count as "no answer" because of an error. */
  unanswered?: { id: string; reason: string }[];
  /** `ratio`: speed against the peer of the same dtype. */
  variants: (Result & Partial<Variant> & { info?: Info; ratio?: number })[];
}

/**
 * The results, each compared with the first whose name says fp32, or else the first.
 * @param threshold of "no answer"; it is for SQuAD 2.0 alone
 */
export function resultsOf(
  names: readonly string[],
  questions: readonly Question[],
  predictions: Predictions,
  { format, threshold, seed }: Pick<Dataset, 'format'> & { threshold: number; seed: number },
): Result[] {
  const answers = questions.map((question) => question.answers);
  const limit = format === '2.0' ? threshold : undefined;
  const of = (name: string) => questions.map(({ id }) => predictions.get(name, id)!);
  const f1 = (said: Prediction[]) => said.map((each, i) => 100 * score(answers[i]!, each, limit).f1);
  const sum = (values: number[]) => values.reduce((total, value) => total + value, 0);
  const base = names.find((name) => name.includes('fp32')) ?? names[0]!;
  const baseF1 = f1(of(base));
  return names.map((name) => {
    const said = of(name);
    const seconds = sum(said.map(({ milliseconds }) => milliseconds)) / 1000;
    const windows = sum(said.map((each) => each.windows));
    const differences = f1(said).map((value, i) => value - baseF1[i]!);
    const difference = { to: base, f1: sum(differences) / differences.length, ...bootstrap(differences, seed) };
    return {
      name,
      figures: figures(answers, said, limit),
      ...(name !== base && { difference }),
      ...{ questionsPerSecond: said.length / seconds, windowsPerSecond: windows / seconds, windows },
    };
  });
}

/** Files of a checkpoint that decide what it answers. */
const MODEL_FILE =
  /^((config|tokenizer|tokenizer_config|model\.safetensors\.index)\.json|vocab\.txt|.+\.(safetensors|bin))$/;

/** Name of a checkpoint's folder, and one hash of all files that decide its answers. */
export async function identify(model: string, folder: string): Promise<{ name: string; sha256: string }> {
  const hash = createHash('sha256');
  for (const file of (await readdir(folder)).filter((name) => MODEL_FILE.test(name)).toSorted()) {
    hash.update(`${file}\n`);
    await pipeline(createReadStream(join(folder, file)), hash, { end: false });
  }
  return { name: folder === model ? basename(resolve(folder)) : model, sha256: hash.digest('hex') };
}
