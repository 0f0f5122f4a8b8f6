/**
 * The article's experiment as a matrix: device x dtype x scheme, on any checkpoint. `bertlet bench --help`
 */
import { mkdir, readFile } from 'node:fs/promises';
import { basename, isAbsolute, join } from 'node:path';
import { QUESTION, TEXT } from '../bench/article.ts';
import { environment } from '../bench/environment.ts';
import { decode, fileError } from '../bench/files.ts';
import type { MatrixOptions } from '../bench/matrix.ts';
import { randomCheckpoint } from '../bench/model.ts';
import type { Result } from '../bench/result.ts';
import { SHAPES } from '../bench/shapes.ts';
import { download } from './folder.ts';
import { type Io, printer } from './io.ts';
import { stepBar } from './progress.ts';
import type { Accuracy } from './report/bench.ts';
import { checkWritable, writeWhole } from './write.ts';

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
async function openModel(
  { model, shape }: BenchOptions,
  io: Io,
): Promise<{ folder: string; name: string; remove: () => void }> {
  if (shape) return { ...randomCheckpoint(SHAPES[shape]!), name: `${shape}'s shape, random weights` };
  const { folder } = await download(model, io);
  return { folder, name: folder === model ? basename(model) : model, remove: () => {} };
}

/** The call with these arguments, without the folders above a file. */
function command(argv: readonly string[]): string {
  const args = argv.map((arg) => (isAbsolute(arg) ? basename(arg) : arg));
  const program = import.meta.filename.endsWith('.ts') ? ['npm run bench', '--'] : ['npx bertlet bench'];
  return (args.length > 0 ? [...program, ...args] : program.slice(0, 1)).join(' ');
}

/** Runs the matrix on the model, in processes that end with this one, however it ends. */
async function measure(options: BenchOptions, command: string, io: Io): Promise<Result> {
  const { device: devices, dtype: dtypes, scheme: schemes, tokens, threads, warmups, samples, seconds } = options;
  const { runMatrix } = await import('../bench/matrix.ts');
  const { folder, name, remove } = await openModel(options, io);
  const { onProgress, stop } = stepBar(io);
  return runMatrix({
    ...{ folder, name, command, devices, dtypes, schemes, tokens, ...(threads && { threads }), onProgress },
    ...{ protocol: { warmups, samples, seconds }, sweep: Boolean(options.sweep || options.report) },
    ...{ question: QUESTION, context: TEXT },
  }).finally(() => {
    stop();
    remove();
  });
}

/** Runs `bertlet bench`; `argv` is what it was called with. */
export async function run(options: BenchOptions, argv: readonly string[], io: Io): Promise<void> {
  const evaluation = options.evaluation ? await readEvaluation(options.evaluation) : undefined;
  if (typeof options.json === 'string') await checkWritable(options.json);
  if (options.report) await mkdir(options.report, { recursive: true });
  const { busyLine, textOf } = await import('../bench/text.ts');
  const busy = busyLine(environment());
  if (busy) io.stderr.write(`${busy}\n`);
  const result = await measure(options, command(argv), io);
  const json = JSON.stringify(result, null, 2);
  const files: [string, string][] = typeof options.json === 'string' ? [[options.json, json]] : [];
  if (options.report) {
    const { reportPage } = await import('./report/bench.ts');
    files.push([join(options.report, 'index.html'), reportPage(result, evaluation)]);
    files.push([join(options.report, 'results.json'), json]);
  }
  // First: where the reader of what is printed has enough, the program ends.
  for (const [path, text] of files) {
    await writeWhole(path, text, io);
    io.stderr.write(`${path}\n`);
  }
  printer(io.stdout)(options.json === true ? json : textOf(result));
}

/** Reads a file that `bertlet evaluate --json` wrote. */
async function readEvaluation(file: string): Promise<Accuracy> {
  const advice = 'It is what `bertlet evaluate --json FILE` writes.';
  const text = decode(await readFile(file), file);
  const isNumber = Number.isFinite as (value: unknown) => boolean;
  try {
    const { dataset, model, variants } = JSON.parse(text) as Accuracy;
    const numbers = variants.flatMap(({ figures }) => [figures.exact, figures.f1]);
    if (dataset && model && numbers.length > 0 && numbers.every(isNumber)) return { dataset, model, variants };
  } catch {}
  throw fileError(file, 'an evaluation in JSON, with its figures', 'something else', advice);
}
