/** bertlet's public API. */
import './node.ts';
import { Bert, type Weights } from './bert.ts';
import { locate } from './checkpoint/hub.ts';
import { type Checkpoint, openCheckpoint, type Precision, weightsOf } from './checkpoint/load.ts';
import type { OnProgress } from './checkpoint/source.ts';
import { checkThreads } from './devices/cpu/start.ts';
import { DEVICE_NAMES, DEVICES, type DeviceName, type DeviceOptions, type Dtype } from './devices/index.ts';
import { BertletError, inputError } from './errors.ts';
import { checkOneOf, checkType, optionsOf, shown } from './options.ts';
import { inNode } from './platform.ts';
import { type Info, QuestionAnswering } from './qa.ts';
import { Runtime, type Scheme } from './runtime.ts';

export type { BertConfig } from './bert.ts';
export { type ConvertOptions, convert, type Manifest } from './checkpoint/convert.ts';
export type { Precision } from './checkpoint/load.ts';
export type { OnProgress } from './checkpoint/source.ts';
export type { DeviceName, DeviceOptions, Dtype } from './devices/index.ts';
export { BertletError, type ErrorCode } from './errors.ts';
export type { Answer, Info, Question, QuestionAnswering } from './qa.ts';
export type { DeviceInfo, Scheme } from './runtime.ts';
export { type Encoding, type PairEncoding, Tokenizer, type TokenizerOptions } from './tokenizer.ts';

export interface LoadOptions extends DeviceOptions {
  /**
   * `cpu`: WebAssembly SIMD on all cores, the default. `webgpu`: the GPU; in Node it needs the package `webgpu`.
   * `reference`: plain TypeScript, to read and to check by. `auto`: the fastest there is; `info.reason` says why.
   */
  device?: DeviceName | 'auto' | undefined;
  /** How the linears compute. fp16, for `webgpu`, keeps their weights in float16 and computes in float32. Default int8. */
  dtype?: Dtype | undefined;
  /** For int8: `torch` is PyTorch's quantize_dynamic, `accurate` has finer scales (quantize.ts). Default torch, or an int8
   * checkpoint's own. */
  scheme?: Scheme | undefined;
  /** A model of the Hub: branch, tag or commit. Default main. */
  revision?: string | undefined;
  /** Address of the Hub. Default: the environment's HF_ENDPOINT, or https://huggingface.co. */
  endpoint?: string | undefined;
  /** Told of each large file while it is downloaded or loaded, in bytes. */
  onProgress?: OnProgress | undefined;
}

const OPTIONS = [
  ...(['device', 'dtype', 'scheme', 'threads', 'wideSimd', 'profile'] as const),
  ...(['revision', 'endpoint', 'onProgress'] as const),
];

/**
 * Loads a BERT question answering checkpoint.
 * @param model a folder (in a page, a URL) with config.json, model.safetensors or pytorch_model.bin, and tokenizer.json or
 * vocab.txt (with tokenizer_config.json); a URL of one, `file:` included; or a model of the Hugging Face Hub, `owner/name`
 * @throws BertletError `file` where one is missing; `config`, `safetensors`, `weights`, `tokenizer` where its content
 * is not what it should be; `input` or `device` where the options cannot be met.
 */
export async function load(model: string | URL, given: LoadOptions = {}): Promise<QuestionAnswering> {
  const options = optionsOf('load', given, OPTIONS);
  const { device = 'cpu', dtype = 'int8', onProgress } = options;
  checkOneOf('device', device, ['auto', ...DEVICE_NAMES]);
  checkOneOf('dtype', dtype, device === 'auto' ? DEVICES.webgpu.dtypes : DEVICES[device].dtypes, `on ${device}`);
  checkOneOf('scheme', options.scheme, ['torch', 'accurate']);
  for (const name of ['wideSimd', 'profile'] as const) checkType(name, options[name], 'boolean');
  for (const name of ['revision', 'endpoint'] as const) checkType(name, options[name], 'string');
  checkType('onProgress', onProgress, 'function');
  if (options.threads !== undefined) checkThreads(options.threads);
  const checkpoint = await openCheckpoint(await locate(await placeOf(model), options), onProgress);
  const scheme = options.scheme ?? checkpoint.scheme ?? 'torch';
  const int8 = dtype === 'int8';
  const reasons: string[] = [];
  try {
    if (checkpoint.scheme && !int8) throw inputError('dtype', "int8, the checkpoint's", dtype);
    if (checkpoint.scheme && scheme !== checkpoint.scheme) {
      throw inputError('scheme', `${checkpoint.scheme}, the checkpoint's`, scheme);
    }
    const supporting = DEVICE_NAMES.filter((name) => DEVICES[name].dtypes.includes(dtype));
    for (const name of device === 'auto' ? supporting : [device]) {
      try {
        const { device: started, info } = await DEVICES[name].start(options, { auto: device === 'auto', int8 });
        const { bert, runtime, weightBytes } = await upload(checkpoint, new Runtime(started), int8 ? scheme : dtype);
        const about = info();
        if (device === 'auto') reasons.push(`${name} is the fastest device that starts here`);
        if (about.reason) reasons.push(about.reason);
        const all: Info = { ...about, device: name, dtype, weightBytes };
        if (int8) all.scheme = scheme;
        if (reasons.length > 0) all.reason = reasons.join('; ');
        return new QuestionAnswering(checkpoint.tokenizer, bert, runtime, all);
      } catch (error) {
        if (device !== 'auto' || !(error instanceof BertletError) || error.code !== 'device') throw error;
        reasons.push(error.message); // only `auto` uses another device than asked for
      }
    }
  } finally {
    checkpoint.close();
  }
  throw new BertletError('device', `auto: expected a device that starts, got none: ${reasons.join('; ')}.`);
}

/**
 * Hands a model to a device, and runs it once on one token: what a device compiles or reserves on first use it does
 * now, and one that cannot run the model says so here.
 */
async function upload(checkpoint: Checkpoint, runtime: Runtime, precision: Precision) {
  const weights = weightsOf(checkpoint, precision);
  let weightBytes = 0;
  const counted: Weights = (name) => {
    const weight = weights(name);
    weightBytes += weight.data.byteLength + ('scale' in weight ? weight.scale.byteLength : 0);
    return weight;
  };
  try {
    const bert = new Bert(runtime, checkpoint.config, counted);
    await bert.forward(Int32Array.of(0), Int32Array.of(0));
    return { bert, runtime, weightBytes };
  } catch (error) {
    await runtime.dispose();
    throw error;
  }
}

/** The model as a name or path: a `file:` address is a path in Node, and any other address is written out. */
async function placeOf(model: string | URL): Promise<string> {
  if (!(typeof model === 'string' && model !== '') && !(model instanceof URL)) {
    throw inputError('model', 'a folder, an address or owner/name', shown(model));
  }
  const place = String(model);
  if (!inNode || !place.startsWith('file:')) return model instanceof URL ? place.replace(/\/+$/, '') : place;
  const { fileURLToPath } = await import('node:url');
  try {
    return fileURLToPath(place);
  } catch (cause) {
    throw inputError('model', 'a file: address of this machine', shown(place), (cause as Error).message);
  }
}
