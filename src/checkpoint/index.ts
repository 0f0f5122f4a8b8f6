/** Opens a checkpoint: config.json, tokenizer.json or vocab.txt, and the files of the weights. */

import type { BertConfig } from '../bert.ts';
import { fault, messageOf } from '../errors.ts';
import { filesOf, HUB_OPTIONS } from '../files/hub.ts';
import type { Files, OnProgress, OpenFile, OpenOptions, WholeFile } from '../files/index.ts';
import { readWhole } from '../files/index.ts';
import { abortSignal, callback, type GivenOf, optionsOf, preview, strings } from '../options.ts';
import { textOf } from '../platform.ts';
import { BYTE_LEVEL_CLASSES, type Tokenizer, type TokenizerFiles, tokenizerOf } from '../text/json.ts';
import { checkTensors, FAMILIES, parseConfig, renamed } from './config.ts';
import type { Checkpoint } from './precision.ts';
import { pytorchTensorsIn } from './pytorch.ts';
import { readTensor, type StoredTensor, safetensorsIn } from './safetensors.ts';

export { type Checkpoint, type Precision, weightsOf } from './precision.ts';

/** The files of the weights, the best first. */
const WEIGHTS = ['model.safetensors', 'pytorch_model.bin'];

const OPTIONS = {
  /**
   * Names of the linears of another head than question answering's, as in the file: `['bert.pooler.dense', 'classifier']`. They
   * are `head` of the `Bert`.
   */
  head: strings,
  onProgress: callback<OnProgress>(),
  signal: abortSignal,
  ...HUB_OPTIONS,
};
/** Options of `openCheckpoint`. */
export type CheckpointOptions = GivenOf<typeof OPTIONS>;

/**
 * Opens a checkpoint and checks its contents: config.json, the tokenizer, and the weights last, so that a model that
 * cannot run is refused before its weights are fetched.
 * @param model what `load` takes
 * @throws BertletError `file` if a file is missing; `config`, `safetensors`, `weights` or `tokenizer` if the content of
 * a file is not that of a BERT question answering model
 */
export async function openCheckpoint(model: string | URL | Files, given: CheckpointOptions = {}): Promise<Checkpoint> {
  const { revision, endpoint, ...options } = optionsOf('openCheckpoint', given, OPTIONS);
  const files = await filesOf(model, { revision, endpoint });
  const { config, tokenizer } = await openDescription(files, options);
  return { tokenizer, ...(await openWeights(config, files, options)) };
}

/** Reads and checks all but the weights. */
async function openDescription(files: Files, { signal, head }: CheckpointOptions) {
  const file = await needed(files, 'config.json', { signal });
  const model = json(file);
  const config = parseConfig(model, file.name, head !== undefined);
  const tokenizer = await openTokenizer(files, model, config, { signal });
  const most = (what: string, max: number, key: string, got: number) => {
    const expected = `at most ${max} ${what} (${key} in config.json)`;
    if (got > max) throw fault('tokenizer', files.name, expected, got, "Use the checkpoint's own tokenizer.");
  };
  most('tokens', config.vocab, 'vocab_size', tokenizer.vocabSize);
  const types = Math.max(...tokenizer.encodePair('', '').typeIds) + 1;
  if (config.types > 0) most('token types', config.types, 'type_vocab_size', types);
  // RoBERTa does not count padding in its positions, and here every token has the next. A long word is unknown to WordPiece.
  const padding = (config.firstPosition ?? 0) - 1;
  if (tokenizer.encodePair('', 'x'.repeat(1000)).ids.includes(padding)) {
    const expected = 'pad_token_id in config.json to be that of no other special token';
    throw fault('config', files.name, expected, padding, "Use the checkpoint's own config.json.");
  }
  return { config, tokenizer };
}

/** Files that stand for a model in another format, and how to make a checkpoint of it. */
const FOREIGN: readonly [file: string, format: string, advice: string][] = [
  ['adapter_config.json', 'an adapter', 'Merge it into its model first: `merge_and_unload()` of peft.'],
  ['tf_model.h5', 'weights for TensorFlow', 'Save them for PyTorch: `from_tf=True` of transformers 4.'],
  ['flax_model.msgpack', 'weights for Flax', 'Save them for PyTorch: `from_flax=True` of transformers 4.'],
  ['onnx/model.onnx', 'a graph of ONNX', 'Use the checkpoint that it was exported from.'],
  ['model.onnx', 'a graph of ONNX', 'Use the checkpoint that it was exported from.'],
];

/** Refuses files without one that is needed, by what there is instead. */
async function refuseMissing(files: Files, name: string): Promise<never> {
  const ofModel = name === 'config.json' || name.startsWith(WEIGHTS[0]!);
  for (const [file, format, advice] of ofModel ? FOREIGN : [])
    if (await isThere(files, file)) throw fault('file', files.name, name, `${format} (${file})`, advice);
  const advice = 'A checkpoint is a folder as Hugging Face saves it, of safetensors or PyTorch; GGUF does not open.';
  throw fault('file', files.name, name, 'none', advice);
}

/** Whether there is a file. It may be large, so its first bytes end its download. */
async function isThere(files: Files, name: string): Promise<boolean> {
  const stop = new AbortController();
  const file = await files.open(name, { signal: stop.signal, onProgress: () => stop.abort() }).catch(() => null);
  file?.close();
  return file !== null || stop.signal.aborted;
}

const needed = async (files: Files, name: string, options: OpenOptions): Promise<WholeFile> =>
  (await readWhole(files, name, options)) ?? refuseMissing(files, name);

/** Opens the files of the weights, with their names: the first of `WEIGHTS` that there is, or those that its index names. */
async function* weightFiles(files: Files, options: OpenOptions): AsyncGenerator<[string, OpenFile]> {
  for (const name of WEIGHTS) {
    const whole = await files.open(name, options);
    if (whole) return yield [name, whole];
    const index = await readWhole(files, `${name}.index.json`, options);
    if (!index) continue;
    for (const part of shardsOf(index)) {
      yield [part, (await files.open(part, options)) ?? (await refuseMissing(files, part))];
    }
    return;
  }
  await refuseMissing(files, WEIGHTS.flatMap((name) => [name, `${name}.index.json`]).join(' or '));
}

/** Opens and checks the files of the weights. Tensors are then read one by one. */
async function openWeights(sizes: BertConfig, files: Files, { head, ...options }: CheckpointOptions) {
  const opened: OpenFile[] = [];
  const close = () => {
    for (const file of opened) file.close();
  };
  try {
    const tensors = new Map<string, StoredTensor>();
    for await (const [name, file] of weightFiles(files, options)) {
      opened.push(file);
      for (const [tensor, stored] of name.endsWith('.bin') ? pytorchTensorsIn(file) : safetensorsIn(file)) {
        if (tensors.has(tensor))
          throw indexError(files.name, `tensor ${preview(tensor)} in one file`, `it in ${name} as well`);
        tensors.set(tensor, stored);
      }
    }
    const outputs = head?.map((name) => [name, tensors.get(`${name}.weight`)?.shape[0] ?? 1]);
    const config = outputs ? { ...sizes, head: Object.fromEntries(outputs) as Record<string, number> } : sizes;
    const all = renamed(config, tensors);
    const tensor = (name: string) => readTensor(all.get(name), name);
    return { config, tensors: all, scheme: checkTensors(config, all, files.name), tensor, close };
  } catch (error) {
    close();
    throw error;
  }
}

const indexError = (path: string, expected: string, got: string) =>
  fault('weights', path, expected, got, "Fetch the checkpoint's files anew.");

/**
 * Reads the names of the files from an index of weights: `{ weight_map: { <tensor>: <file> } }`.
 * @throws BertletError `weights` for names of files outside of its folder
 */
function shardsOf(index: WholeFile): string[] {
  const { weight_map: map } = json(index);
  const names: unknown[] = Object.values(Object(map));
  const wrong = names.find((name) => typeof name !== 'string' || !/^\w[\w.-]*\.(safetensors|bin)$/.test(name));
  if (wrong !== undefined) throw indexError(index.name, 'names of weight files beside it', preview(wrong));
  return [...new Set(names as string[])].toSorted();
}

/** Opens the tokenizer's files: tokenizer.json, or else vocab.txt, or else vocab.json and merges.txt. */
async function openTokenizer(from: Files, model: Json, sizes: BertConfig, options: OpenOptions): Promise<Tokenizer> {
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
  const className = (names[0] ?? FAMILIES[sizes.family ?? 'bert'].tokenizer).replace(/Fast$/, '');
  if (!files.json && BYTE_LEVEL_CLASSES.includes(className)) {
    files.vocab = json(await needed(from, 'vocab.json', options));
    files.merges = text(await needed(from, 'merges.txt', options));
  } else if (!files.json) files.vocab = text(await needed(from, 'vocab.txt', options));
  return tokenizerOf(files, className, sizes);
}

type Json = Record<string, unknown>;
/** Parses a file as a JSON object. */
function json({ name, bytes }: WholeFile): Json {
  const text = textOf(bytes); // an error of the engine is none of the file
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return value as Json;
    throw new Error(preview(value));
  } catch (cause) {
    throw fault('config', name, 'a JSON object', messageOf(cause), 'The file is damaged.', cause);
  }
}
