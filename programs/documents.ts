/** `bertlet evaluate --documents` and `--calibrate`: what answers are worth on whole documents, and on one's own questions. */
import { aligned } from '../bench/columns.ts';
import { Pool } from '../bench/pool.ts';
import { calibrate, type Own, readOwn, reliability, temperatureOf } from '../bench/squad/calibrate.ts';
import type { Dataset, Question } from '../bench/squad/dataset.ts';
import { documentsOf, tryWays, WAY_NAMES } from '../bench/squad/documents.ts';
import { score } from '../bench/squad/metric.ts';
import type { Variant } from '../bench/squad/run.ts';
import { type Io, printer } from './io.ts';
import { rateBar, showLoad } from './progress.ts';

interface Options {
  readonly model: string;
  readonly threads: number;
  readonly workers: number | undefined;
  readonly seed: number;
  readonly threshold: number;
}

const FORMAT = '{bar} {percentage} % of {total} answers, {rate}/s, {eta_formatted} left';
const percent = (value: number) => value.toFixed(1);

/** Runs something with models of a variant, and shows how far it is. */
async function withPool<T>(
  { model, threads, workers }: Options,
  variant: Variant,
  total: number,
  io: Io,
  run: (pool: Pool, onAnswer: () => void) => Promise<T>,
): Promise<T> {
  const pool = await showLoad(io, (onProgress) => Pool.load(model, { ...variant, threads, workers, onProgress }));
  const bar = rateBar(io, FORMAT, total);
  bar.start(0);
  try {
    return await run(pool, () => bar.step());
  } finally {
    bar.stop();
    await pool.dispose();
  }
}

/** Has several ways answer the questions of a dataset, each asked of `size` paragraphs of its article; 0: of all. The seed moves documents. */
export async function documents(
  { name, questions: all }: Dataset,
  questions: readonly Question[],
  size: number,
  variant: Variant,
  options: Options,
  io: Io,
): Promise<void> {
  const print = printer(io.stdout);
  const total = questions.length * WAY_NAMES.length;
  const found = documentsOf(all, size, options.seed - 1);
  const results = await withPool(options, variant, total, io, (pool, onAnswer) =>
    tryWays(pool, questions, found, { ...options, onAnswer }),
  );
  const paragraphs = size === 0 ? 'all paragraphs' : `${size} paragraphs`;
  print(`${name}: ${questions.length} questions to ${paragraphs} of an article, threshold ${options.threshold}\n`);
  const head = ['way', 'windows', 'F1', 'difference', '95 % interval', 'HasAns', 'NoAns', 'tuned', 'asked'];
  const rows = results.map(({ name: way, windows, f1, difference, hasAnswer, noAnswer, tuned, asked }) => [
    way,
    windows.toFixed(2),
    percent(f1),
    percent(difference.f1),
    `${percent(difference.low)} to ${percent(difference.high)}`,
    ...[hasAnswer, noAnswer, tuned, asked].map(percent),
  ]);
  for (const cells of aligned([head, ...rows])) print(cells.join('  '));
  print(
    '\nall are F1. tuned: with the threshold of the other half; asked: where there is an answer and one must be given',
  );
}

/** Prints the threshold that is best on questions of one's own, and how often `confidence` is right. */
export async function calibrateOwn(file: string, variant: Variant, options: Options, io: Io): Promise<void> {
  const print = printer(io.stdout);
  const own = await readOwn(file);
  const answered = await withPool(options, variant, own.length, io, (pool, onAnswer) =>
    Promise.all(own.map((one) => pool.use((model) => answer(one)(model)).finally(onAnswer))),
  );
  const answers = own.map((one) => one.answers);
  const { threshold, interval, f1 } = calibrate(answers, answered, options.seed);
  const now = answered.map((one, i) => 100 * score(answers[i]!, one, options.threshold).f1);
  print(`${own.length} questions, ${answers.filter(({ length }) => length > 0).length} with an answer`);
  print(`F1 ${percent(now.reduce((a, b) => a + b, 0) / now.length)} with nullThreshold ${options.threshold}`);
  print(
    `F1 ${percent(f1)} with nullThreshold ${threshold.toFixed(2)} (95 % interval ${interval.low.toFixed(2)} to ${interval.high.toFixed(2)})\n`,
  );
  const judged = answered.map(({ confidence, text, noAnswerScore }, i) => ({
    confidence: noAnswerScore > 0 ? 1 - confidence : confidence,
    margin: Math.abs(noAnswerScore),
    right: score(answers[i]!, { text, noAnswerScore }, 0).f1 >= 0.5,
  }));
  const { bins, error } = reliability(judged);
  const rows = bins.map(({ low, count, confidence, right }) => [
    `${low.toFixed(1)} to ${(low + 0.1).toFixed(1)}`,
    `${count}`,
    confidence.toFixed(2),
    right.toFixed(2),
  ]);
  for (const cells of aligned([['confidence', 'answers', 'in the mean', 'right'], ...rows])) print(cells.join('  '));
  const temperature = temperatureOf(judged);
  const then = reliability(
    judged.map((one) => ({ ...one, confidence: 1 / (1 + Math.exp(-one.margin / temperature)) })),
  );
  print(
    `\nexpected calibration error ${percent(100 * error)} %; ${percent(100 * then.error)} % with confidence_temperature ${temperature.toFixed(1)} in config.json`,
  );
}

const answer =
  ({ question, context }: Own) =>
  async (model: Pool['models'][number]) => {
    const [{ text, confidence, nullScore, startLogit, endLogit }] = await model.answer({
      ...{ question, context },
      nullThreshold: Number.MAX_VALUE,
    });
    return { text, confidence, noAnswerScore: nullScore - (startLogit + endLogit) };
  };
