/** What went wrong, in words: a title and what to do; the engine's own message has the details. */
import { EngineError } from './engine.ts';

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

export function inWords(error: unknown): Problem {
  const message = (error as Error).message.replaceAll('`', '');
  const code = error instanceof EngineError ? error.code : 'unknown';
  if (/out of memory|allocation|no memory|of memory/i.test(message)) {
    const advice = 'Close other tabs, or take a smaller model, or int8.';
    return { title: 'There is not enough memory', text: `${advice} (${message})` };
  }
  // What Chromium, Firefox and Safari say of a fetch without network; navigator.onLine often does not know.
  if (/failed to fetch|networkerror|load failed/i.test(message)) {
    const advice = 'Are you offline? This model is not kept on this machine yet: load it when there is a network.';
    return { title: 'The network cannot be reached', text: `${advice} (${message})` };
  }
  if (code === 'device' && /lost/.test(message)) return { title: 'The GPU was lost', text: message };
  return { title: TITLES[code] ?? 'Something went wrong', text: message };
}

const WEIGHTS = ['model.safetensors', 'pytorch_model.bin'];

/** What a model's files lack, or null. */
export function missing(names: readonly string[]): string | null {
  const has = (...any: string[]) => any.some((name) => names.includes(name));
  const lacks = [
    !has('config.json') && 'config.json',
    !has(...WEIGHTS, ...WEIGHTS.map((name) => `${name}.index.json`)) && WEIGHTS.join(' or '),
    !has('tokenizer.json', 'vocab.txt', 'vocab.json') && 'tokenizer.json, vocab.txt or vocab.json',
    has('vocab.json') && !has('tokenizer.json', 'merges.txt') && 'merges.txt',
    !has('tokenizer.json', 'tokenizer_config.json') && 'tokenizer_config.json',
  ].filter((what) => what !== false);
  if (lacks.length === 0) return null;
  return `files: expected ${lacks.join(', ')} as well, got ${names.join(', ')}. Choose all the files of a model together.`;
}
