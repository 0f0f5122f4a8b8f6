/** bertlet's public API. */
import './node.ts';
import { type Backend, BertletError, inputError, type Scheme } from './backend.ts';
import { inNode } from './backends/assets.ts';
import { ReferenceBackend } from './backends/reference.ts';
import { checkThreads, startCpu } from './backends/startCpu.ts';
import { startWebgpu } from './backends/startWebgpu.ts';
import { Bert, type Weights } from './bert.ts';
import { type Checkpoint, openCheckpoint, type Precision, weightsOf } from './checkpoint/load.ts';
import type { OnProgress } from './checkpoint/source.ts';
import { locate } from './hub.ts';
import { checkOneOf, checkType, type Given, optionsOf, shown } from './options.ts';
import { type Device, type Dtype, type Info, QuestionAnswering } from './qa.ts';

export { BertletError, type ErrorCode, type Scheme } from './backend.ts';
export type { BertConfig } from './bert.ts';
export { type ConvertOptions, convert, type Manifest } from './checkpoint/convert.ts';
export type { OnProgress } from './checkpoint/source.ts';
export type { Answer, Device, Dtype, Info, Question, QuestionAnswering } from './qa.ts';
export { type Encoding, type PairEncoding, Tokenizer, type TokenizerOptions } from './tokenizer.ts';

export interface LoadOptions {
  /**
   * `cpu`: WebAssembly SIMD on all cores, the default. `webgpu`: the GPU; in Node it needs the package `webgpu`.
   * `reference`: plain TypeScript, to read and to check by. `auto`: the fastest there is; `info.reason` says why.
   */
  device?: Device | 'auto' | undefined;
  /** How the linears compute. fp16, for `webgpu`, keeps their weights in float16 and computes in float32. Default int8. */
  dtype?: Dtype | undefined;
  /** For int8: `torch` is PyTorch's quantize_dynamic, `accurate` has finer scales (quantize.ts). Default torch, or an int8
   * checkpoint's own. */
  scheme?: Scheme | undefined;
  /** cpu: how many threads. Default: one for each core that this process may use. */
  threads?: number | undefined;
  /**
   * cpu in Node: switches on V8's experimental revectorizer, `--experimental-wasm-revectorize`, which makes 256-bit
   * operations of the kernels' 128-bit ones: up to twice as fast. It holds for all WebAssembly that this process compiles
   * from then on, not only bertlet's. Default false.
   */
  wideSimd?: boolean | undefined;
  /** webgpu: take the time of each kernel for `info.milliseconds`, where the adapter has timestamps. Slower. */
  profile?: boolean | undefined;
  /** A model of the Hub: branch, tag or commit. Default main. */
  revision?: string | undefined;
  /** Address of the Hub. Default: the environment's HF_ENDPOINT, or https://huggingface.co. */
  endpoint?: string | undefined;
  /** Told of each large file while it is downloaded or loaded, in bytes. */
  onProgress?: OnProgress | undefined;
}

/** A device that has started, and what `info` says of it once the model is there. */
type Started = { backend: Backend; about: () => Partial<Info> };

/** Devices by name, the fastest first, and the dtypes each has: adding one is adding an entry. */
const DEVICES: Record<Device, { dtypes: Dtype[]; start: (options: Given<LoadOptions>) => Promise<Started> }> = {
  webgpu: {
    dtypes: ['fp32', 'fp16', 'int8'],
    start: async ({ device, dtype = 'int8', profile = false }) => {
      const { backend, kernels } = await startWebgpu({ hardware: device === 'auto', int8: dtype === 'int8', profile });
      const { adapter, milliseconds } = backend;
      const about = () => ({ adapter, kernels, gpuBytes: backend.bytes, ...(profile && { milliseconds }) });
      return { backend: backend as Backend, about };
    },
  },
  cpu: {
    dtypes: ['fp32', 'int8'],
    start: async (options) => {
      const { backend, kernels, reason } = await startCpu(options);
      const { threads, milliseconds } = backend;
      const about = () => ({ threads, kernels, milliseconds, ...(reason && { reason }) });
      return { backend: backend as Backend, about };
    },
  },
  reference: {
    dtypes: ['fp32', 'int8'],
    start: async () => ({ backend: new ReferenceBackend() as Backend, about: () => ({}) }),
  },
};
const NAMES = Object.keys(DEVICES) as Device[];
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
  checkOneOf('device', device, ['auto', ...NAMES]);
  checkOneOf('dtype', dtype, device === 'auto' ? DEVICES.webgpu.dtypes : DEVICES[device].dtypes, `on ${device}`);
  checkOneOf('scheme', options.scheme, ['torch', 'accurate']);
  for (const name of ['wideSimd', 'profile'] as const) checkType(name, options[name], 'boolean');
  for (const name of ['revision', 'endpoint'] as const) checkType(name, options[name], 'string');
  checkType('onProgress', onProgress, 'function');
  if (options.threads !== undefined) checkThreads(options.threads);
  const checkpoint = await openCheckpoint(await locate(await placeOf(model), options), onProgress);
  const scheme = options.scheme ?? checkpoint.scheme ?? 'torch';
  const reasons: string[] = [];
  try {
    if (checkpoint.scheme && dtype !== 'int8') throw inputError('dtype', "int8, the checkpoint's", dtype);
    if (checkpoint.scheme && scheme !== checkpoint.scheme) {
      throw inputError('scheme', `${checkpoint.scheme}, the checkpoint's`, scheme);
    }
    for (const name of device === 'auto' ? NAMES.filter((each) => DEVICES[each].dtypes.includes(dtype)) : [device]) {
      try {
        const { backend, about } = await DEVICES[name].start(options);
        const { bert, weightBytes } = await upload(checkpoint, backend, dtype === 'int8' ? scheme : dtype);
        const known = about();
        if (device === 'auto') reasons.push(`${name} is the fastest device that starts here`);
        if (known.reason) reasons.push(known.reason);
        const reason = reasons.length > 0 && { reason: reasons.join('; ') };
        const info: Info = {
          ...known,
          device: name,
          dtype,
          ...(dtype === 'int8' && { scheme }),
          weightBytes,
          ...reason,
        };
        return new QuestionAnswering(checkpoint.tokenizer, bert, backend, info);
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
async function upload(checkpoint: Checkpoint, backend: Backend, precision: Precision) {
  const weights = weightsOf(checkpoint, precision);
  let weightBytes = 0;
  const counted: Weights = (name) => {
    const weight = weights(name);
    weightBytes += weight.data.byteLength + ('scale' in weight ? weight.scale.byteLength : 0);
    return weight;
  };
  try {
    const bert = new Bert(backend, checkpoint.config, counted);
    await bert.forward(Int32Array.of(0), Int32Array.of(0));
    return { bert, weightBytes };
  } catch (error) {
    await backend.dispose();
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
