/** Options that several commands share. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { QUESTION, TEXT } from './article.ts';
import type { Io } from './io.ts';

/** A positive integer. */
export const positive = (text: string): number => {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError('Expected a positive integer.');
};

/** The checkpoint that comes with the repository; the npm package has none, and takes the article's model. */
const embedded = fileURLToPath(new URL('../weights/minilm-l6-qa', import.meta.url));
export const modelOption = () =>
  new Option('--model <dir>', 'folder of the checkpoint, or owner/name on the Hugging Face Hub').default(
    existsSync(embedded) ? embedded : 'deepset/bert-base-cased-squad2',
  );

export const threadsOption = () =>
  new Option('--threads <n>', 'cpu: number of threads; default one for each core').argParser(positive);

export const workersOption = () =>
  new Option(
    '--workers <n>',
    'questions at a time, each by a model of its own; default cpu: cores / threads',
  ).argParser(positive);
export const workerThreadsOption = () =>
  new Option('--threads <n>', 'cpu: threads of each worker').argParser(positive).default(1);

/** A question and its passage, as `addQuestion` takes them. */
export interface QuestionOptions {
  question: string;
  context: string;
  contextFile?: string;
}

export const addQuestion = (command: Command): Command =>
  command
    .addOption(new Option('--question <text>').default(QUESTION, "the article's"))
    .addOption(new Option('--context <text>', 'the passage').default(TEXT, "the article's").conflicts('contextFile'))
    .option('--context-file <file>', 'the passage, from a file in UTF-8; - for standard input');

export const questionOf = async ({ question, context, contextFile }: QuestionOptions, { stdin }: Io) => ({
  question,
  context: contextFile === '-' ? await readAll(stdin) : contextFile ? await readFile(contextFile, 'utf8') : context,
});

/** An option that takes some of a few names, by commas; all of them by default, or these. */
export const listOption = <N extends string>(
  flags: string,
  description: string,
  names: N[],
  defaults = names,
): Option =>
  new Option(flags, `${description}: ${names.join(', ')}`)
    .argParser((text) => {
      const given = text.split(',') as N[];
      if (given.every((name, i) => names.includes(name) && given.indexOf(name) === i)) return given;
      throw new InvalidArgumentError(`Allowed are ${names.join(', ')}, each once, with commas between.`);
    })
    .default(defaults, defaults.join(','));
