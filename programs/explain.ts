/**
 * What dynamic quantization does to one question, linear by linear: a table, JSON, or a page with histograms.
 * `bertlet explain --help`
 */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SingleBar } from 'cli-progress';
import { openCheckpoint, openRuntime } from '../src/tensor.ts';
import { explain } from './explain/explain.ts';
import { explainText } from './explain/text.ts';
import { type Io, printer } from './io.ts';
import { type QuestionOptions, questionOf } from './options.ts';
import { progressBars, stopOf } from './progress.ts';
import { checkWritable, writeWhole } from './write.ts';

interface ExplainOptions extends QuestionOptions {
  model: string;
  device: 'cpu' | 'reference';
  report?: string;
  flip?: string | true;
  json?: boolean;
}

/** Whether a path is that of the page, and not of its folder: by its name, or as a pipe or a device is there. */
const isFile = (path: string): boolean => path.endsWith('.html') || (existsSync(path) && !statSync(path).isDirectory());

/** Runs `bertlet explain`. */
export async function run(options: ExplainOptions, io: Io): Promise<void> {
  const print = printer(io.stdout);
  const input = await questionOf(options, io);
  const { report } = options;
  const file = report && (isFile(report) ? report : join(report, 'explain.html'));
  if (file) {
    mkdirSync(dirname(file), { recursive: true });
    await checkWritable(file);
  }
  const { onProgress, stop } = progressBars(io);
  const open = async () => openCheckpoint(options.model, { onProgress });
  const checkpoint = await open().finally(stop);
  if (options.flip) {
    const { runFlip } = await import('./flip.ts');
    const other = options.flip === true ? 'reference' : options.flip;
    return runFlip({ checkpoint, input, device: options.device, other, json: options.json }, io).finally(
      checkpoint.close,
    );
  }
  const bar = new SingleBar({
    format: '{bar} {value} of {total} linears',
    stream: io.stderr,
    clearOnComplete: true,
  });
  const stopBar = stopOf(bar);
  if (io.stderr.isTTY) bar.start(0, 0);
  const onLinear = async ({ done, total }: { done: number; total: number }) => {
    bar.setTotal(total);
    bar.update(done);
    await new Promise(setImmediate); // the reference never waits, and would let no signal through
  };
  const explanation = await explain(
    checkpoint,
    input,
    async () => (await openRuntime(options.device)).device,
    onLinear,
  ).finally(() => {
    stopBar();
    checkpoint.close();
  });
  if (file) {
    const { explainPage } = await import('./report/explain.ts'); // Plot: only where it is asked for
    await writeWhole(file, explainPage(explanation, options.device), io);
    if (!options.json) print(`${file}\n`);
  }
  print(options.json ? JSON.stringify(explanation, null, 2) : explainText(explanation, options.device));
}
