/**
 * The threads of the CPU device, and how they share the work of a program.
 *
 * A program is a list of commands, one call of a kernel each. A command is divided into chunks, whose number depends on
 * the shape alone. Threads claim chunks from a counter; the thread that finishes the last chunk of a command opens the
 * next command. So a thread that the system does not schedule delays the others only while it is inside a chunk, and
 * results do not depend on the number of threads.
 *
 *   address   0                   32768 WORDS      36864 PROGRAM  524288 WEIGHTS    end of the weights
 *             | module constants  | shared words   | program      | weights       | arena |
 *
 *   command   | kernel: int32 | chunks: int32 | arguments: at most 14 words of 32 bits |
 *
 *   ticket    | command: 16 bits | chunks that are not claimed yet: 16 bits |
 *
 * A thread claims by subtracting 1 from the ticket, in vain if no chunk is left. Command and chunk come from one atomic
 * read, so a thread that was delayed between two programs cannot mistake one for the other.
 *
 * The weights are all uploads: linears, tables and tensors. The arena holds the activations and the scratch of one run
 * (device.ts).
 */

/** A kernel reads its arguments at address `at` and computes one chunk; `thread` says which scratch memory to use. */
export type Kernel = (at: number, chunk: number, chunks: number, thread: number) => void;

/** Addresses in the memory map above. */
const WORDS = 32768;
const PROGRAM = 36864;
export const WEIGHTS = 524288;
export const COMMAND_WORDS = 16;
export const MAX_COMMANDS = (WEIGHTS - PROGRAM) / 4 / COMMAND_WORDS;
export const MAX_CHUNKS = 2 ** 14;
export const KERNELS = [
  ...(['rows', 'layerNorm', 'range', 'quantize', 'linear', 'linearInt8', 'attention'] as const),
  ...(['elementwise', 'softmax', 'mean', 'packRows', 'transpose'] as const),
] as const;
export type KernelName = (typeof KERNELS)[number];

/** Indices of the shared words. Each has a cache line (64 bytes) of its own: reading one does not slow writes to another. */
const [STEP, TICKET, DONE, ASLEEP, COMMANDS, CANCELLED] = [0, 16, 32, 48, 64, 80] as const;
/** Address of one float64 for each kernel, its milliseconds so far, and one for the time at which a command began. */
const TIMES = WORDS + 2048;

/**
 * Rounds of a waiting thread before it sleeps: about 50 µs. Within a program the others are usually done sooner. Each
 * wait that ends in sleep halves the number, down to the least, so that a busy machine loses little to waiting.
 */
const [MIN_SPINS, MAX_SPINS] = [500, 8000];

/** Milliseconds since 1970, with the clock's full resolution: the same in all threads. */
const now = () => performance.timeOrigin + performance.now();

/** The commands in a memory, as one thread sees them. */
export class CommandList {
  readonly #words: Int32Array;
  readonly #program: Int32Array;
  readonly #times: Float64Array;
  readonly #kernels: Kernel[];
  readonly #thread: number;
  #spins = MAX_SPINS;

  /** The views stay valid when a shared memory grows; for another memory a list is made for each run. */
  constructor(memory: WebAssembly.Memory, kernels: Kernel[], thread: number) {
    this.#words = new Int32Array(memory.buffer, WORDS, 128);
    this.#program = new Int32Array(memory.buffer, PROGRAM, (WEIGHTS - PROGRAM) / 4);
    this.#times = new Float64Array(memory.buffer, TIMES, KERNELS.length + 1);
    this.#kernels = kernels;
    this.#thread = thread;
  }

  /** Writes the program, `COMMAND_WORDS` for each command, and opens its first command to all threads. */
  start(calls: Int32Array): void {
    this.#program.set(calls);
    Atomics.store(this.#words, COMMANDS, calls.length / COMMAND_WORDS);
    Atomics.store(this.#words, CANCELLED, 0);
    this.#times[KERNELS.length] = now();
    this.#open(0, true);
  }
  /** The program ends after the chunks that are under way. */
  cancel(): void {
    Atomics.store(this.#words, CANCELLED, 1);
  }
  /** A number that changes whenever a command or a program is opened: for `wait`. */
  get step(): number {
    return Atomics.load(this.#words, STEP);
  }

  /** Opens a command, or none behind the last one, and wakes the threads that it has work for. */
  #open(command: number, wake: boolean): void {
    const chunks = command < this.#words[COMMANDS]! ? this.#program[command * COMMAND_WORDS + 1]! : 0;
    Atomics.store(this.#words, DONE, 0);
    Atomics.store(this.#words, TICKET, (command << 16) | chunks);
    Atomics.add(this.#words, STEP, 1);
    // A single chunk is left to this thread, which comes back for it at once.
    if ((wake || chunks > 1) && Atomics.load(this.#words, ASLEEP) > 0) Atomics.notify(this.#words, STEP);
  }

  /**
   * Claims one chunk and computes it.
   * @returns `none` if nothing was left to claim, `last` if this ended the program
   */
  work(): 'none' | 'some' | 'last' {
    const ticket = Atomics.sub(this.#words, TICKET, 1);
    const chunk = ((ticket << 16) >> 16) - 1; // the lower half is signed: claims in vain make it negative
    if (chunk < 0) return 'none';
    const command = ticket >>> 16;
    const at = command * COMMAND_WORDS;
    const kernel = this.#program[at]!;
    const chunks = this.#program[at + 1]!;
    if (!Atomics.load(this.#words, CANCELLED)) {
      this.#kernels[kernel]!(PROGRAM + 4 * (at + 2), chunk, chunks, this.#thread);
    }
    if (Atomics.add(this.#words, DONE, 1) !== chunks - 1) return 'some';
    const time = now();
    this.#times[kernel]! += time - this.#times[KERNELS.length]!;
    this.#times[KERNELS.length] = time;
    const commands = this.#words[COMMANDS]!;
    const next = Atomics.load(this.#words, CANCELLED) ? commands : command + 1;
    this.#open(next, false);
    return next === commands ? 'last' : 'some';
  }

  /** Waits while `step` has this value: spins for a while, then sleeps. */
  wait(step: number): void {
    for (let spin = 0; spin < this.#spins; spin++) {
      if (Atomics.load(this.#words, STEP) === step) continue;
      this.#spins = Math.min(MAX_SPINS, this.#spins + MAX_SPINS / 8);
      return;
    }
    this.#spins = Math.max(MIN_SPINS, this.#spins / 2);
    Atomics.add(this.#words, ASLEEP, 1);
    Atomics.wait(this.#words, STEP, step);
    Atomics.sub(this.#words, ASLEEP, 1);
  }

  /** Milliseconds so far in each kind of command, of all threads together: from its opening to its last chunk. */
  get milliseconds(): Partial<Record<KernelName, number>> {
    return Object.fromEntries(KERNELS.flatMap((name, i) => (this.#times[i]! > 0 ? [[name, this.#times[i]!]] : [])));
  }
}

/** Functions for uploads and for the start; their files in kernels/ say more. */
type Helper = 'groupPanel' | 'halfToFloat' | 'pack' | 'quantizeWeight' | 'rowSum' | 'dotOf128' | 'isFused';
/** A module's exports. The kernels are in the order of `KERNELS`. */
type Exports = { readonly kernels: Kernel[] } & Readonly<Record<Helper, (...args: number[]) => number>>;

/** Instantiates a compiled module over a memory. */
export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): Exports {
  const abort = () => {
    throw new Error('abort');
  };
  const { exports } = new WebAssembly.Instance(module, { env: { memory, abort } });
  return { ...exports, kernels: KERNELS.map((name) => exports[name] as Kernel) } as unknown as Exports;
}

/** Message that a worker receives when it starts. */
export interface WorkerData {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  thread: number;
}

/**
 * The loop of a worker, which never returns.
 * @param say sends a word to the caller's thread: `ready` at first, then `done` whenever this worker ends a program
 */
export function work({ module, memory, thread }: WorkerData, say: (word: 'ready' | 'done') => void): void {
  const commands = new CommandList(memory, instantiate(module, memory).kernels, thread);
  say('ready');
  for (;;) {
    const { step } = commands; // read before the claim: what is opened after a claim in vain ends the wait
    const did = commands.work();
    if (did === 'last') say('done');
    if (did === 'none') commands.wait(step);
  }
}
