/** Options that several commands share. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { buffer as readAll } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { QUESTION, TEXT } from '../bench/article.ts';
import { decode } from '../bench/files.ts';
import { inputError } from '../src/errors.ts';
import type { Io } from './io.ts';

/** A positive integer. */
export const positive = (text: string): number => {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError('Expected a positive integer.');
};

/** An integer that may be 0. */
export const natural = (text: string): number => (/^\s*0+\s*$/.test(text) ? 0 : positive(text));

export const finite = (text: string): number => {
  if (text.trim() !== '' && Number.isFinite(Number(text))) return Number(text);
  throw new InvalidArgumentError('Expected a number.');
};

export const DEVICES = ['cpu', 'webgpu', 'reference', 'auto'];
export const DTYPES = ['fp32', 'fp16', 'int8'];
export const SCHEMES = ['torch', 'accurate'];
/** An option that takes one of a few names. */
export const choice = (flags: string, description: string, names: readonly string[]): Option =>
  new Option(flags, description).choices(names);

/** The checkpoint that comes with the repository. The npm package has none: `checkModel` asks for one. */
const embedded = fileURLToPath(new URL('../weights/minilm-l6-qa', import.meta.url));
export const model = () => {
  const option = new Option('--model <dir>', 'folder of the checkpoint, or owner/name on the Hugging Face Hub');
  return existsSync(embedded) ? option.default(embedded, 'weights/minilm-l6-qa') : option;
};

/** Nothing is downloaded that was not asked for. @throws BertletError `input` where a command has no model and takes one */
export function checkModel(called: Command): void {
  const { model, shape } = called.opts<Record<string, string | undefined>>();
  if (model || shape || !called.options.some(({ long }) => long === '--model')) return;
  const expected = 'a folder, or owner/name on the Hugging Face Hub';
  const command = `bertlet ${called.name()} --model deepset/bert-base-cased-squad2`;
  const advice = `No model comes with the package. \`${command}\` downloads one of 411 MB, once.`;
  throw inputError('--model', expected, 'none', advice);
}

export const threads = () =>
  new Option('--threads <n>', 'cpu: number of threads; default one for each core').argParser(positive);

export const workers = () =>
  new Option(
    '--workers <n>',
    'questions at a time, each by a model of its own; default cpu: cores / threads',
  ).argParser(positive);
export const workerThreads = () =>
  new Option('--threads <n>', 'cpu: threads of each worker').argParser(positive).default(1);

/** The scheme of int8; `otherwise` is the one where neither the option nor the checkpoint says one. */
export const scheme = (otherwise: string) =>
  choice('--scheme <name>', `int8 only; default ${otherwise}, or an int8 checkpoint's own`, SCHEMES);

/** A question and its passage, as `addQuestion` takes them: both, or neither for the article's. */
export interface QuestionOptions {
  question?: string;
  context?: string;
  contextFile?: string;
}

export const addQuestion = (command: Command): Command =>
  command
    .addOption(new Option('--question <text>').default(undefined, "the article's"))
    .addOption(
      new Option('--context <text>', 'the passage').default(undefined, "the article's").conflicts('contextFile'),
    )
    .option('--context-file <file>', 'the passage, from a file; - for standard input')
    .hook('preAction', (called) => {
      const { question, contextFile, context = contextFile } = called.opts<QuestionOptions>();
      if ((question === undefined) === (context === undefined)) return;
      const [given, lacks] = question === undefined ? ['a passage', 'a question'] : ['a question', 'a passage'];
      called.error(`error: expected --question with --context or --context-file, got ${given} without ${lacks}`);
    });

export const questionOf = async (
  options: QuestionOptions,
  { stdin }: Io,
): Promise<Record<'question' | 'context', string>> => {
  const { question = QUESTION, contextFile: file } = options;
  let context = options.context ?? TEXT;
  const place = file === '-' ? 'standard input' : (file ?? '--context');
  if (!question.trim()) throw inputError('--question', 'words', 'none');
  if (file !== undefined) context = decode(await (file === '-' ? readAll(stdin) : readFile(file)), place);
  if (!context.trim()) throw inputError(place, 'a passage', 'an empty one');
  return { question, context };
};

/** An option that takes some of a few names, by commas; all of them by default, or these. */
export const list = (flags: string, description: string, names: string[], defaults = names): Option =>
  new Option(flags, `${description}: ${names.join(', ')}`)
    .argParser((text) => {
      const given = text.split(',');
      if (given.every((name, i) => names.includes(name) && given.indexOf(name) === i)) return given;
      throw new InvalidArgumentError(`Allowed are ${names.join(', ')}, each once, with commas between.`);
    })
    .default(defaults, defaults.join(','));
