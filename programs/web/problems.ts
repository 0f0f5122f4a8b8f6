/** Errors in words: a title and what happened; and what the page can do about it. */
import { EngineError } from './engine.ts';
import type { Settings } from './protocol.ts';

export interface Problem {
  title: string;
  text: string;
}

const TITLES: Partial<Record<EngineError['code'], string>> = {
  input: 'This cannot be asked',
  file: 'A file cannot be read',
  safetensors: 'This is no safetensors file that can be read',
  tokenizer: 'This tokenizer is not BERT’s',
  config: 'This is not a model that bertlet runs',
  weights: 'This is not a model that bertlet runs',
  device: 'This device cannot be used',
};
const MEMORY = /out of memory|allocation|no memory|of memory/i;
/** Words of Chromium, Firefox and Safari for a fetch without network; navigator.onLine often does not know. */
const NETWORK = /failed to fetch|networkerror|load failed/i;

/** Advice of the page instead of the engine's, which is for programs. */
const ADVICE: [pattern: RegExp, advice: string][] = [
  [/^question: expected at most/, 'A question is never cut: shorten it.'],
  [/status 40[13]/, 'Its owner lets only some read it: download its files and choose them below.'],
  [/status 404/, 'Check the name.'],
];
/** Options, variables and commands: nothing of a page. */
const OF_PROGRAMS = /`|\b(HF_\w+|npm|stride|revision)\b/;

/** Code is in backticks in a program's messages; a page has none of it. */
export const withoutTicks = (text: string): string => text.replaceAll('`', '');

/** A message without the advice that a visitor cannot follow: `<what>: expected <this>, got <that>` always stays. */
function withoutAdvice(message: string): string {
  const [fact = '', ...advice] = message.replace('a folder here or a', 'a').split(/(?<=\.)\s+(?=[A-Z])/);
  return withoutTicks([fact, ...advice.filter((sentence) => !OF_PROGRAMS.test(sentence))].join(' '));
}

export function inWords(error: unknown): Problem {
  const { message: whole } = error as Error;
  const message = withoutAdvice(whole);
  const code = error instanceof EngineError ? error.code : 'unknown';
  if (MEMORY.test(whole)) {
    return { title: 'There is not enough memory', text: `Close other tabs, or take a smaller model. (${message})` };
  }
  if (NETWORK.test(whole)) {
    const advice = 'Are you offline? This model is not kept on this machine yet: load it when there is a network.';
    return { title: 'The network cannot be reached', text: `${advice} (${message})` };
  }
  const advice = ADVICE.find(([pattern]) => pattern.test(whole))?.[1];
  const title = code === 'device' && /lost/.test(whole) ? 'The GPU was lost' : TITLES[code];
  return { title: title ?? 'Something went wrong', text: advice ? `${message} ${advice}` : message };
}

/** Actions of a button: go to a field, try again, or load otherwise. */
export type Cure = 'question' | 'passage' | 'again' | 'int8' | 'one thread' | 'cpu' | 'embedded';

/** The ways out of an error that make sense as things are set. */
export function cures(
  error: unknown,
  { device, dtype, threads }: Settings,
  { embedded }: { embedded: boolean },
): Cure[] {
  const { message } = error as Error;
  if (/^question and context:/.test(message)) return ['passage'];
  if (/^question:/.test(message)) return ['question'];
  const all: [Cure, boolean][] = [
    ['again', true],
    ['int8', MEMORY.test(message) && dtype !== 'int8'],
    ['one thread', device === 'cpu' && threads > 1 && /thread/.test(message)],
    ['cpu', device !== 'cpu'],
    ['embedded', !embedded],
  ];
  return all.filter(([, sensible]) => sensible).map(([cure]) => cure);
}

const WEIGHTS = ['model.safetensors', 'pytorch_model.bin'];

/** @throws EngineError `file` that names all that a model's files lack: the engine names one file after another */
export function checkFiles(names: readonly string[]): void {
  const has = (...any: string[]) => any.some((name) => names.includes(name));
  const needed: [what: string, there: boolean][] = [
    ['config.json', has('config.json')],
    [WEIGHTS.join(' or '), has(...WEIGHTS, ...WEIGHTS.map((name) => `${name}.index.json`))],
    ['tokenizer.json, vocab.txt or vocab.json', has('tokenizer.json', 'vocab.txt', 'vocab.json')],
    ['merges.txt', !has('vocab.json') || has('tokenizer.json', 'merges.txt')],
    ['tokenizer_config.json', has('tokenizer.json', 'tokenizer_config.json')],
  ];
  const lacks = needed.flatMap(([what, there]) => (there ? [] : what)).join(', ');
  const advice = 'Choose all the files of a model together.';
  if (lacks) throw new EngineError('file', `files: expected ${lacks} as well, got ${names.join(', ')}. ${advice}`);
}
