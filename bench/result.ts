/** The result of a benchmark: one JSON object, its measurements in optimum-benchmark's shape. */

import type { Dtype, Info, Scheme } from '../src/index.ts';
import type { BertConfig } from '../src/tensor.ts';
import type { Environment } from './environment.ts';
import { type Latency, latencyOf, type Protocol } from './measure.ts';
import type { Hello, Stages, State } from './variant.ts';
import { VERSION } from './version.ts';

/** Device, dtype, and for int8 the scheme. */
export interface Variant {
  readonly device: 'cpu' | 'webgpu';
  readonly dtype: Dtype;
  readonly scheme?: Scheme;
}
export const nameOf = ({ device, dtype, scheme }: Omit<Variant, 'device'> & { device: string }): string =>
  [device, dtype, scheme].filter(Boolean).join(' ');

/** optimum-benchmark's `Measurements`. Memory in MB of 10^6 bytes; energy is not measured. */
const measurements = (latency: Latency, peakBytes: number, gpuBytes: number | null, isRate = false) => ({
  memory: {
    unit: 'MB',
    max_ram: peakBytes / 1e6,
    max_global_vram: null,
    max_process_vram: null,
    max_reserved: null,
    max_allocated: gpuBytes && gpuBytes / 1e6,
  },
  latency,
  throughput: isRate ? { unit: 'samples/s', value: 1 / latency.mean } : null,
  energy: null,
  efficiency: null,
});

/** Facts of a row besides its measurements. */
interface About {
  readonly model: string;
  readonly tokens: number;
  readonly protocol: Protocol;
  /** Size of the model in this precision, as `bertlet convert` writes it. */
  readonly bytes: number;
  /** Median of `cpu fp32` at this length, in seconds; null where that was not run. */
  readonly baseline: number | null;
}

/** Makes a row of what a variant has said: optimum-benchmark's `config` and `report`, and what it has no place for. */
export function rowOf(variant: Variant, hello: Extract<Hello, { info: Info }>, state: State, about: About) {
  const { model, tokens, protocol, bytes, baseline } = about;
  const { info } = hello;
  const { threads = null, adapter = null, kernels = null, reason = null, gpuBytes = null } = info;
  const forward = latencyOf(state.milliseconds);
  const input_shapes = { batch_size: 1, sequence_length: tokens };
  const { warmups, samples, seconds } = protocol;
  return {
    name: nameOf(variant),
    config: {
      name: `${nameOf(variant)}, ${tokens} tokens`,
      backend: {
        ...{ name: 'bertlet', version: VERSION, model, task: 'question-answering' },
        ...variant,
        ...{ threads, adapter, kernels, reason },
      },
      scenario: { name: 'inference', iterations: samples, duration: seconds, warmup_runs: warmups, input_shapes },
      launcher: { name: 'process' },
    },
    /** `first_forward` is the first answer: the article's question and passage, their tokenization included. */
    report: {
      load_model: measurements(latencyOf([hello.load]), hello.peakBytes, gpuBytes),
      first_forward: measurements(latencyOf([hello.first]), hello.peakBytes, gpuBytes),
      forward: measurements(forward, state.peakBytes, gpuBytes, true),
    },
    /** Forwards before those counted. */
    warmups: state.warmups,
    /** Median of `cpu fp32` at this length / median of this one. */
    speedup: baseline && baseline / forward.p50,
    file_bytes: bytes,
    gpu_bytes: gpuBytes,
    /** The adapter computes on the CPU: this says nothing about a GPU. */
    software: isSoftware(info),
  };
}
export type Row = ReturnType<typeof rowOf>;

/** One point of a line. */
export interface Point {
  readonly name: string;
  readonly variant: Variant;
  readonly tokens: number;
  readonly threads: number | null;
  readonly warmups: number;
  readonly latency: Latency;
}

export interface Result {
  readonly version: 1;
  readonly environment: Environment & {
    /** The CPU's kernels in use, which say what SIMD the engine has. */
    readonly kernels: string | null;
    /** Why no better ones, where some failed or are missing. */
    readonly reason: string | null;
    readonly threads: number | null;
    readonly adapter: string | null;
    readonly gpuKernels: string | null;
    readonly software: boolean | null;
  };
  /** Command that was run. */
  readonly command: string;
  readonly model: { readonly name: string; readonly config: BertConfig; readonly parameters: number };
  readonly protocol: Protocol;
  readonly benchmarks: Row[];
  /** Variants that did not start, and why. */
  readonly skipped: { readonly variant: Variant; readonly name: string; readonly reason: string }[];
  /** How latency grows; with fewer samples. Null where it was not asked for. */
  readonly sweeps: { readonly protocol: Protocol; readonly tokens: Point[]; readonly threads: Point[] } | null;
  /** Mean milliseconds of one forward in each kind of kernel, by the engine's own clock; GPU: timestamps. */
  readonly stages:
    | { readonly name: string; readonly variant: Variant; readonly tokens: number; milliseconds: Stages }[]
    | null;
}

/** An adapter that computes on the CPU. */
export const isSoftware = ({ adapter }: Pick<Info, 'adapter'>): boolean => adapter?.endsWith('(software)') ?? false;
