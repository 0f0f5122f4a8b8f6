/** bertlet's public API. */
import { type Backend, BertletError, inputError, type Scheme } from './backend.ts';
import { ReferenceBackend } from './backends/reference.ts';
import { startCpu } from './backends/startCpu.ts';
import { Bert, type Weights } from './bert.ts';
import { type OnProgress, openCheckpoint, weightsOf } from './checkpoint/load.ts';
import { QuestionAnswering } from './qa.ts';

export { BertletError, type ErrorCode, type Scheme } from './backend.ts';
export type { Answer, Question, QuestionAnswering } from './qa.ts';
export { type Encoding, type PairEncoding, Tokenizer, type TokenizerOptions } from './tokenizer.ts';

export interface LoadOptions {
  /**
   * `cpu`: WebAssembly SIMD on all cores, the default. `reference`: plain TypeScript, to read and to check by.
   * `auto`: the fastest there is; `info.reason` says why.
   */
  device?: 'cpu' | 'reference' | 'auto';
  /** How the linears compute. Default int8. */
  dtype?: 'fp32' | 'int8';
  /** For int8: `torch` is PyTorch's quantize_dynamic, `accurate` has finer scales (quantize.ts). Default torch. */
  scheme?: Scheme;
  /** cpu: how many threads. Default: one for each core that this process may use. */
  threads?: number;
  /**
   * cpu in Node: switches on V8's experimental revectorizer, `--experimental-wasm-revectorize`, which makes 256-bit
   * operations of the kernels' 128-bit ones: up to twice as fast. It holds for all WebAssembly that this process compiles
   * from then on, not only bertlet's. Default false.
   */
  wideSimd?: boolean;
  /** Told of the weights' file while it loads, in bytes. */
  onProgress?: OnProgress;
}

export interface Info {
  /** The device in use. */
  device: string;
  dtype: 'fp32' | 'int8';
  /** For int8. */
  scheme?: Scheme;
  /** cpu: threads at work, the caller's included. */
  threads?: number;
  /** cpu: which kernels are in use. */
  kernels?: string;
  /** Bytes of the weights as the device holds them. */
  weightBytes: number;
  /** Why this device, where `auto` chose it. */
  reason?: string;
}

/** A device that has started, and what `info` says of it. */
type Device = { backend: Backend; about: Partial<Info> };

/** Devices by name, the fastest first: adding one is adding a line. */
const DEVICES: Record<Exclude<LoadOptions['device'], undefined | 'auto'>, (options: LoadOptions) => Promise<Device>> = {
  cpu: async (options) => {
    const { backend, kernels, reason } = await startCpu(options);
    return { backend: backend as Backend, about: { threads: backend.threads, kernels, ...(reason && { reason }) } };
  },
  reference: async () => ({ backend: new ReferenceBackend() as Backend, about: {} }),
};

/**
 * Loads a BERT question answering checkpoint from a folder with config.json, model.safetensors, and tokenizer.json or
 * vocab.txt (with tokenizer_config.json).
 * @throws BertletError `file` where one is missing; `config`, `safetensors`, `weights`, `tokenizer` where its content
 * is not what it should be; `input` or `device` where the options cannot be met.
 */
export async function load(folder: string, options: LoadOptions = {}): Promise<QuestionAnswering> {
  const { device = 'cpu', dtype = 'int8', scheme = 'torch', onProgress } = options;
  oneOf('device', device, ['auto', ...Object.keys(DEVICES)]);
  oneOf('dtype', dtype, ['fp32', 'int8']);
  oneOf('scheme', scheme, ['torch', 'accurate']);
  const checkpoint = await openCheckpoint(folder, onProgress);
  try {
    const { backend, about } = await start(device, options);
    const weights = weightsOf(checkpoint, dtype === 'fp32' ? dtype : scheme);
    let weightBytes = 0;
    const counted: Weights = (name) => {
      const weight = weights(name);
      weightBytes += weight.data.byteLength + ('scale' in weight ? weight.scale.byteLength : 0);
      return weight;
    };
    try {
      const bert = new Bert(backend, checkpoint.config, counted);
      const info = { ...about, dtype, ...(dtype === 'int8' && { scheme }), weightBytes };
      return new QuestionAnswering(checkpoint.tokenizer, bert, backend, info);
    } catch (error) {
      await backend.dispose();
      throw error;
    }
  } finally {
    checkpoint.close();
  }
}

/** Starts a device. `auto` takes the first in `DEVICES` that starts, and only then is another used than asked for. */
async function start(device: NonNullable<LoadOptions['device']>, options: LoadOptions) {
  const reasons: string[] = [];
  for (const name of device === 'auto' ? (Object.keys(DEVICES) as (keyof typeof DEVICES)[]) : [device]) {
    try {
      const { backend, about } = await DEVICES[name](options);
      if (device === 'auto') reasons.push(`${name} is the fastest device that starts here`);
      if (about.reason) reasons.push(about.reason);
      return { backend, about: { ...about, device: name, ...(reasons.length > 0 && { reason: reasons.join('; ') }) } };
    } catch (error) {
      if (device !== 'auto' || !(error instanceof BertletError) || error.code !== 'device') throw error;
      reasons.push(error.message);
    }
  }
  throw new BertletError('device', `auto: expected a device that starts, got none: ${reasons.join('; ')}.`);
}

function oneOf(option: string, value: string, allowed: string[]): void {
  if (!allowed.includes(value)) throw inputError(option, allowed.join(', '), JSON.stringify(value));
}
