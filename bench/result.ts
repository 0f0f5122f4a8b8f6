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
export interface Measurements {
  readonly memory: {
    readonly unit: 'MB';
    readonly max_ram: number;
    readonly max_global_vram: null;
    readonly max_process_vram: null;
    readonly max_reserved: null;
    readonly max_allocated: number | null;
  } | null;
  readonly latency: Latency;
  readonly throughput: { readonly unit: 'samples/s'; readonly value: number } | null;
  readonly energy: null;
  readonly efficiency: null;
}

/** One row: optimum-benchmark's `config` and `report`, and what it has no place for. */
export interface Row {
  readonly name: string;
  readonly config: {
    readonly name: string;
    readonly backend: Variant & {
      readonly name: 'bertlet';
      readonly version: string;
      readonly model: string;
      readonly task: 'question-answering';
      readonly threads: number | null;
      readonly adapter: string | null;
      readonly kernels: string | null;
      readonly reason: string | null;
    };
    readonly scenario: {
      readonly name: 'inference';
      readonly iterations: number;
      readonly duration: number;
      readonly warmup_runs: number;
      readonly input_shapes: { readonly batch_size: 1; readonly sequence_length: number };
    };
    readonly launcher: { readonly name: 'process' };
  };
  /** `first_forward` is the first answer: the article's question and passage, their tokenization included. */
  readonly report: Record<'load_model' | 'first_forward' | 'forward', Measurements>;
  /** Forwards before those counted. */
  readonly warmups: number;
  /** Median of `cpu fp32` at this length / median of this one; null where that was not run. */
  readonly speedup: number | null;
  /** Size of the model in this precision, as `bertlet convert` writes it. */
  readonly file_bytes: number;
  readonly gpu_bytes: number | null;
  /** The adapter computes on the CPU: this says nothing about a GPU. */
  readonly software: boolean;
}

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

/** Facts of a row besides its measurements. */
interface About {
  readonly model: string;
  readonly tokens: number;
  readonly protocol: Protocol;
  /** Size of the file. */
  readonly bytes: number;
  /** Median of `cpu fp32` at this length, in seconds. */
  readonly baseline: number | null;
}

/** Makes a row of what a variant has said. */
export function rowOf(variant: Variant, hello: Extract<Hello, { info: Info }>, state: State, about: About): Row {
  const { info } = hello;
  const { threads = null, adapter = null, kernels = null, reason = null, gpuBytes = null } = info;
  const forward = latencyOf(state.milliseconds);
  const measured = (latency: Latency, peakBytes: number): Measurements => ({
    memory: {
      ...{ unit: 'MB', max_ram: peakBytes / 1e6, max_global_vram: null, max_process_vram: null },
      ...{ max_reserved: null, max_allocated: gpuBytes && gpuBytes / 1e6 },
    },
    latency,
    throughput: null,
    energy: null,
    efficiency: null,
  });
  const { warmups, samples, seconds } = about.protocol;
  return {
    name: nameOf(variant),
    config: {
      name: `${nameOf(variant)}, ${about.tokens} tokens`,
      backend: {
        ...{ name: 'bertlet', version: VERSION, model: about.model, task: 'question-answering' },
        ...variant,
        ...{ threads, adapter, kernels, reason },
      },
      scenario: {
        ...{ name: 'inference', iterations: samples, duration: seconds, warmup_runs: warmups },
        input_shapes: { batch_size: 1, sequence_length: about.tokens },
      },
      launcher: { name: 'process' },
    },
    report: {
      load_model: measured(latencyOf([hello.load]), hello.peakBytes),
      first_forward: measured(latencyOf([hello.first]), hello.peakBytes),
      forward: { ...measured(forward, state.peakBytes), throughput: { unit: 'samples/s', value: 1 / forward.mean } },
    },
    warmups: state.warmups,
    speedup: about.baseline && about.baseline / forward.p50,
    file_bytes: about.bytes,
    gpu_bytes: gpuBytes,
    software: isSoftware(info),
  };
}
