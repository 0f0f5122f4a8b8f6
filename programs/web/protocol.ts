/** Messages between the page and its worker. A call brings a port along, by which the worker answers and hears that it shall end. */
import type { DeviceName, Dtype, ErrorCode, Info, Scheme } from '../../src/index.ts';

/** A folder's address, a name of the Hub, or files that were dropped on the page. */
export type Model = string | File[];

/** How a model runs. */
export interface Settings {
  device: Exclude<DeviceName, 'reference'>;
  dtype: Dtype;
  scheme: Scheme;
  threads: number;
}
export interface Texts {
  question: string;
  context: string;
}

/** A line of the benchmark. */
export interface Timing {
  name: string;
  info: Info;
  /** To load the model from where it is kept, in milliseconds. */
  loading: number;
  /** Time from one question to its answer, in milliseconds. */
  median: number;
  samples: number;
  /** Size of the model's file in this precision. */
  bytes: number;
}
/** A line that could not be measured, and why. */
export interface Untimed {
  name: string;
  error: string;
}

/** Answer of the worker: progress, and then one result or one error. */
export type Said =
  | { progress: unknown }
  | { result: unknown }
  | { code: ErrorCode | 'unknown' | 'cancelled'; message: string };
