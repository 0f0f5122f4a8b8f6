/**
 * Measures what a model's answers are worth, and what int8 costs: SQuAD's exact match and F1 of several variants on the
 * same questions. `bertlet evaluate --help`
 */
import { aligned } from '../bench/columns.ts';
import { environment } from '../bench/environment.ts';
import { nameOf } from '../bench/result.ts';
import { answerable, readSquad, sample } from '../bench/squad/dataset.ts';
import { Predictions } from '../bench/squad/predictions.ts';
import {
  type Evaluation,
  headerOf,
  identify,
  type Loaded,
  loadVariant,
  type Result,
  resultsOf,
  takeTurns,
  variantsOf,
} from '../bench/squad/run.ts';
import { inputError, printable } from '../src/errors.ts';
import type { DeviceName, Dtype, OnProgress, Scheme } from '../src/index.ts';
import { download } from './folder.ts';
import { type Io, printer } from './io.ts';
import { rateBar, showLoad } from './progress.ts';
import { checkWritable, writeWhole } from './write.ts';

interface EvaluateOptions {
  model: string;
  device: DeviceName[];
  dtype: Dtype[];
  scheme: Scheme[];
  workers?: number;
  threads?: number;
  limit?: number;
  seed: number;
  threshold?: number;
  answerable?: true;
  documents?: number;
  calibrate?: true;
  predictions?: string;
  json?: string | true;
}

/** The last variant that is asked for; by default what the library does. */
const lastOf = ({ device, dtype, scheme }: EvaluateOptions) => variantsOf(device, dtype, scheme).at(-1)!;
/** Questions without an answer that are told by name; the report has all. */
const NAMED = 10;

/** Runs `bertlet evaluate`. */
export async function run(file: string, options: EvaluateOptions, io: Io): Promise<void> {
  const print = printer(io.stdout);
  const { threads = 1, workers, seed, threshold = 0, limit } = options;
  const begun = environment(); // with the load before this makes its own
  if (typeof options.json === 'string') await checkWritable(options.json);
  if (options.calibrate) {
    const { calibrateOwn } = await import('./documents.ts');
    return calibrateOwn(file, lastOf(options), { ...options, threads, workers, threshold }, io);
  }
  const read = await readSquad(file);
  const dataset = options.answerable ? answerable(read) : read;
  if (options.threshold !== undefined && dataset.format === '1.1') {
    throw inputError('--threshold', 'none where every question has an answer', threshold, 'Leave it out.');
  }
  const questions = sample(dataset.questions, limit ?? dataset.questions.length, seed);

  if (options.documents !== undefined) {
    const { documents } = await import('./documents.ts');
    const others = { ...options, threads, workers, threshold };
    return documents(read, questions, options.documents, lastOf(options), others, io);
  }

  const { folder, checkpoint } = await download(options.model, io);
  const variants = variantsOf(options.device, options.dtype, options.scheme, checkpoint.scheme);
  const model = await identify(options.model, folder);
  const { name, sha256 } = dataset;
  const predictions = new Predictions(options.predictions, headerOf(dataset, model));

  const loaded: Loaded[] = [];
  const format = '{bar} {percentage} % of {total} answers, {rate}/s, {eta_formatted} left'; // of all variants together
  const bar = rateBar(io, format, questions.length * variants.length);
  try {
    for (const variant of variants) {
      const load = (onProgress: OnProgress) => loadVariant(folder, variant, { onProgress, threads, workers });
      loaded.push(await showLoad(io, load));
    }
    const done = variants.flatMap((variant) => questions.map(({ id }) => predictions.get(nameOf(variant), id)));
    bar.start(done.filter((answered) => answered !== undefined).length);
    await takeTurns(loaded, questions, predictions, bar.step);
  } finally {
    bar.stop();
    predictions.close();
    for (const { dispose } of loaded) await dispose();
  }

  const unanswered = questions.flatMap(({ id }) => {
    const reason = variants.map((variant) => predictions.get(nameOf(variant), id)?.reason).find(Boolean);
    return reason ? [{ id, reason }] : [];
  });
  for (const { id, reason } of unanswered.slice(0, NAMED)) {
    io.stderr.write(`question ${printable(id)} counts as "no answer": ${reason}\n`);
  }
  if (unanswered.length > NAMED) io.stderr.write(`... and ${unanswered.length - NAMED} more\n`);
  const results = resultsOf(variants.map(nameOf), questions, predictions, { ...dataset, threshold, seed });
  const report: Evaluation = {
    version: 1,
    environment: begun,
    dataset: { name, sha256, format: dataset.format, questions: questions.length, of: dataset.questions.length, seed },
    ...(options.answerable && { answerable: true }),
    model,
    ...(dataset.format === '2.0' && { threshold }),
    ...(unanswered.length > 0 && { unanswered }),
    variants: results.map((result, i) => ({ ...result, ...variants[i], info: loaded[i]!.info })),
  };
  const text = JSON.stringify(report, null, 2);
  if (options.json === true) {
    print(text);
    return;
  }
  if (options.json !== undefined) {
    await writeWhole(options.json, `${text}\n`, io);
  }
  const of = questions.length < dataset.questions.length ? ` of ${dataset.questions.length}, seed ${seed}` : '';
  print(`${name}, SQuAD ${dataset.format}: ${questions.length} questions${of}; ${model.name}\n`);
  print(table(results));
}

/** A column for each figure that there is, in points. */
function table(results: Result[]): string {
  const percent = (value: number | undefined) => value?.toFixed(2) ?? '';
  const best = ({ figures: { best_f1: f1, best_f1_thresh: at } }: Result) =>
    f1 === undefined ? undefined : `${percent(f1)} at ${percent(at)}`;
  const columns: [string, (result: Result) => string | undefined][] = [
    ['variant', ({ name }) => name],
    ['EM', ({ figures }) => percent(figures.exact)],
    ['F1', ({ figures }) => percent(figures.f1)],
    ['HasAns EM', ({ figures }) => percent(figures.HasAns_exact)],
    ['HasAns F1', ({ figures }) => percent(figures.HasAns_f1)],
    ['NoAns', ({ figures }) => percent(figures.NoAns_f1)],
    ['best F1', (result) => best(result)],
    ['F1 difference', ({ difference }) => difference && percent(difference.f1)],
    ['95 % interval', ({ difference }) => difference && `${percent(difference.low)} to ${percent(difference.high)}`],
    ['questions/s', ({ questionsPerSecond }) => questionsPerSecond.toFixed(1)],
  ];
  const shown = columns
    .map(([head, cell]) => [head, ...results.map((result) => cell(result) ?? '')])
    .filter(([, ...cells]) => cells.some((cell) => cell !== ''));
  const rows = shown[0]!.map((_, i) => shown.map((cells) => cells[i]!));
  return aligned(rows)
    .map((cells) => cells.join('  ').trimEnd())
    .join('\n');
}
