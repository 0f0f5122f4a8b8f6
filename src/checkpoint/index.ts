/** Opens a checkpoint: config.json, tokenizer.json or vocab.txt, and the files of the weights. */

import type { BertConfig, FamilyName, Weights } from '../bert.ts';
import { BertletError, fault, inputError, messageOf } from '../errors.ts';
import { type Files, filesAt, type OpenFile, type OpenOptions, readWhole, type WholeFile } from '../files/index.ts';
import { preview } from '../options.ts';
import { textOf } from '../platform.ts';
import { quantizeWeight } from '../quantize.ts';
import type { Device, HostTensor, LinearWeight, Scheme } from '../runtime.ts';
import { CLASSES, readMerges, readVocab, type TokenizerFiles, tokenizerOf } from '../text/json.ts';
import { Tokenizer } from '../text/tokenizer.ts';
import { checkTensors, FAMILIES, parseConfig, renamed, tensorShapes } from './config.ts';
import { pytorchEntries } from './pytorch.ts';
import { headerLength, parseHeader, type TensorEntry, toFloat16, toFloat32, viewTensor } from './safetensors.ts';

/** An open checkpoint: its sizes, its tokenizer, and access to its tensors. */
export interface Checkpoint {
  readonly config: BertConfig;
  readonly tokenizer: Tokenizer;
  /** How the linears of an int8 checkpoint were quantized; null for a float checkpoint. */
  readonly scheme: Scheme | null;
  /** Reads one tensor. The tensor is valid until the next read. */
  readonly tensor: (name: string) => HostTensor;
  /** The dtype of a tensor, without reading it. */
  readonly dtype: (name: string) => TensorEntry['dtype'];
  /** Closes the file of the weights. */
  readonly close: () => void;
}

/** The files of the weights, the best first. An index names the files that share the tensors. */
export const WEIGHTS = ['model.safetensors', 'pytorch_model.bin'].flatMap((name) => [name, `${name}.index.json`]);

/**
 * Opens a checkpoint and checks its contents: config.json, the tokenizer, and the weights last, so that a model that
 * cannot run is refused before its weights are fetched.
 * @param from a folder's path or address, or `Files`
 * @throws BertletError `file` if a file is missing; `config`, `safetensors`, `weights` or `tokenizer` if the content of
 * a file is not that of a BERT question answering model
 */
export async function openCheckpoint(from: string | URL | Files, options: OpenOptions = {}): Promise<Checkpoint> {
  const files = filesAt(from);
  const { config, tokenizer } = await openDescription(files, options);
  const { entries, ...weights } = await openWeights(config, files, options);
  try {
    const dtype = (name: string) => entries.get(name)!.dtype;
    return { config, tokenizer, scheme: checkTensors(config, entries), dtype, ...weights };
  } catch (error) {
    weights.close();
    throw error;
  }
}

/** Reads and checks config.json. Its errors are those of `openCheckpoint`. */
export const readConfig = async (files: Files): Promise<BertConfig> => (await readModel(files)).config;

async function readModel(files: Files, { signal }: OpenOptions = {}) {
  const file = await needed(files, 'config.json', { signal });
  const model = json(file);
  return { model, config: parseConfig(model, file.name) };
}

/** Reads and checks all but the weights, which are so large that they come last. Its errors are those of `openCheckpoint`. */
export async function openDescription(
  files: Files,
  { signal }: OpenOptions = {},
): Promise<Pick<Checkpoint, 'config' | 'tokenizer'>> {
  const { model, config } = await readModel(files, { signal });
  const tokenizer = await openTokenizer(files, model, config.family, { signal });
  if (tokenizer.vocabSize > config.vocab) {
    const message = `expected at most ${config.vocab} tokens (vocab_size in config.json), got ${tokenizer.vocabSize}`;
    throw new BertletError('tokenizer', `${files.name}: ${message}. Use the checkpoint's own vocabulary.`);
  }
  const types = Math.max(...tokenizer.encodePair('', '').typeIds) + 1;
  if (config.types > 0 && types > config.types) {
    const message = `expected at most ${config.types} token types (type_vocab_size in config.json), got ${types}`;
    throw new BertletError('tokenizer', `${files.name}: ${message}. Use the checkpoint's own tokenizer.`);
  }
  // RoBERTa does not count padding in its positions, and here every token has the next. A long word is unknown to WordPiece.
  const padding = (config.firstPosition ?? 0) - 1;
  if (tokenizer.encodePair('', 'x'.repeat(1000)).ids.includes(padding)) {
    const expected = 'pad_token_id in config.json to be that of no other special token';
    throw fault('config', files.name, expected, padding, "Use the checkpoint's own config.json.");
  }
  return { config, tokenizer };
}

const missing = (files: Files, name: string) =>
  fault('file', files.name, name, 'none', 'A checkpoint is a folder as Hugging Face saves it.');

async function needed(files: Files, name: string, options: OpenOptions): Promise<WholeFile> {
  const file = await readWhole(files, name, options);
  if (!file) throw missing(files, name);
  return file;
}

const MAX_ROOM = 2 ** 24; // bytes of a part whose memory is kept for the next: a layer's, and not the embeddings'

/** Opens the files of the weights. Tensors are then read one by one. */
async function openWeights(config: BertConfig, files: Files, options: OpenOptions) {
  const opened: OpenFile[] = [];
  const open = async (name: string) => {
    const file = await files.open(name, options);
    if (file) opened.push(file);
    return file;
  };
  const close = () => {
    for (const file of opened) file.close();
  };
  try {
    const [name, first] = await firstThere(files, open);
    const index = name.endsWith('.json') ? parseIndex({ name: first.name, bytes: part(first, 0, first.size) }) : null;
    const found = new Map<string, TensorEntry & { file: OpenFile }>();
    for (const shard of index?.files ?? [name]) {
      const file = index ? await open(shard) : first;
      if (!file) throw missing(files, shard);
      for (const [tensor, entry] of entriesOf(file)) {
        if (found.has(tensor))
          throw ofIndex(first.name, `tensor ${preview(tensor)} in one file`, `it in ${shard} as well`);
        found.set(tensor, { ...entry, file });
      }
    }
    const lost = index?.tensors.find((tensor) => !found.has(tensor));
    if (lost) throw ofIndex(first.name, `tensor ${preview(lost)} in a file of it`, 'none');
    const entries = renamed(config, found);
    let room = new Uint8Array(0); // of the last tensor: new memory costs more than to read into it
    const tensor = (name: string) => {
      const entry = entries.get(name)!;
      const size = entry.end - entry.begin;
      if (room.length < size || room.length > MAX_ROOM) {
        room.buffer.transfer(0); // frees it now; garbage collection would let tensors pile up
        room = new Uint8Array(size);
      }
      const bytes = room.subarray(0, size);
      entry.file.read(entry.begin, bytes);
      return viewTensor(entry, bytes, name);
    };
    return { entries, tensor, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Opens the first of `WEIGHTS` that there is. */
async function firstThere(files: Files, open: (name: string) => Promise<OpenFile | null>): Promise<[string, OpenFile]> {
  for (const name of WEIGHTS) {
    const file = await open(name);
    if (file) return [name, file];
  }
  throw missing(files, WEIGHTS.join(' or '));
}

/** A part of a file, in memory of its own. */
function part(file: OpenFile, begin: number, end: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(end - begin);
  file.read(begin, bytes);
  return bytes;
}

/** The tensors of one file. */
const entriesOf = (file: OpenFile): Map<string, TensorEntry> => {
  const { name, size } = file;
  if (name.endsWith('.bin')) return pytorchEntries(file, name);
  const length = headerLength(part(file, 0, Math.min(8, size)), size, name);
  return parseHeader(part(file, 8, 8 + length), size, name);
};

const MOST_FILES = 1000; // that share the tensors of one checkpoint
const ofIndex = (path: string, expected: string, got: string) =>
  new BertletError('weights', `${path}: expected ${expected}, got ${got}. Fetch the checkpoint's files anew.`);

/**
 * Reads an index of weights: `{ weight_map: { <tensor>: <file> } }`.
 * @throws BertletError `weights` if it is none, or names files outside of its folder
 */
export function parseIndex(file: WholeFile): { tensors: string[]; files: string[] } {
  const { weight_map: map } = json(file);
  const names: unknown[] = typeof map === 'object' && map !== null ? Object.values(map) : [];
  const wrong = names.find((name) => typeof name !== 'string' || !/^\w[\w.-]*\.(safetensors|bin)$/.test(name));
  const files = [...new Set(names as string[])].toSorted();
  if (wrong !== undefined) throw ofIndex(file.name, 'names of weight files beside it', preview(wrong));
  if (files.length === 0 || files.length > MOST_FILES) {
    throw ofIndex(file.name, `a weight_map of 1 to ${MOST_FILES} files`, `${files.length}`);
  }
  return { tensors: Object.keys(map as object), files };
}

/** The precision of the linears' weights: float32, float16, or int8 in one of the two schemes. */
export type Precision = 'fp32' | 'fp16' | Scheme;

/**
 * Returns a reader of a checkpoint's tensors in the form that the model computes with: linears' weights in `precision`,
 * all other tensors widened to float32. The weights of an int8 checkpoint are passed on unchanged, so for an int8
 * checkpoint `precision` must be its scheme.
 * @param device that the tensors are for: it may widen float16 tables itself, and quantize weights
 * @throws BertletError `input` for another precision than that; the reader throws `weights` for values that are not
 * finite
 */
export function weightsOf(
  { config, scheme = null, tensor: read }: Pick<Checkpoint, 'config' | 'tensor'> & Partial<Pick<Checkpoint, 'scheme'>>,
  precision: Precision,
  device: Pick<Device, 'float16' | 'quantizeWeight'> = {},
): Weights {
  const shapes = tensorShapes(config);
  if (scheme && scheme !== precision) throw inputError('precision', `${scheme}, the checkpoint's`, precision);
  let made: ArrayBufferLike[] = [];
  const keep = <A extends LinearWeight['data']>(data: A): A => {
    made.push(data.buffer);
    return data;
  };
  return (name) => {
    for (const buffer of made) (buffer as ArrayBuffer).transfer(0); // frees the tensor of the previous call (`Weights`)
    made = [];
    const { linear, own, table } = shapes.get(name)!;
    // Copied before the weight is read: a tensor is valid only until the next read.
    const scale = linear && scheme ? toFloat32(read(`${own}_scale`), `${own}_scale`).slice() : null;
    const tensor = read(own);
    const { shape } = tensor;
    if (scale && scheme) {
      finite(`${own}_scale`, scale);
      const each = scale.length > 1 ? scale : new Float32Array(shape[0]!).fill(scale[0]!);
      return { dtype: 'I8', shape, data: tensor.data as Int8Array, scale: each, scheme };
    }
    const int8 = linear && precision !== 'fp32' && precision !== 'fp16' ? precision : null;
    if (int8 && device.quantizeWeight && (tensor.dtype === 'F16' || tensor.dtype === 'F32')) {
      const converted = device.quantizeWeight(tensor as HostTensor<Float32Array | Uint16Array>, int8);
      finite(own, converted.scale);
      keep(converted.data);
      return converted;
    }
    if (tensor.dtype === 'F16' && (linear ? precision === 'fp16' : table && device.float16)) {
      finite(own, tensor.data as Uint16Array);
      return tensor as HostTensor<Uint16Array>;
    }
    const data =
      tensor.dtype === 'I8' ? dequantized(tensor as HostTensor<Int8Array>, read, own) : toFloat32(tensor, own);
    if (data !== tensor.data) keep(data);
    finite(own, data);
    const float32 = { dtype: 'F32', shape, data } as const;
    if (precision === 'fp32' || !linear) return float32;
    const converted = precision === 'fp16' ? toFloat16(float32, own) : quantizeWeight(float32, precision);
    keep(converted.data);
    return converted;
  };
}

// Index loops without a branch: `every` takes ten times as long. Each has one type: engines slow down a loop that has had two.
/** NaN if a value is NaN or infinite, otherwise 0. */
function sumOfZeros(values: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += 0 * values[i]!;
  return sum;
}
/** Whether the bits of a float16 are those of NaN or infinity. Looks at two at once. */
function hasFullExponent(values: Uint16Array): boolean {
  const whole = values.byteOffset % 4 === 0 ? values.length >> 1 : 0;
  const pairs = new Uint32Array(values.buffer, whole && values.byteOffset, whole);
  let carry = 0;
  for (let i = 0; i < pairs.length; i++) carry |= (pairs[i]! & 0x7c007c00) + 0x04000400;
  for (let i = 2 * whole; i < values.length; i++) carry |= (values[i]! & 0x7c00) + 0x400;
  return (carry & 0x80008000) !== 0;
}

/** @throws BertletError `weights` if a value is NaN or infinite */
function finite(name: string, values: Float32Array | Uint16Array): void {
  if (values instanceof Float32Array ? sumOfZeros(values) === 0 : !hasFullExponent(values)) return;
  throw new BertletError('weights', `${name}: expected finite values, got NaN or Infinity. The file is damaged.`);
}

/** Widens an int8 tensor with one scale for each row to float32. */
function dequantized({ shape, data }: HostTensor<Int8Array>, read: Checkpoint['tensor'], name: string): Float32Array {
  const values = Float32Array.from(data);
  const scales = toFloat32(read(`${name}_scale`), `${name}_scale`);
  const columns = shape.at(-1)!;
  for (let i = 0; i < values.length; i++) values[i]! *= scales[Math.floor(i / columns)]!;
  return values;
}

/** Opens the tokenizer's files: tokenizer.json, or else vocab.txt, or else vocab.json and merges.txt. */
async function openTokenizer(
  from: Files,
  model: Record<string, unknown>,
  family: FamilyName = 'bert',
  options: OpenOptions = {},
): Promise<Tokenizer> {
  const jsonOf = async (name: string) => {
    const file = await readWhole(from, name, options);
    return file ? json(file) : undefined;
  };
  const text = (file: WholeFile) => textOf(file.bytes);
  const config = (await jsonOf('tokenizer_config.json')) ?? {};
  const files: TokenizerFiles = { config, json: await jsonOf('tokenizer.json') };
  if (!config.added_tokens_decoder) {
    files.special = await jsonOf('special_tokens_map.json');
    files.added = await jsonOf('added_tokens.json');
  }
  // transformers' rule: the tokenizer's own file names its class, or the model's does, or its family has one.
  const names = [config.tokenizer_class, model.tokenizer_class].filter((name) => typeof name === 'string');
  const className = [
    ...names.filter((name) => name.startsWith('BertJapanese')),
    ...names,
    FAMILIES[family].tokenizer,
  ][0]!.replace(/Fast$/, '');
  if (!files.json && CLASSES[className] === 'bpe') {
    files.vocab = new Map(Object.entries(json(await needed(from, 'vocab.json', options)) as Record<string, number>));
    files.merges = readMerges(text(await needed(from, 'merges.txt', options)));
  } else if (!files.json) files.vocab = readVocab(text(await needed(from, 'vocab.txt', options)));
  try {
    return new Tokenizer(...tokenizerOf(files, className));
  } catch (cause) {
    if (cause instanceof BertletError) throw cause; // any other is a value of a type that no tokenizer has there
    const message = `${from.name}: expected a tokenizer as Hugging Face saves it, got another (${messageOf(cause)})`;
    throw new BertletError('tokenizer', `${message}. Save it anew.`, { cause });
  }
}

const [QUOTE, BACKSLASH, OPEN, CLOSE, LOWER] = [0x22, 0x5c, 0x5b, 0x5d, 0x20]; // `{` and `}` are `[` and `]` in lower case
/** Whether JSON is nested more than 100 times: what walks through its value would run out of stack. */
function isDeep(bytes: Uint8Array): boolean {
  let depth = 0;
  for (let at = 0; at < bytes.length && depth <= 100; at++) {
    const byte = bytes[at]!;
    if (byte === QUOTE) while (++at < bytes.length && bytes[at] !== QUOTE) at += Number(bytes[at] === BACKSLASH);
    else if ((byte & ~LOWER) === OPEN) depth++;
    else if ((byte & ~LOWER) === CLOSE) depth--;
  }
  return depth > 100;
}

/** Parses a file as a JSON object. */
function json({ name, bytes }: WholeFile): Record<string, unknown> {
  const text = textOf(bytes); // an error of the engine is none of the file
  let value: unknown;
  let cause: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    cause = error;
  }
  if (typeof value === 'object' && value !== null && !isDeep(bytes)) return value as Record<string, unknown>;
  throw new BertletError('config', `${name}: expected a JSON object. The file is damaged.`, { cause });
}
