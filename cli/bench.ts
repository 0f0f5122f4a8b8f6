/**
 * The article's experiment as a matrix: device x dtype x scheme, on any checkpoint. `bertlet bench --help`
 */
import { access, constants, mkdir, readFile } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { SingleBar } from 'cli-progress';
import { type Command, Option } from 'commander';
import type { MatrixOptions } from '../bench/matrix.ts';
import { randomCheckpoint, SHAPES } from '../bench/model.ts';
import type { Evaluation } from '../bench/report.ts';
import { locate } from '../src/hub.ts';
import { BertletError } from '../src/index.ts';
import { QUESTION, TEXT } from './article.ts';
import { listOption, modelOption, positive, threadsOption } from './options.ts';
import { progressBars } from './progress.ts';
import { writeWhole } from './write.ts';

interface BenchOptions {
  model: string;
  shape?: string;
  device: MatrixOptions['devices'];
  dtype: MatrixOptions['dtypes'];
  scheme: MatrixOptions['schemes'];
  tokens: number[];
  threads?: number;
  warmups: number;
  samples: number;
  seconds: number;
  sweep?: boolean;
  report?: string;
  evaluation?: string;
  json?: string | true;
}

/** The model's folder, and what to call it: a folder's path is nobody's business. */
async function openModel({
  model,
  shape,
}: BenchOptions): Promise<{ folder: string; name: string; remove: () => void }> {
  if (shape) return { ...randomCheckpoint(SHAPES[shape]!), name: `${shape}'s shape, random weights` };
  const { onProgress, stop } = progressBars();
  const folder = await locate(model, { onProgress }).finally(stop);
  return { folder, name: folder === model ? basename(model) : model, remove: () => {} };
}

/** A bar on a terminal; elsewhere nothing. */
function progress(): { onProgress: NonNullable<MatrixOptions['onProgress']>; stop: () => void } {
  if (!process.stderr.isTTY) return { onProgress: () => {}, stop: () => {} };
  const bar = new SingleBar({ format: '{bar} {value}/{total} {what}', hideCursor: true, clearOnComplete: true });
  bar.start(1, 0, { what: '' });
  process.once('exit', () => bar.stop()); // Ctrl-C: the cursor comes back
  return {
    onProgress: (what, done, total) => {
      bar.setTotal(total);
      bar.update(done, { what });
    },
    stop: () => bar.stop(),
  };
}

/** This call, without the folders above a file. */
function command(): string {
  const args = process.argv.slice(3).map((arg) => (isAbsolute(arg) ? basename(arg) : arg));
  const program = import.meta.filename.endsWith('.ts') ? ['npm run bench', '--'] : ['npx bertlet bench'];
  return (args.length > 0 ? [...program, ...args] : program.slice(0, 1)).join(' ');
}

async function run(options: BenchOptions): Promise<void> {
  const { device: devices, dtype: dtypes, scheme: schemes, tokens, threads, warmups, samples, seconds } = options;
  const evaluation = options.evaluation ? await readEvaluation(options.evaluation) : undefined;
  // What cannot be written is said before the work, not after it.
  if (typeof options.json === 'string') await access(dirname(options.json), constants.W_OK);
  if (options.report) await mkdir(options.report, { recursive: true });
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
  ] as const) {
    process.once(signal, () => process.exit(128 + number)); // so that what listens to `exit` is heard: processes, folders
  }
  const { runMatrix } = await import('../bench/matrix.ts');
  const { folder, name, remove } = await openModel(options);
  const { onProgress, stop } = progress();
  const result = await runMatrix({
    ...{ folder, name, command: command(), devices, dtypes, schemes, tokens, ...(threads && { threads }), onProgress },
    ...{ protocol: { warmups, samples, seconds }, sweep: Boolean(options.sweep || options.report) },
    ...{ question: QUESTION, context: TEXT },
  }).finally(() => {
    stop();
    remove();
  });
  const json = JSON.stringify(result, null, 2);
  const { textOf } = await import('../bench/text.ts');
  console.log(options.json === true ? json : textOf(result));
  const files: [string, string][] = typeof options.json === 'string' ? [[options.json, json]] : [];
  if (options.report) {
    const { reportPage } = await import('../bench/report.ts');
    files.push([join(options.report, 'index.html'), reportPage(result, evaluation)]);
    files.push([join(options.report, 'results.json'), json]);
  }
  for (const [path, text] of files) {
    await writeWhole(path, text);
    console.error(path);
  }
}

/** What `bertlet evaluate --json` wrote. */
async function readEvaluation(file: string): Promise<Evaluation> {
  const advice = 'It is what `bertlet evaluate --json FILE` writes.';
  const text = await readFile(file, 'utf8');
  try {
    const evaluation = JSON.parse(text) as Evaluation;
    if (evaluation.dataset && evaluation.model && Array.isArray(evaluation.variants)) return evaluation;
  } catch {}
  throw new BertletError('file', `${file}: expected an evaluation in JSON, got something else. ${advice}`);
}

/** Adds `bertlet bench`. */
export function addBench(program: Command): void {
  program
    .command('bench')
    .description('Times the model on every device, in every dtype and scheme, each in a process of its own, in turns.')
    .addOption(modelOption())
    .addOption(
      new Option('--shape <name>', 'instead of a model: seeded random weights of this shape')
        .choices(Object.keys(SHAPES))
        .conflicts('model'),
    )
    .addOption(listOption('--device <list>', 'some of', ['cpu', 'webgpu']))
    .addOption(listOption('--dtype <list>', 'some of, fp16 for webgpu', ['fp32', 'fp16', 'int8']))
    .addOption(listOption('--scheme <list>', 'int8, some of', ['torch', 'accurate']))
    .addOption(
      new Option('--tokens <list>', 'lengths of the input')
        .argParser((text) => text.split(',').map(positive))
        .default([133], "133, the article's"),
    )
    .addOption(threadsOption())
    .option('--warmups <n>', 'forwards of each row that are not counted', positive, 10)
    .option('--samples <n>', 'forwards of each row that are', positive, 100)
    .option('--seconds <n>', 'time for a row: a slow one has fewer samples, and says how many', positive, 30)
    .option('--sweep', 'measure also over 16 to 512 tokens, over threads, and by stage, with a fifth of the samples')
    .option('--report <dir>', 'sweep, and write a page of charts, index.html, with results.json')
    .option('--evaluation <file>', 'what `bertlet evaluate --json FILE` wrote, for the page')
    .option('--json [file]', 'print one JSON object instead, with all samples, or write it to a file as well')
    .addHelpText(
      'after',
      `
Examples:
  $ bertlet bench
  $ bertlet bench --report out/
  $ bertlet bench --model deepset/bert-base-cased-squad2 --device cpu --tokens 16,133,384
  $ bertlet bench --shape bert-base-cased --json > bench.json`,
    )
    .action(run);
}
