/** Messages between the page and its worker: a call with an id, then progress, then one result or one error. */

import type { Answer, DeviceName, Dtype, ErrorCode, Info, Scheme } from '../../src/index.ts';
import type { Explanation } from '../explain/explain.ts';
import type { Slide } from '../explain/microscope.ts';

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

/** Devices that there are to run on. */
export interface Machine {
  cores: number;
  /** Whether the page has the headers that threads need. */
  isolated: boolean;
  /** Whether memory can be shared, and so whether there can be threads. */
  shared: boolean;
  gpu: { label: string; software: boolean } | null;
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
  answer: Answer;
}
/** A line that could not be measured, and why. */
export interface Untimed {
  name: string;
  error: string;
}

/** Name of a call: what goes in, what comes out, and what is told in between. */
export interface Calls {
  machine: { input: null; output: Machine; progress: never };
  load: {
    input: { model: Model; settings: Settings };
    output: { info: Info; milliseconds: number };
    progress: { file: string; loaded: number; total: number };
  };
  answer: {
    input: Texts;
    output: { answers: [Answer, ...Answer[]]; windows: number; milliseconds: number };
    /** Windows of the passage. */
    progress: { done: number; total: number };
  };
  /** Milliseconds of a forward. */
  pace: {
    input: { model: Model; threads: number; texts: Texts };
    output: { int8: number; fp32: number; threads: number };
    progress: never;
  };
  measure: {
    input: { model: Model; threads: number; texts: Texts };
    output: null;
    progress: Timing | Untimed | string;
  };
  /** Progress is the share done. */
  explain: { input: { model: Model; texts: Texts }; output: Explanation; progress: number };
  /** One linear's input, for the microscope. */
  slide: { input: { model: Model; texts: Texts; linear: string }; output: Slide; progress: never };
}
export type Name = keyof Calls;

/** `cancel` ends the call of that id: an error `cancelled`, or what a measurement has so far. */
export type ToWorker = { id: number; name: Name; input: Calls[Name]['input'] } | { id: number; name: 'cancel' };
export type FromWorker =
  | { id: number; kind: 'progress'; value: unknown }
  | { id: number; kind: 'result'; value: unknown }
  | { id: number; kind: 'error'; code: ErrorCode | 'unknown' | 'cancelled'; message: string };
