/** Opens a checkpoint folder: config.json, model.safetensors or pytorch_model.bin, tokenizer.json or vocab.txt. */

import type { BertConfig, Weights } from '../bert.ts';
import { BertletError, inputError } from '../errors.ts';
import { quantizeWeight } from '../quantize.ts';
import type { HostTensor, LinearWeight, Scheme } from '../runtime.ts';
import { Tokenizer } from '../tokenizer.ts';
import { checkTensors, parseConfig, tensorShapes } from './config.ts';
import { pytorchEntries } from './pytorch.ts';
import { headerLength, parseHeader, type TensorEntry, toFloat16, toFloat32, viewTensor } from './safetensors.ts';
import { type OnProgress, openFile, readFile, type WholeFile } from './source.ts';

export interface Checkpoint {
  readonly config: BertConfig;
  readonly tokenizer: Tokenizer;
  /** For a checkpoint whose linears are int8: how they were quantized. */
  readonly scheme: Scheme | null;
  /** Reads one tensor; it is good until the next is read. */
  readonly tensor: (name: string) => HostTensor;
  /** Closes the file. */
  readonly close: () => void;
}

/**
 * Opens a checkpoint folder and checks what it holds.
 * @throws BertletError `file` where a file is missing; `config`, `safetensors`, `weights` or `tokenizer` where its
 * content is not a BERT question answering model's.
 */
export async function openCheckpoint(folder: string, onProgress?: OnProgress): Promise<Checkpoint> {
  const config = parseConfig(json(await readFile(`${folder}/config.json`)), `${folder}/config.json`);
  const tokenizer = await openTokenizer(folder);
  if (tokenizer.vocabSize > config.vocab) {
    const message = `expected at most ${config.vocab} tokens (vocab_size in config.json), got ${tokenizer.vocabSize}`;
    throw new BertletError('tokenizer', `${folder}: ${message}. Use the checkpoint's own vocabulary.`);
  }
  const weights = await openWeights(folder, onProgress);
  try {
    return { config, tokenizer, scheme: checkTensors(config, weights.entries), ...weights };
  } catch (error) {
    weights.close();
    throw error;
  }
}

/** Opens model.safetensors, or else pytorch_model.bin, to read its tensors one by one. */
async function openWeights(folder: string, onProgress?: OnProgress) {
  let path = `${folder}/model.safetensors`;
  const file = await openFile(path, onProgress).catch(async (missing: unknown) => {
    path = `${folder}/pytorch_model.bin`;
    return openFile(path, onProgress).catch(() => {
      throw missing;
    });
  });
  const { total, read, close } = file;
  try {
    const entries = new Map<string, TensorEntry>();
    const found = path.endsWith('.bin')
      ? pytorchEntries(file, path)
      : parseHeader(read(8, 8 + headerLength(read(0, Math.min(8, total)), total, path)), total, path);
    // Checkpoints converted from TensorFlow's have its names, which Hugging Face renames as well.
    for (const [name, entry] of found)
      entries.set(name.replace(/\.gamma$/, '.weight').replace(/\.beta$/, '.bias'), entry);
    const tensor = (name: string) => {
      const entry = entries.get(name)!;
      return viewTensor(entry, read(entry.begin, entry.end));
    };
    return { entries, tensor, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** What the linears' weights are: float32, float16, or int8 by one of the two schemes. */
export type Precision = 'fp32' | 'fp16' | Scheme;

/**
 * A checkpoint's tensors as the model computes with them: widened to float32, the linears' weights in this precision.
 * Those of an int8 checkpoint are taken as they are, which is its own precision only.
 */
export function weightsOf(
  { config, scheme = null, tensor: read }: Pick<Checkpoint, 'config' | 'tensor'> & Partial<Pick<Checkpoint, 'scheme'>>,
  precision: Precision,
): Weights {
  const shapes = tensorShapes(config);
  if (scheme && scheme !== precision) throw inputError('precision', `${scheme}, the checkpoint's`, precision);
  let made: ArrayBufferLike[] = [];
  const keep = <A extends LinearWeight['data']>(data: A): A => {
    made.push(data.buffer);
    return data;
  };
  return (name) => {
    for (const buffer of made) (buffer as ArrayBuffer).transfer(0); // good until the next is asked for, and freed then
    made = [];
    const { linear } = shapes.get(name)!;
    // Read first: a tensor is good until the next is read.
    const scale = linear && scheme ? toFloat32(read(`${name}_scale`), `${name}_scale`).slice() : null;
    const tensor = read(name);
    const { shape } = tensor;
    if (scale && scheme) {
      finite(`${name}_scale`, scale);
      const each = scale.length > 1 ? scale : new Float32Array(shape[0]!).fill(scale[0]!);
      return { dtype: 'I8', shape, data: tensor.data as Int8Array, scale: each, scheme };
    }
    const data =
      tensor.dtype === 'I8' ? dequantized(tensor as HostTensor<Int8Array>, read, name) : toFloat32(tensor, name);
    if (data !== tensor.data) keep(data);
    finite(name, data);
    const float32 = { dtype: 'F32', shape, data } as const;
    if (precision === 'fp32' || !linear) return float32;
    if (precision === 'fp16' && tensor.dtype === 'F16') return tensor as HostTensor<Uint16Array>;
    const converted = precision === 'fp16' ? toFloat16(float32, name) : quantizeWeight(float32, precision);
    keep(converted.data);
    return converted;
  };
}

function finite(name: string, values: Float32Array): void {
  let sum = 0;
  for (const value of values) sum += 0 * value; // NaN for good once a value is not finite: ten times as fast as `every`
  if (sum === 0) return;
  throw new BertletError('weights', `${name}: expected finite values, got NaN or Infinity. The file is damaged.`);
}

/** float32 of int8 rows with a scale each. */
function dequantized({ shape, data }: HostTensor<Int8Array>, read: Checkpoint['tensor'], name: string): Float32Array {
  const values = Float32Array.from(data);
  const scales = toFloat32(read(`${name}_scale`), `${name}_scale`);
  const columns = shape.at(-1)!;
  for (let i = 0; i < values.length; i++) values[i]! *= scales[Math.floor(i / columns)]!;
  return values;
}

/** What bertlet reads of a tokenizer.json. */
export interface TokenizerJson {
  model?: {
    type?: string;
    vocab: Record<string, number>;
    unk_token?: string;
    continuing_subword_prefix?: string;
    max_input_chars_per_word?: number;
  };
  normalizer?: {
    type?: string;
    clean_text?: boolean;
    lowercase: boolean;
    strip_accents: boolean | null;
    handle_chinese_chars: boolean;
  };
  pre_tokenizer?: { type?: string };
  added_tokens?: {
    id: number;
    content: string;
    normalized?: boolean;
    single_word?: boolean;
    lstrip?: boolean;
    rstrip?: boolean;
  }[];
}

/**
 * The tokenizer that a tokenizer.json describes.
 * @throws BertletError `tokenizer` where that is not BERT's.
 */
export function tokenizerFromJson(json: TokenizerJson): Tokenizer {
  const { model, normalizer, pre_tokenizer: splitter, added_tokens: added = [] } = json;
  const expect = (what: string, expected: unknown, got: unknown): void => {
    if (expected === got) return;
    const message = `tokenizer.json: expected ${what} ${JSON.stringify(expected)}, got ${JSON.stringify(got)}.`;
    throw new BertletError('tokenizer', `${message} bertlet has BERT's tokenizer only.`);
  };
  expect('model.type', 'WordPiece', model?.type);
  expect('model.unk_token', '[UNK]', model?.unk_token);
  expect('model.continuing_subword_prefix', '##', model?.continuing_subword_prefix);
  expect('model.max_input_chars_per_word', 100, model?.max_input_chars_per_word);
  expect('normalizer.type', 'BertNormalizer', normalizer?.type);
  expect('normalizer.clean_text', true, normalizer?.clean_text);
  expect('pre_tokenizer.type', 'BertPreTokenizer', splitter?.type);
  for (const { content, ...flags } of added) {
    for (const flag of ['normalized', 'single_word', 'lstrip', 'rstrip'] as const) {
      expect(`${flag} of added token ${content}`, false, flags[flag] ?? false);
    }
  }
  const vocab = new Map([...Object.entries(model!.vocab), ...added.map(({ content, id }) => [content, id] as const)]);
  return new Tokenizer(vocab, {
    lowercase: normalizer!.lowercase,
    stripAccents: normalizer!.strip_accents,
    chineseChars: normalizer!.handle_chinese_chars,
    addedTokens: added.map(({ content }) => content),
  });
}

/** From tokenizer.json, or else from vocab.txt and what tokenizer_config.json says of it. */
async function openTokenizer(folder: string): Promise<Tokenizer> {
  const whole = await readFile(`${folder}/tokenizer.json`).catch(() => null);
  if (whole) return tokenizerFromJson(json(whole) as TokenizerJson);
  const vocab = await readFile(`${folder}/vocab.txt`);
  const config = json(await readFile(`${folder}/tokenizer_config.json`));
  return Tokenizer.fromVocab(new TextDecoder().decode(vocab.bytes), {
    lowercase: (config.do_lower_case as boolean | undefined) ?? true,
    stripAccents: config.strip_accents as boolean | null,
    chineseChars: (config.tokenize_chinese_chars as boolean | undefined) ?? true,
  });
}

function json({ name, bytes }: WholeFile): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {}
  throw new BertletError('config', `${name}: expected a JSON object. The file is damaged.`);
}
