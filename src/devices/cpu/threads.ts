/**
 * The threads of the CPU device, and the barrier that keeps them in step.
 *
 * Every thread, the caller's included, walks through the same program. For each command a thread runs the kernel on its
 * own share of the rows, columns or heads, then waits at the barrier until all threads have finished that command. The
 * barrier is a few words of shared memory, so an op costs no message between threads.
 *
 *   address   0                   32768 BARRIER    36864 PROGRAM  131072 WEIGHTS    end of the weights
 *             | module constants  | barrier words  | program      | weights       | arena |
 *
 *   command   | kernel: int32 | arguments: at most 15 words of 32 bits |
 *
 * The program is a list of commands. The weights are all uploads: linears, tables and tensors. The arena holds the
 * activations and the scratch of one run (device.ts).
 */

/** A kernel reads its arguments at address `at` and computes the share of thread `thread`. */
export type Kernel = (at: number, thread: number, threads: number) => void;

/** Addresses in the memory map above. */
const BARRIER = 32768;
export const PROGRAM = 36864;
export const WEIGHTS = 131072;
/** One command: the kernel's index in `KERNELS`, then the kernel's arguments. */
export const COMMAND_BYTES = 64;
export const MOST_COMMANDS = (WEIGHTS - PROGRAM) / COMMAND_BYTES;
export const KERNELS = ['embedding', 'layerNorm', 'range', 'quantize', 'linear', 'linearInt8', 'attention'] as const;

/** Indices of the barrier words. */
export const RUN = 0; // how many programs were started: a new value wakes the workers
const GENERATION = 1; // how often the barrier has opened
const ARRIVED = 2; // threads that have arrived since the barrier last opened
const ASLEEP = 3; // threads that sleep in Atomics.wait; Atomics.notify is skipped while this is 0
export const FAILED = 4; // not 0 once a thread has failed
export const COMMANDS = 5; // commands of the program
/** Each word has a cache line (64 bytes) of its own: spinning on one word does not slow writes to another. */
const word = (index: number) => index * 16;

/** A barrier over shared memory: no thread starts the next command before all threads have finished this one. */
export class Barrier {
  readonly #words: Int32Array;
  readonly #threads: number;
  readonly #spins: number;
  constructor(memory: WebAssembly.Memory, threads: number) {
    this.#words = new Int32Array(memory.buffer, BARRIER, 128);
    this.#threads = threads;
    // Spin for about 3 ms before sleeping: if waking takes longer than a command, two threads keep putting each other
    // to sleep. With more threads than cores, spin less: the core is needed by the thread that is waited for.
    this.#spins = threads <= (globalThis.navigator?.hardwareConcurrency ?? 1) ? 300_000 : 10_000;
  }
  get(index: number): number {
    return Atomics.load(this.#words, word(index));
  }
  set(index: number, value: number): void {
    Atomics.store(this.#words, word(index), value);
  }

  /** Adds 1 to a word and wakes the threads that sleep on the word. */
  advance(index: number): void {
    Atomics.add(this.#words, word(index), 1);
    if (Atomics.load(this.#words, word(ASLEEP)) > 0) Atomics.notify(this.#words, word(index));
  }

  /** Marks this thread as arrived; the last thread opens the barrier. Returns the generation for `waitForAll`. */
  arrive(): number {
    const generation = this.get(GENERATION);
    if (Atomics.add(this.#words, word(ARRIVED), 1) === this.#threads - 1) {
      this.set(ARRIVED, 0);
      this.advance(GENERATION);
    }
    return generation;
  }
  /** Waits until all threads have arrived, or until the time is up. Returns true if all have arrived. */
  waitForAll(generation: number, milliseconds: number): boolean {
    return this.waitWhile(GENERATION, generation, milliseconds);
  }

  /**
   * Waits while a word holds `value`, or until the time is up. Returns true if the word has changed.
   * A thread spins first, because the others usually finish at about the same time, and then sleeps, because there may
   * be fewer cores than threads. With 0 milliseconds a thread only spins: the main thread of a page must not sleep.
   */
  waitWhile(index: number, value: number, milliseconds: number): boolean {
    for (let spin = 0; spin < this.#spins; spin++) if (this.get(index) !== value) return true;
    if (milliseconds > 0) {
      Atomics.add(this.#words, word(ASLEEP), 1);
      Atomics.wait(this.#words, word(index), value, milliseconds);
      Atomics.sub(this.#words, word(ASLEEP), 1);
    }
    return this.get(index) !== value;
  }
}

/** Instantiates a compiled module over a memory. Returns the module's kernels, in the order of `KERNELS`. */
export function kernelsOf(module: WebAssembly.Module, memory: WebAssembly.Memory): Kernel[] {
  const abort = () => {
    throw new Error('abort');
  };
  const { exports } = new WebAssembly.Instance(module, { env: { memory, abort } });
  return KERNELS.map((name) => exports[name] as Kernel);
}

/** What a worker receives when it starts. */
export interface WorkerData {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  thread: number;
  threads: number;
}

/** The loop of a worker: wait for a program, run this thread's share of every command, repeat until terminated. */
export function work({ module, memory, thread, threads }: WorkerData, ready: () => void): void {
  const kernels = kernelsOf(module, memory);
  const barrier = new Barrier(memory, threads);
  let run = barrier.get(RUN);
  ready();
  for (;;) {
    while (!barrier.waitWhile(RUN, run, 1e9));
    run++;
    const commands = barrier.get(COMMANDS);
    const program = new Int32Array(memory.buffer, PROGRAM, (commands * COMMAND_BYTES) / 4);
    try {
      for (let i = 0; i < commands; i++) {
        kernels[program[(i * COMMAND_BYTES) / 4]!]!(PROGRAM + i * COMMAND_BYTES + 4, thread, threads);
        const generation = barrier.arrive();
        while (!barrier.waitForAll(generation, 1000)) if (barrier.get(FAILED)) return;
      }
    } catch (error) {
      barrier.set(FAILED, thread + 1);
      throw error;
    }
  }
}
