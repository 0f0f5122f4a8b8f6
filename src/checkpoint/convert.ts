/** Converts a checkpoint folder to another precision, with one tensor in memory at a time. Node only. */
import { BertletError, inputError, messageOf } from '../errors.ts';
import type { OnProgress } from '../files/index.ts';
import { boolean, callback, oneOf, optionsOf, required, string, type Table } from '../options.ts';
import { isOfSystem, isRunning } from '../platform.ts';
import { quantizeWeight } from '../quantize.ts';
import type { HostTensor } from '../runtime.ts';
import { TOKENIZER_FILES } from '../text/json.ts';
import { tensorShapes, WORD_EMBEDDINGS } from './config.ts';
import { type Checkpoint, openCheckpoint, type Precision, weightsOf } from './index.ts';
import { checkpointLayout, type Embeddings } from './layout.ts';
import { toFloat16, toFloat32 } from './safetensors.ts';
import { planSafetensors } from './write.ts';

/** Options of `convert`. */
export interface ConvertOptions {
  /**
   * Precision of the linears' weights. fp16 stores all other tensors in F16 as well, the other precisions in F32; int8 leaves
   * embeddings of F16 as they are. `int8` is the scheme of an int8 checkpoint, otherwise accurate, as for `load`.
   */
  precision: Precision | 'int8';
  /**
   * Only for int8: store the word embeddings in int8 as well, with one scale for each row. Hugging Face's transformers does
   * not read them, and config.json says so. Default: as the checkpoint has them.
   */
  int8Embeddings?: boolean | undefined;
  onProgress?: OnProgress | undefined;
  /** The `source` in the manifest. Default: the name of the folder. */
  source?: string | undefined;
}
/** The content of manifest.json. */
export interface Manifest {
  readonly source: string;
  readonly precision: Precision;
  readonly embeddings: 'int8' | 'float';
  readonly files: Record<string, { bytes: number; sha256: string }>;
}

const OPTIONS = {
  precision: required(oneOf(['fp32', 'fp16', 'int8', 'torch', 'accurate'] as const)),
  int8Embeddings: boolean,
  onProgress: callback<OnProgress>(),
  source: string,
} satisfies Table<ConvertOptions>;
/** What config.json says of int8 word embeddings, which are no part of compressed-tensors' format. */
const NOTE = 'word_embeddings is int8 with a scale for each row, which bertlet reads and transformers does not.';

/**
 * Converts the checkpoint in `folder` to a new folder `out` with model.safetensors, config.json, the tokenizer, and
 * manifest.json, which has the size and SHA-256 of each file. The same input gives the same bytes. `out` appears only
 * after all files are written; until then a folder beside it grows, which Ctrl-C and SIGTERM remove.
 * @throws BertletError `file` if `out` exists or cannot be written; `input` for a wrong option; and the errors of
 * `openCheckpoint`
 */
export async function convert(folder: string, out: string, given: ConvertOptions): Promise<Manifest> {
  const options = optionsOf('convert', given, OPTIONS);
  const fs = process.getBuiltinModule('node:fs');
  const { basename, join, resolve } = process.getBuiltinModule('node:path');
  const { onProgress } = options;
  const int8 = options.precision !== 'fp32' && options.precision !== 'fp16';
  if (options.int8Embeddings && !int8)
    throw inputError(
      'int8Embeddings',
      `none with precision ${options.precision}`,
      true,
      'Leave it out, or ask for int8.',
    );
  if (fs.existsSync(out)) throw new BertletError('file', `${out}: expected no such folder yet, got one. Remove it.`);
  const checkpoint = await openCheckpoint(folder, { onProgress });
  const precision = options.precision === 'int8' ? (checkpoint.scheme ?? 'accurate') : options.precision;
  const temporary = `${resolve(out)}.${process.pid}.partial`;
  const remove = () => fs.rmSync(temporary, { recursive: true, force: true });
  const unguard = beforeEnd(remove);
  try {
    const tables = [...tensorShapes(checkpoint.config).values()].filter(({ table }) => table);
    const dtypes = tables.map(({ own }) => checkpoint.dtype(own)); // the first is of the word embeddings
    const int8Embeddings = options.int8Embeddings ?? (int8 && dtypes[0] === 'I8');
    const stored = int8Embeddings ? 'I8' : dtypes.every((dtype) => dtype === 'F16') ? 'F16' : 'F32';
    await removeAbandoned(resolve(out));
    remove();
    fs.mkdirSync(temporary, { recursive: true });
    await writeModel(checkpoint, join(temporary, 'model.safetensors'), precision, stored);
    for (const name of TOKENIZER_FILES) {
      if (fs.existsSync(join(folder, name))) fs.copyFileSync(join(folder, name), join(temporary, name));
    }
    const config = JSON.parse(fs.readFileSync(join(folder, 'config.json'), 'utf8')) as Record<string, unknown>;
    delete config.bertlet_note;
    const written = {
      ...config,
      dtype: precision === 'fp16' ? 'float16' : 'float32',
      ...(int8 && quantization(precision, checkpoint.config.floatHead)),
      ...(int8Embeddings && { bertlet_note: NOTE }),
    };
    fs.writeFileSync(join(temporary, 'config.json'), `${JSON.stringify(written, null, 2)}\n`);
    const files: Manifest['files'] = {};
    for (const name of fs.readdirSync(temporary).toSorted()) files[name] = await digest(join(temporary, name));
    const embeddings = int8Embeddings ? 'int8' : 'float';
    const manifest = { source: options.source ?? basename(resolve(folder)), precision, embeddings, files } as const;
    fs.writeFileSync(join(temporary, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
    fs.renameSync(temporary, out);
    return manifest;
  } catch (cause) {
    if (!isOfSystem(cause)) throw cause;
    throw new BertletError('file', `${out}: expected a folder that can be written (${messageOf(cause)}).`, { cause });
  } finally {
    checkpoint.close();
    remove();
    unguard();
  }
}

/** Runs `cleanUp` before a signal ends the process. Returns what takes that back. */
function beforeEnd(cleanUp: () => void): () => void {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const end = (signal: NodeJS.Signals) => {
    cleanUp();
    unguard();
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal); // it ends as it would have without this
  };
  const unguard = () => {
    for (const signal of signals) process.off(signal, end);
  };
  for (const signal of signals) process.on(signal, end);
  return unguard;
}

/** Removes the partial folders of `out` whose process was killed. */
async function removeAbandoned(out: string): Promise<void> {
  const { existsSync, readdirSync, rmSync } = process.getBuiltinModule('node:fs');
  const { basename, dirname, join } = process.getBuiltinModule('node:path');
  const folder = dirname(out);
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const pid =
      name.startsWith(`${basename(out)}.`) && /^\.(\d+)\.partial$/.exec(name.slice(basename(out).length))?.[1];
    if (pid && !isRunning(Number(pid))) rmSync(join(folder, name), { recursive: true, force: true });
  }
}

/** Writes model.safetensors: converts one tensor after another and writes each at its place in the file. */
async function writeModel(checkpoint: Checkpoint, path: string, precision: Precision, embeddings: Embeddings) {
  const { closeSync, fsyncSync, openSync, writeSync } = process.getBuiltinModule('node:fs');
  const { head, places } = planSafetensors(checkpointLayout(checkpoint.config, precision, embeddings), {
    format: 'pt',
  });
  const weights = weightsOf(checkpoint, precision);
  const file = openSync(path, 'w');
  const write = (data: ArrayBufferView, at: number) => {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    for (let from = 0; from < bytes.length; ) from += writeSync(file, bytes, from, bytes.length - from, at + from);
  };
  try {
    write(head, 0);
    for (const [name, { own }] of tensorShapes(checkpoint.config)) {
      await new Promise(process.getBuiltinModule('node:timers').setImmediate); // a signal is heard between two tensors
      const place = places.get(own)!;
      if (name === WORD_EMBEDDINGS && place.dtype === 'I8' && checkpoint.dtype(own) === 'I8') {
        write(toFloat32(checkpoint.tensor(`${own}_scale`), own), places.get(`${own}_scale`)!.begin);
        write(checkpoint.tensor(own).data, place.begin);
        continue;
      }
      const weight = weights(name);
      const converted =
        place.dtype === 'F16' && weight.dtype === 'F32'
          ? toFloat16(weight as HostTensor<Float32Array>, own)
          : name === WORD_EMBEDDINGS && place.dtype === 'I8'
            ? quantizeWeight(weight as HostTensor<Float32Array>, 'accurate')
            : weight;
      write(converted.data, place.begin);
      if (!('scale' in converted)) continue;
      const { begin, end } = places.get(`${own}_scale`)!;
      write(converted.scale.subarray(0, (end - begin) / 4), begin); // one scale for the whole matrix in `torch`
    }
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** The `quantization_config` for config.json, as the library compressed-tensors writes it. */
function quantization(precision: Precision, floatHead = false) {
  const [weights, activations] = precision === 'torch' ? ['tensor', 'tensor'] : ['channel', 'token'];
  const group = {
    targets: ['Linear'],
    weights: { num_bits: 8, type: 'int', symmetric: true, strategy: weights, dynamic: false },
    input_activations: { num_bits: 8, type: 'int', symmetric: false, strategy: activations, dynamic: true },
  };
  const status = { quant_method: 'compressed-tensors', format: 'int-quantized', quantization_status: 'compressed' };
  return {
    quantization_config: { ...status, config_groups: { group_0: group }, ignore: floatHead ? ['qa_outputs'] : [] },
  };
}

/** The size and SHA-256 of a file. */
async function digest(path: string): Promise<{ bytes: number; sha256: string }> {
  const { createHash } = process.getBuiltinModule('node:crypto');
  const { createReadStream } = process.getBuiltinModule('node:fs');
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(path) as AsyncIterable<Uint8Array>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest('hex') };
}
