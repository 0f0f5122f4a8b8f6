/**
 * Effects of dynamic quantization on one question, linear by linear: a table, JSON, or a page with charts and the microscope.
 * `bertlet explain --help`
 */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { inputError } from '../src/errors.ts';
import { type Checkpoint, openCheckpoint, openRuntime } from '../src/tensor.ts';
import { type Explanation, explain, place, worst } from './explain/explain.ts';
import { beginning, type Slide, slideOf } from './explain/microscope.ts';
import { explainText, nameOf } from './explain/text.ts';
import { type Io, printer } from './io.ts';
import { type QuestionOptions, questionOf } from './options.ts';
import { showLoad, stepBar } from './progress.ts';
import { checkWritable, writeWhole } from './write.ts';

interface ExplainOptions extends QuestionOptions {
  model: string;
  device: 'cpu' | 'reference';
  report?: string;
  microscope?: string;
  flip?: string | true;
  json?: boolean;
}

/** Whether a path is that of the page, and not of its folder: by its name, or as a pipe or a device is there. */
const isFile = (path: string): boolean => path.endsWith('.html') || (existsSync(path) && !statSync(path).isDirectory());

/** Place that the report's microscope looks at: `layer 0 output:47:68`, or where there is most to see. */
async function specimen(
  checkpoint: Checkpoint,
  { question, context, linears, answers }: Explanation,
  { device, microscope }: ExplainOptions,
): Promise<[Slide, { token: number; output: number }]> {
  const names = linears.flatMap((linear) => linear.names);
  const [linear, ...numbers] = microscope?.split(':') ?? [];
  const name = microscope ? names.find((one) => nameOf(place([one])) === linear) : worst(linears, 'torch').names[0];
  const wrong = (expected: string) => inputError('--microscope', expected, JSON.stringify(microscope));
  if (!name) throw wrong(`the name of a linear, from layer 0 query to ${names.at(-1)}, before :TOKEN:OUTPUT`);
  const slide = await slideOf(checkpoint, { question, context }, (await openRuntime(device)).device, name);
  if (!microscope) return [slide, beginning(slide, answers.fp32.noAnswer ? -1 : answers.fp32.start)];
  const [token = -1, output = -1] = numbers.map((number) => (/^\d+$/.test(number) ? Number(number) : -1));
  const [tokens, out] = [slide.tokens.length, slide.bias.length];
  const fits = numbers.length === 2 && token >= 0 && token < tokens && output >= 0 && output < out;
  if (!fits) throw wrong(`${linear}:TOKEN:OUTPUT, a token below ${tokens} and an output feature below ${out}`);
  return [slide, { token, output }];
}

/** Runs `bertlet explain`. */
export async function run(options: ExplainOptions, io: Io): Promise<void> {
  const print = printer(io.stdout);
  const input = await questionOf(options, io);
  const { report } = options;
  if (options.microscope && !report) throw inputError('--microscope', '--report as well', 'none');
  const file = report && (isFile(report) ? report : join(report, 'explain.html'));
  if (file) {
    mkdirSync(dirname(file), { recursive: true });
    await checkWritable(file);
  }
  const checkpoint = await showLoad(io, (onProgress) => openCheckpoint(options.model, { onProgress }));
  using _opened = { [Symbol.dispose]: checkpoint.close };
  if (options.flip) {
    const { runFlip } = await import('./flip.ts');
    const other = options.flip === true ? 'reference' : options.flip;
    return await runFlip({ checkpoint, input, device: options.device, other, json: options.json }, io);
  }
  const bar = stepBar(io);
  const onLinear = async ({ done, total }: { done: number; total: number }) => {
    bar.onProgress('linears', done, total);
    await new Promise(setImmediate); // the reference never waits, and would let no signal through
  };
  const start = async () => (await openRuntime(options.device)).device;
  const explanation = await explain(checkpoint, input, start, onLinear).finally(bar.stop);
  if (file) {
    const { explainPage } = await import('./report/explain.ts'); // Plot: only where it is asked for
    const seen = await specimen(checkpoint, explanation, options);
    await writeWhole(file, explainPage(explanation, options.device, ...seen), io);
    if (!options.json) print(`${file}\n`);
  }
  print(options.json ? JSON.stringify(explanation, null, 2) : explainText(explanation, options.device));
}
