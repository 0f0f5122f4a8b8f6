/**
 * Measures what a model's answers are worth, and what int8 costs: SQuAD's exact match and F1 of several variants on the
 * same questions. `bertlet evaluate --help`
 */
import { access, constants } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { SingleBar } from 'cli-progress';
import { type Command, InvalidArgumentError } from 'commander';
import { environment } from '../bench/environment.ts';
import { nameOf } from '../bench/result.ts';
import { readSquad, sample } from '../evaluation/dataset.ts';
import { Predictions } from '../evaluation/predictions.ts';
import {
  identify,
  type Loaded,
  loadVariant,
  type Result,
  resultsOf,
  takeTurns,
  variantsOf,
  WINDOWS,
} from '../evaluation/run.ts';
import { locate } from '../src/hub.ts';
import type { Device, Dtype, Scheme } from '../src/index.ts';
import { listOption, modelOption, positive, threadsOption } from './options.ts';
import { progressBars } from './progress.ts';
import { writeWhole } from './write.ts';

interface EvaluateOptions {
  model: string;
  device: Device[];
  dtype: Dtype[];
  scheme: Scheme[];
  threads?: number;
  limit?: number;
  seed: number;
  threshold: number;
  predictions?: string;
  json?: string | true;
}

async function run(file: string, options: EvaluateOptions): Promise<void> {
  const { threads, seed, threshold, limit } = options;
  const begun = environment(); // with the load before this makes its own
  // What cannot be written is said before the work, not after it.
  if (typeof options.json === 'string') await access(dirname(options.json), constants.W_OK);
  const dataset = await readSquad(file);
  const questions = sample(dataset.questions, limit ?? dataset.questions.length, seed);
  const variants = variantsOf(options.device, options.dtype, options.scheme);

  const download = progressBars();
  const folder = await locate(options.model, download).finally(download.stop);
  const model = await identify(options.model, folder);
  const { name, sha256 } = dataset;
  const predictions = new Predictions(options.predictions, {
    version: 1,
    dataset: { name, sha256 },
    model,
    options: { ...WINDOWS, threads: threads ?? availableParallelism() },
  });

  const loaded: Loaded[] = [];
  const bar = progressBar(questions.length * variants.length);
  try {
    for (const variant of variants) {
      const { onProgress, stop } = progressBars();
      loaded.push(await loadVariant(folder, variant, { onProgress, ...(threads && { threads }) }).finally(stop));
    }
    const done = variants.flatMap((variant) => questions.map(({ id }) => predictions.get(nameOf(variant), id)));
    bar.start(done.filter((answered) => answered !== undefined).length);
    await takeTurns(loaded, questions, predictions, bar.step);
  } finally {
    bar.stop();
    predictions.close();
    for (const { dispose } of loaded) await dispose();
  }

  const results = resultsOf(variants.map(nameOf), questions, predictions, { ...dataset, threshold, seed });
  const report = {
    version: 1,
    environment: begun,
    dataset: { name, sha256, format: dataset.format, questions: questions.length, of: dataset.questions.length, seed },
    model,
    ...(dataset.format === '2.0' && { threshold }),
    variants: results.map((result, i) => ({ ...result, ...variants[i], info: loaded[i]!.info })),
  };
  const text = JSON.stringify(report, null, 2);
  if (options.json === true) {
    console.log(text);
    return;
  }
  if (options.json !== undefined) {
    await writeWhole(options.json, `${text}\n`);
  }
  const of = questions.length < dataset.questions.length ? ` of ${dataset.questions.length}, seed ${seed}` : '';
  console.log(`${name}, SQuAD ${dataset.format}: ${questions.length} questions${of}; ${model.name}\n`);
  console.log(table(results));
}

/** On a terminal: how far all variants are together, how fast, and how long it will take. */
function progressBar(total: number) {
  const format = '{bar} {percentage} % of {total} answers, {rate}/s, {eta_formatted} left';
  const stream = process.stderr;
  const bar = new SingleBar({ format, stream, noTTYOutput: false, clearOnComplete: true, etaBuffer: 200 });
  let [count, begin] = [0, 0];
  return {
    start: (done: number) => {
      begin = performance.now();
      if (stream.isTTY) bar.start(total, done, { rate: '-' });
    },
    step: () => {
      count++;
      if (stream.isTTY) bar.increment(1, { rate: ((count / (performance.now() - begin)) * 1000).toFixed(1) });
    },
    stop: () => bar.stop(),
  };
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
  const widths = shown.map((cells) => Math.max(...cells.map((cell) => cell.length)));
  const row = (i: number) =>
    shown
      .map((cells, column) => (column === 0 ? cells[i]!.padEnd(widths[0]!) : cells[i]!.padStart(widths[column]!)))
      .join('  ');
  return Array.from({ length: results.length + 1 }, (_, i) => row(i).trimEnd()).join('\n');
}

const finite = (text: string): number => {
  if (text.trim() !== '' && Number.isFinite(Number(text))) return Number(text);
  throw new InvalidArgumentError('Expected a number.');
};

/** Adds `bertlet evaluate`. */
export function addEvaluate(program: Command): void {
  program
    .command('evaluate')
    .description("SQuAD's exact match and F1 of one model in several precisions, side by side, and their speed.")
    .argument('<squad>', "a file of SQuAD 1.1 or 2.0, in the official format's JSON")
    .addOption(modelOption())
    .addOption(listOption('--device <list>', 'some of', ['cpu', 'webgpu', 'reference'], ['cpu']))
    .addOption(listOption('--dtype <list>', 'some of, fp16 for webgpu', ['fp32', 'fp16', 'int8'], ['fp32', 'int8']))
    .addOption(listOption('--scheme <list>', 'int8, some of', ['torch', 'accurate']))
    .addOption(threadsOption())
    .option(
      '--limit <n>',
      'only so many questions: with and without an answer as in the file, of all articles',
      positive,
    )
    .option('--seed <n>', 'of the sample and of the bootstrap', positive, 1)
    .option('--threshold <x>', 'SQuAD 2.0: "no answer" where its score exceeds the best span\'s by more', finite, 0)
    .option('--predictions <file>', 'keep each answer there; run again to go on where it was stopped')
    .option('--json [file]', 'print one JSON object instead, or write it to a file as well')
    .addHelpText(
      'after',
      `
Examples:
  $ bertlet evaluate dev-v2.0.json --limit 200
  $ bertlet evaluate dev-v2.0.json --predictions dev.jsonl --json dev.json
  $ bertlet evaluate dev-v1.1.json --model deepset/bert-base-cased-squad2 --dtype fp32,int8 --scheme torch

The F1 difference is to fp32, with the 95 % interval of a paired bootstrap over the questions (10,000 resamples).`,
    )
    .action(run);
}
