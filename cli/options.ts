/** Options that several commands share. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { InvalidArgumentError, Option } from 'commander';

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
