/** bertlet's public API. */
import { type Backend, BertletError, type Scheme } from './backend.ts';
import { ReferenceBackend } from './backends/reference.ts';
import { Bert, parseConfig } from './bert.ts';
import { readSafetensors } from './checkpoint/safetensors.ts';
import { QuestionAnswering } from './qa.ts';
import { Tokenizer, type TokenizerJson } from './tokenizer.ts';

export { BertletError, type ErrorCode, type Scheme } from './backend.ts';
export type { Answer, Info, Question, QuestionAnswering } from './qa.ts';
export { type Encoding, type PairEncoding, Tokenizer, type TokenizerOptions } from './tokenizer.ts';

export interface LoadOptions {
  /** `reference`: plain TypeScript, exact and slow. `auto`: the fastest there is; `info.reason` says why. Default. */
  device?: 'reference' | 'auto';
  /** How the linears compute. Default int8. */
  dtype?: 'fp32' | 'int8';
  /** For int8: `torch` is PyTorch's quantize_dynamic, `accurate` has finer scales (quantize.ts). Default torch. */
  scheme?: Scheme;
  /** Told of each file while it loads. */
  onProgress?: (progress: { file: string; loaded: number; total: number }) => void;
}

/** Devices by name: adding one is adding a line. */
const DEVICES: Record<Exclude<LoadOptions['device'], undefined | 'auto'>, () => Promise<Backend<unknown>>> = {
  reference: async () => new ReferenceBackend() as Backend<unknown>,
};

/**
 * Loads a BERT question answering checkpoint from a folder with config.json, model.safetensors, and tokenizer.json or
 * vocab.txt (with tokenizer_config.json).
 * @throws BertletError `file` where one is missing; `config`, `safetensors`, `weights`, `tokenizer` where its content
 * is not what it should be; `input` or `device` where the options cannot be met.
 */
export async function load(folder: string, options: LoadOptions = {}): Promise<QuestionAnswering> {
  const { device = 'auto', dtype = 'int8', scheme = 'torch', onProgress } = options;
  oneOf('device', device, ['auto', ...Object.keys(DEVICES)]);
  oneOf('dtype', dtype, ['fp32', 'int8']);
  oneOf('scheme', scheme, ['torch', 'accurate']);

  const config = parseConfig(json(await readFile(folder, 'config.json')), `${folder}/config.json`);
  const tokenizer = await loadTokenizer(folder);
  if (tokenizer.vocabSize > config.vocab) {
    const message = `expected at most ${config.vocab} tokens (vocab_size in config.json), got ${tokenizer.vocabSize}`;
    throw new BertletError('tokenizer', `${folder}: ${message}. Use the checkpoint's own vocabulary.`);
  }
  const file = await readFile(folder, 'model.safetensors', onProgress);
  const tensors = readSafetensors(file.bytes, file.name);

  const chosen = device === 'auto' ? 'reference' : device;
  const backend = await DEVICES[chosen]();
  const bert = new Bert(backend, config, tensors, dtype === 'fp32' ? dtype : scheme);
  return new QuestionAnswering(tokenizer, bert, backend, {
    device: chosen,
    dtype,
    ...(dtype === 'int8' && { scheme }),
    weightBytes: bert.weightBytes,
    ...(device === 'auto' && { reason: `${chosen} is the fastest of the devices here` }),
  });
}

function oneOf(option: string, value: string, allowed: string[]): void {
  if (allowed.includes(value)) return;
  throw new BertletError('input', `${option}: expected ${allowed.join(', ')}, got ${JSON.stringify(value)}.`);
}

/** tokenizer.json, or else vocab.txt with what tokenizer_config.json says of it. */
async function loadTokenizer(folder: string): Promise<Tokenizer> {
  const whole = await readFile(folder, 'tokenizer.json').catch(() => null);
  if (whole) return Tokenizer.fromJson(json(whole) as TokenizerJson);
  const vocab = await readFile(folder, 'vocab.txt');
  const config = json(await readFile(folder, 'tokenizer_config.json'));
  return Tokenizer.fromVocab(new TextDecoder().decode(vocab.bytes), {
    lowercase: (config.do_lower_case as boolean | undefined) ?? true,
    stripAccents: config.strip_accents as boolean | null,
    chineseChars: (config.tokenize_chinese_chars as boolean | undefined) ?? true,
  });
}

interface File {
  name: string;
  bytes: Uint8Array;
}

async function readFile(folder: string, name: string, onProgress?: LoadOptions['onProgress']): Promise<File> {
  const { readFile } = await import('node:fs/promises');
  const path = `${folder}/${name}`;
  try {
    const bytes = await readFile(path);
    onProgress?.({ file: name, loaded: bytes.length, total: bytes.length });
    return { name: path, bytes };
  } catch (cause) {
    const message = `${path}: expected a readable file (${(cause as Error).message}).`;
    throw new BertletError('file', `${message} A checkpoint is a folder as Hugging Face saves it.`, { cause });
  }
}

function json({ name, bytes }: File): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {}
  throw new BertletError('config', `${name}: expected a JSON object. The file is damaged.`);
}
