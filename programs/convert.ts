/**
 * Converts a checkpoint, a folder's or the Hub's, to a folder of safetensors in another precision.
 * `npm run convert -- deepset/bert-base-cased-squad2 --out weights/bert-base-cased-squad2`, and `bertlet/convert` as a function.
 */
import { createHash } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { checkpointLayout, type Embeddings } from '../bench/layout.ts';
import { embeddingsOf, fileBytes, sizeLine } from '../bench/sizes.ts';
import { free, readWeights } from '../src/bert.ts';
import { tensorShapes, WORD_EMBEDDINGS } from '../src/checkpoint/config.ts';
import { type Checkpoint, openCheckpoint, type Precision, weightsOf } from '../src/checkpoint/index.ts';
import { toFloat16, toFloat32 } from '../src/checkpoint/safetensors.ts';
import { planSafetensors } from '../src/checkpoint/write.ts';
import { fault, inputError, messageOf } from '../src/errors.ts';
import { filesOf } from '../src/files/hub.ts';
import { type Files, type OnProgress, readWhole } from '../src/files/index.ts';
import type { Dtype } from '../src/index.ts';
import { boolean, callback, check, type GivenOf, oneOf, optionsOf, required, rule, string } from '../src/options.ts';
import { isOfSystem } from '../src/platform.ts';
import { quantizeWeight } from '../src/quantize.ts';
import type { HostTensor, Scheme } from '../src/runtime.ts';
import { type Io, printer } from './io.ts';
import { showLoad } from './progress.ts';

export { checkpointBytes } from '../bench/layout.ts';

/** The files of a tokenizer, which are copied as they are. */
const TOKENIZER_FILES = [
  'tokenizer.json',
  'vocab.txt',
  'vocab.json',
  'merges.txt',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
];

/** The content of manifest.json. */
export interface Manifest {
  readonly source: string;
  readonly precision: Precision;
  readonly embeddings: 'int8' | 'float';
  readonly files: Record<string, { bytes: number; sha256: string }>;
}

const OPTIONS = {
  /**
   * Precision of the linears' weights. fp16 stores all other tensors in F16 as well, the other precisions in F32; int8 leaves
   * embeddings of F16 as they are. `int8` is the scheme of an int8 checkpoint, otherwise accurate, as for `load`.
   */
  precision: required(oneOf(['fp32', 'fp16', 'int8', 'torch', 'accurate'] as const)),
  /**
   * Only for int8: store the word embeddings in int8 as well, with one scale for each row. Hugging Face's transformers does
   * not read them, and config.json says so. Default: as the checkpoint has them.
   */
  int8Embeddings: boolean,
  /** Only for a model of the Hub: branch, tag or commit. Default main. */
  revision: string,
  onProgress: callback<OnProgress>(),
  /** The `source` in the manifest. Default: the name of the folder. */
  source: string,
};
/** Options of `convert`. */
export type ConvertOptions = GivenOf<typeof OPTIONS>;
/** config.json's note on int8 word embeddings, which are no part of compressed-tensors' format. */
const NOTE = 'word_embeddings is int8 with a scale for each row, which bertlet reads and transformers does not.';

/**
 * Converts a checkpoint to a new folder `out` with model.safetensors, config.json, the tokenizer, and manifest.json, which
 * has the size and SHA-256 of each file. The same input gives the same bytes. `out` appears only after all files are
 * written; until then a folder beside it grows, which the end of the process removes.
 * @param model a folder, `owner/name` on the Hub, or `Files`
 * @throws BertletError `file` if `out` exists or cannot be written; `input` for a wrong option; and the errors of
 * `openCheckpoint`
 */
export async function convert(model: string | URL | Files, out: string, given: ConvertOptions): Promise<Manifest> {
  const options = optionsOf('convert', given, OPTIONS);
  const { onProgress, revision } = options;
  if (options.int8Embeddings && options.precision.startsWith('fp')) {
    const advice = 'Leave it out, or ask for int8.';
    throw inputError('int8Embeddings', `none with precision ${options.precision}`, true, advice);
  }
  check(
    'out',
    out,
    rule('a name for the folder', (value) => typeof value === 'string' && value !== ''),
  );
  checkTarget(model, out);
  const files = await filesOf(model, { revision });
  const checkpoint = await openCheckpoint(files, { onProgress });
  const precision = options.precision === 'int8' ? (checkpoint.scheme ?? 'accurate') : options.precision;
  const partial = `${resolve(out)}.${process.pid}.partial`;
  const remove = () => rmSync(partial, { recursive: true, force: true });
  process.once('exit', remove);
  try {
    const embeddings = storedEmbeddings(checkpoint, precision, options.int8Embeddings);
    remove();
    mkdirSync(partial, { recursive: true });
    await writeModel(checkpoint, join(partial, 'model.safetensors'), precision, embeddings);
    await writeDescription(files, partial, configOf(checkpoint, precision, embeddings));
    const written: Manifest['files'] = {};
    for (const name of readdirSync(partial).toSorted()) written[name] = await digest(join(partial, name));
    const manifest = {
      source: options.source ?? basename(resolve(files.name)),
      precision,
      embeddings: embeddings === 'I8' ? 'int8' : 'float',
      files: written,
    } as const;
    writeFileSync(join(partial, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
    renameSync(partial, out);
    return manifest;
  } catch (cause) {
    if (!isOfSystem(cause)) throw cause;
    throw fault('file', out, 'a folder that can be written', messageOf(cause), '', cause);
  } finally {
    checkpoint.close();
    remove();
    process.off('exit', remove);
  }
}

/** @throws BertletError if there is something at `out`, before anything is downloaded or read */
function checkTarget(model: string | URL | Files, out: string): void {
  if (!existsSync(out)) return;
  const from = typeof model === 'object' && 'open' in model ? model.name : String(model);
  if (existsSync(from) && realpathSync(from) === realpathSync(out))
    throw inputError('out', 'another folder than the checkpoint to convert', out, 'Name a new one.');
  throw fault('file', out, 'no such folder yet', 'one', 'Remove it, or name another.');
}

/** The dtype in which the embedding tables are stored. */
function storedEmbeddings(checkpoint: Checkpoint, precision: Precision, asked?: boolean): Embeddings {
  if (precision === 'fp32' || precision === 'fp16') return 'F32';
  const own = embeddingsOf(checkpoint);
  if (asked === undefined) return own;
  return asked ? 'I8' : own === 'I8' ? 'F32' : own;
}

/** Writes model.safetensors: converts one tensor after another and writes each at its place in the file. */
async function writeModel(checkpoint: Checkpoint, path: string, precision: Precision, embeddings: Embeddings) {
  const { config, tensors, tensor } = checkpoint;
  const plan = planSafetensors(checkpointLayout(config, precision, embeddings), { format: 'pt' });
  const weights = weightsOf(checkpoint, precision, { float16: precision === 'fp16' || embeddings === 'F16' });
  const file = openSync(path, 'w');
  /** Writes at a place of the file, or behind its head. */
  const write = (data: ArrayBufferView, begin?: number) => {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const at = begin === undefined ? 0 : plan.head.length + begin;
    for (let from = 0; from < bytes.length; ) from += writeSync(file, bytes, from, bytes.length - from, at + from);
  };
  try {
    write(plan.head);
    for (const [name, { fileName }] of tensorShapes(config)) {
      await setImmediate(); // a signal is heard between two tensors
      const { dtype, begin } = plan.places.get(fileName)!;
      const scales = plan.places.get(`${fileName}_scale`);
      if (name === WORD_EMBEDDINGS && dtype === 'I8' && tensors.get(fileName)!.dtype === 'I8') {
        write(tensor(fileName).data, begin);
        write(toFloat32(tensor(`${fileName}_scale`)), scales!.begin);
        continue;
      }
      const weight = readWeights(weights, [name]);
      const float = weight as HostTensor<Float32Array>;
      const rounded = dtype === 'F16' && weight.dtype === 'F32' ? toFloat16(float, fileName) : weight;
      const stored = dtype === 'I8' && weight.dtype === 'F32' ? quantizeWeight(float, 'accurate') : rounded;
      write(stored.data, begin);
      // One scale is written of the whole matrix in `torch`.
      if ('scale' in stored) write(stored.scale.subarray(0, (scales!.end - scales!.begin) / 4), scales!.begin);
      free(weight.data);
    }
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Copies the tokenizer's files, and writes config.json with these keys. `undefined`: without the key. */
async function writeDescription(files: Files, folder: string, keys: Record<string, unknown>): Promise<void> {
  for (const name of TOKENIZER_FILES) {
    const file = await readWhole(files, name);
    if (file) writeFileSync(join(folder, name), file.bytes);
  }
  const { name, bytes } = (await readWhole(files, 'config.json'))!;
  const config = { ...(JSON.parse(new TextDecoder().decode(bytes)) as object), ...keys };
  let text: string;
  try {
    text = JSON.stringify(config, null, 2);
  } catch (cause) {
    throw fault('config', name, 'JSON that can be written again', messageOf(cause), 'It is nested too deep.', cause);
  }
  writeFileSync(join(folder, 'config.json'), `${text}\n`);
}

/** The keys of config.json that say how weights are stored; `quantization_config` as the library compressed-tensors writes it. */
function configOf({ config, scheme }: Checkpoint, precision: Precision, embeddings: Embeddings) {
  const bertlet_note = embeddings === 'I8' ? NOTE : undefined;
  if (precision === 'fp32' || precision === 'fp16')
    return { bertlet_note, dtype: precision === 'fp16' ? 'float16' : 'float32' };
  const [weights, activations] = precision === 'torch' ? ['tensor', 'tensor'] : ['channel', 'token'];
  const group = {
    targets: ['Linear'],
    weights: { num_bits: 8, type: 'int', symmetric: true, strategy: weights, dynamic: false },
    input_activations: { num_bits: 8, type: 'int', symmetric: false, strategy: activations, dynamic: true },
  };
  const quantization_config = {
    quant_method: 'compressed-tensors',
    format: 'int-quantized',
    quantization_status: 'compressed',
    config_groups: { group_0: group },
    ignore: scheme && config.floatHead ? ['qa_outputs'] : [],
  };
  return { bertlet_note, dtype: 'float32', quantization_config };
}

/** The size and SHA-256 of a file. */
async function digest(path: string): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(path) as AsyncIterable<Uint8Array>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest('hex') };
}

interface Arguments {
  out: string;
  dtype: Dtype;
  scheme?: Scheme;
  embeddings?: 'float' | 'int8';
  revision?: string;
  json?: boolean;
}

/** Runs `bertlet convert`. */
export async function run(model: string, options: Arguments, io: Io): Promise<void> {
  const { out, dtype, scheme, embeddings, revision, json } = options;
  const print = printer(io.stdout);
  const precision = dtype === 'int8' ? (scheme ?? dtype) : dtype;
  const int8Embeddings = embeddings === undefined ? undefined : embeddings === 'int8';
  const how = { precision, int8Embeddings, revision, source: model };
  const manifest = await showLoad(io, (onProgress) => convert(model, out, { ...how, onProgress }));
  if (json) return print(JSON.stringify(manifest, null, 2));
  const { files } = manifest;
  const made = await openCheckpoint(out);
  made.close();
  if (dtype !== 'fp32') print(sizeLine('fp32', fileBytes(made, 'fp32'), 'F32'));
  print(sizeLine(dtype, files['model.safetensors']!.bytes, embeddingsOf(made)));
  for (const [name, { bytes, sha256 }] of Object.entries(files)) {
    print(`${out}/${name}  ${bytes} bytes  sha256 ${sha256}`);
  }
}
