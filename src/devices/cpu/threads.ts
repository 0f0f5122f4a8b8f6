/**
 * How the CPU backend's threads run a program together. Every thread, the caller's included, executes each command on
 * its own share of rows, columns or heads, and waits for the others before the next: no message is sent for an op.
 * The words they meet at lie in the shared memory.
 */

/** A kernel: reads its arguments at `at` and does the share of one thread. */
export type Kernel = (at: number, thread: number, threads: number) => void;

/** Memory below `WEIGHTS`: the module's constants, the meeting words, and the program. */
const MEETING = 32768;
export const PROGRAM = 36864;
export const WEIGHTS = 131072;
/** A command: the index of its kernel in `KERNELS`, then its arguments. */
export const COMMAND_BYTES = 64;
export const MOST_COMMANDS = (WEIGHTS - PROGRAM) / COMMAND_BYTES;
export const KERNELS = ['embedding', 'layerNorm', 'range', 'quantize', 'linear', 'linearInt8', 'attention'] as const;

/** Indices of the meeting words. RUN counts the programs, GENERATION the meetings. */
export const RUN = 0;
const GENERATION = 1;
const ARRIVED = 2;
const ASLEEP = 3;
export const FAILED = 4;
export const COMMANDS = 5;
/** Each in a cache line of its own, so that a thread that spins on one does not slow those that write another. */
const word = (index: number) => index * 16;

export class Meeting {
  readonly #words: Int32Array;
  readonly #threads: number;
  readonly #spins: number;
  constructor(memory: WebAssembly.Memory, threads: number) {
    this.#words = new Int32Array(memory.buffer, MEETING, 128);
    this.#threads = threads;
    // 3 ms: where waking takes longer than a command, two threads that sleep and wake each other go on doing so.
    this.#spins = threads <= (globalThis.navigator?.hardwareConcurrency ?? 1) ? 300_000 : 10_000;
  }
  get(index: number): number {
    return Atomics.load(this.#words, word(index));
  }
  set(index: number, value: number): void {
    Atomics.store(this.#words, word(index), value);
  }

  /** Adds 1 to a word and wakes who waits for that. */
  advance(index: number): void {
    Atomics.add(this.#words, word(index), 1);
    if (Atomics.load(this.#words, word(ASLEEP)) > 0) Atomics.notify(this.#words, word(index));
  }

  /** Says that this thread is done; the last one to say so opens the way. Returns what to wait for. */
  arrive(): number {
    const generation = this.get(GENERATION);
    if (Atomics.add(this.#words, word(ARRIVED), 1) === this.#threads - 1) {
      this.set(ARRIVED, 0);
      this.advance(GENERATION);
    }
    return generation;
  }
  /** Waits until all have arrived, or for some time; true once they have. */
  passed(generation: number, milliseconds: number): boolean {
    return this.changed(GENERATION, generation, milliseconds);
  }

  /**
   * Waits until a word is not `value`, or for some time: spins a little, as others are mostly done at the same time,
   * then sleeps, as there may be fewer cores than threads. 0 milliseconds: spins only (a page's own thread may not sleep).
   */
  changed(index: number, value: number, milliseconds: number): boolean {
    for (let spin = 0; spin < this.#spins; spin++) if (this.get(index) !== value) return true;
    if (milliseconds > 0) {
      Atomics.add(this.#words, word(ASLEEP), 1);
      Atomics.wait(this.#words, word(index), value, milliseconds);
      Atomics.sub(this.#words, word(ASLEEP), 1);
    }
    return this.get(index) !== value;
  }
}

/** The kernels of a compiled module over a memory, in the order of `KERNELS`. */
export function kernelsOf(module: WebAssembly.Module, memory: WebAssembly.Memory): Kernel[] {
  const abort = () => {
    throw new Error('abort');
  };
  const { exports } = new WebAssembly.Instance(module, { env: { memory, abort } });
  return KERNELS.map((name) => exports[name] as Kernel);
}

/** What a worker is started with. */
export interface WorkerData {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  thread: number;
  threads: number;
}

/** A worker's life: it waits for a program, runs its share, and waits again, until it is terminated. */
export function work({ module, memory, thread, threads }: WorkerData, ready: () => void): void {
  const kernels = kernelsOf(module, memory);
  const meeting = new Meeting(memory, threads);
  let run = meeting.get(RUN);
  ready();
  for (;;) {
    while (!meeting.changed(RUN, run, 1e9));
    run++;
    const commands = meeting.get(COMMANDS);
    const program = new Int32Array(memory.buffer, PROGRAM, (commands * COMMAND_BYTES) / 4);
    try {
      for (let i = 0; i < commands; i++) {
        kernels[program[(i * COMMAND_BYTES) / 4]!]!(PROGRAM + i * COMMAND_BYTES + 4, thread, threads);
        const generation = meeting.arrive();
        while (!meeting.passed(generation, 1000)) if (meeting.get(FAILED)) return;
      }
    } catch (error) {
      meeting.set(FAILED, thread + 1);
      throw error;
    }
  }
}
