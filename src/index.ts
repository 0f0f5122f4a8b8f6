/** The public API of bertlet: load a checkpoint, then answer questions. `bertlet/tensor` (tensor.ts) is the engine. */
import './platform.ts';
import { Bert, type Weights } from './bert.ts';
import { type Checkpoint, openCheckpoint, type Precision, weightsOf } from './checkpoint/index.ts';
import { DEVICE_OPTIONS, type Dtype, deviceName, dtypesOf, startDevice } from './devices/index.ts';
import { inputError } from './errors.ts';
import { HUB_OPTIONS } from './files/hub.ts';
import type { Files, OnProgress } from './files/index.ts';
import * as option from './options.ts';
import { check, type GivenOf, optionsOf, preview, unlessAborted, type ValuesOf } from './options.ts';
import { QuestionAnswering } from './qa.ts';
import { Runtime, scheme } from './runtime.ts';

export type { BertConfig } from './bert.ts';
export type { Precision } from './checkpoint/index.ts';
export type { DeviceName, DeviceOptions, Dtype } from './devices/index.ts';
export { BertletError, type ErrorCode } from './errors.ts';
export type { Fetch } from './files/http.ts';
export { type HubOptions, hub } from './files/hub.ts';
export type { Files, OnProgress, OpenFile, OpenOptions, SiteOptions } from './files/index.ts';
export { blobs, folder, site } from './files/index.ts';
export type { Answer, Info, Question, QuestionAnswering } from './qa.ts';
export type { DeviceInfo, Scheme } from './runtime.ts';
export { type BpeOptions, ByteLevelBpe } from './text/bpe.ts';
export { Tokenizer, type TokenizerJson } from './text/json.ts';
export type {
  AddedToken,
  Encoding,
  Normalized,
  PairEncoding,
  PairPart,
  PushToken,
  TokenizerOptions,
  TokenModel,
} from './text/tokenizer.ts';
export { WordPiece, type WordPieceOptions } from './text/wordpiece.ts';

const OPTIONS = {
  /**
   * `cpu`: WebAssembly SIMD on all cores, the default. `webgpu`: the GPU; in Node this needs the package `webgpu`.
   * `reference`: slow plain TypeScript, to check the others. `auto`: the fastest device that starts; `info.reason` says
   * why.
   */
  device: option.byDefault('cpu', deviceName),
  /**
   * Precision of the linears. fp16 (`webgpu` only) stores the weights in float16 and computes in float32. Default int8.
   */
  dtype: option.byDefault('int8', option.anything<Dtype>()), // what it may be depends on the device
  /**
   * Only for int8, refused with another dtype: `torch` is PyTorch's quantize_dynamic, `accurate` has finer scales
   * (quantize.ts). Default: the scheme of an int8 checkpoint, otherwise accurate.
   */
  scheme,
  /**
   * Most windows that run through the model at once: of one passage, and of `answer`s under way at once. An answer does not
   * depend on it. Default 8 on `webgpu`, which one window leaves idle, otherwise 1.
   */
  batchSize: option.integer(1),
  /** Most questions that may be under way at once; one more is refused as `busy`. Default: no limit. */
  maxQueue: option.integer(1),
  ...DEVICE_OPTIONS,
  ...HUB_OPTIONS,
  /** Called with the bytes so far of each large file that is downloaded or loaded. */
  onProgress: option.callback<OnProgress>(),
  /** Ends `load` early: it rejects with the signal's reason. What is loaded by then is given back. */
  signal: option.abortSignal,
};
/** Options of `load`. */
export type LoadOptions = GivenOf<typeof OPTIONS>;

/**
 * Loads a question answering checkpoint of BERT, DistilBERT, ELECTRA or RoBERTa.
 * @param model a folder, as a path (in Node), a `file:` address (in Node) or a URL (in a page); or `owner/name` or its
 * address, a model of the Hugging Face Hub; or `Files`, of files in memory or a fetch of one's own. The folder has
 * config.json, model.safetensors or pytorch_model.bin, whole or in parts with an index, and the tokenizer's files:
 * tokenizer.json, or vocab.txt, or vocab.json and merges.txt.
 * @throws BertletError `file` if a file is missing; `config`, `safetensors`, `weights` or `tokenizer` if a file has
 * wrong content; `input` for a wrong option; `device` if the device does not start or cannot run the model; the reason of
 * `signal` if it aborts
 */
export async function load(model: string | URL | Files, given: LoadOptions = {}): Promise<QuestionAnswering> {
  const options = optionsOf('load', given, OPTIONS);
  const { signal } = options;
  signal?.throwIfAborted();
  const loading = loadModel(model, options);
  return unlessAborted(loading, signal).catch((error) => {
    if (signal?.aborted) loading.then((qa) => qa.dispose()).catch(() => {}); // nobody else will
    throw error;
  });
}

async function loadModel(model: string | URL | Files, options: ValuesOf<typeof OPTIONS>): Promise<QuestionAnswering> {
  const { device, dtype, signal, onProgress, revision, endpoint } = options;
  check('dtype', dtype, option.oneOf(dtypesOf(device), `on ${device}`));
  const int8 = dtype === 'int8';
  if (options.scheme && !int8) {
    throw inputError('scheme', `none with dtype ${dtype}`, preview(options.scheme), 'Leave it out, or load int8.');
  }
  const checkpoint = await openCheckpoint(model, { signal, onProgress, revision, endpoint });
  const scheme = options.scheme ?? checkpoint.scheme ?? 'accurate';
  try {
    signal?.throwIfAborted();
    if (checkpoint.scheme && !int8) throw inputError('dtype', "int8, the checkpoint's", dtype);
    if (checkpoint.scheme && scheme !== checkpoint.scheme) {
      throw inputError('scheme', `${checkpoint.scheme}, the checkpoint's`, scheme);
    }
    const { name, used, info } = await startDevice(device, dtype, options, (started) =>
      upload(checkpoint, new Runtime(started), int8 ? scheme : dtype),
    );
    const { bert, runtime, weightBytes } = used;
    const about = () => ({ ...info(), device: name, dtype, weightBytes, ...(int8 && { scheme }) });
    const { batchSize = name === 'webgpu' ? 8 : 1, maxQueue } = options;
    return new QuestionAnswering(checkpoint.tokenizer, bert, runtime, about, { batchSize, maxQueue });
  } finally {
    checkpoint.close();
  }
}

/**
 * Uploads a model to a device and runs one token through the model. So the device compiles and reserves now what it
 * needs at first use, and a device that cannot run the model fails here and not in the first `answer`.
 */
async function upload(checkpoint: Checkpoint, runtime: Runtime, precision: Precision) {
  const weights = weightsOf(checkpoint, precision, runtime.device);
  let weightBytes = 0;
  const fill: Weights['fill'] = (name, target, scale) => {
    weights.fill(name, target, scale);
    weightBytes += target.byteLength + (scale?.byteLength ?? 0);
  };
  try {
    const bert = new Bert(runtime, checkpoint.config, { ...weights, fill });
    await bert.forward(Int32Array.of(0), Int32Array.of(0));
    return { bert, runtime, weightBytes };
  } catch (error) {
    await runtime.dispose();
    throw error;
  }
}
