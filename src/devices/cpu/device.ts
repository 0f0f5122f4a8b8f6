/**
 * The CPU device: WebAssembly SIMD kernels (kernels/*.wasm.ts) over one memory, on all cores.
 *
 * `run` turns the steps of a program into commands, works out the lifetime of each tensor, places all tensors in one
 * arena behind the weights, and lets the workers run the commands (threads.ts has the memory map). The caller's thread
 * only waits for their message, so its timers and sockets go on.
 *
 * A tensor is a block of float32 rows; of float16 rows, if it was uploaded so and only embeddings read it. Columns are
 * padded with zeros to a multiple of 16 (the stride). Activations, the tensors that steps make, also have their rows
 * padded to a multiple of 12, so a tile may reach past the last row:
 *
 *            columns      stride
 *   row 0    | x x x x x | 0 0 |
 *   row 1    | x x x x x | 0 0 |
 *   padding  | ? ? ? ? ? | ? ? |   kernels may write these rows; nobody reads them as a result
 *
 * In a batch the rows of the sequences follow each other. What looks at more than a row (embedding's positions, attention,
 * a range) is a command for each sequence, in their order: rows that one writes beyond its own belong to the next, whose
 * command comes later. Everything else is one command for all rows.
 */
import { BertletError, inputError } from '../../errors.ts';
import { inNode } from '../../platform.ts';
import {
  type Device,
  type HostTensor,
  type LinearWeight,
  type QuantizedTensor,
  type Rows,
  refuseFloat16,
  type Scheme,
  type Step,
  type Tensor,
} from '../../runtime.ts';
import {
  COMMAND_BYTES,
  instantiate,
  KERNELS,
  MOST_CHUNKS,
  MOST_COMMANDS,
  PROGRAM,
  Program,
  WEIGHTS,
} from './threads.ts';
import type { Workers } from './workers.ts';

/** The inner product and the tile that linears use. All choices compute the same integers. */
export interface KernelChoice {
  /**
   * The instruction of the inner product. relaxed: i32x4.relaxed_dot_i8x16_i7x16_add_s; grouped:
   * i16x8.relaxed_dot_i8x16_i7x16_s, added up in 16 bits; int16: i32x4.dot_i16x8_s.
   */
  int8: 'relaxed' | 'grouped' | 'int16';
  /** Tile of `relaxed` for 256-bit registers, which pays only where V8's revectorizer joins pairs of 128-bit operations. */
  wide: boolean;
  /** The same for the tile of float32 products: linears and attention. */
  wideFloat: boolean;
}

/** Memory of a tensor, or scratch. `at`: its address, fixed for an upload, otherwise chosen by each `run`. */
interface Block {
  at: number;
  readonly bytes: number;
  readonly stride: number;
  /** Only of an upload: whether its numbers are float16. */
  half?: boolean;
}
/** A packed linear. `weight`, `constants` and `order` are addresses; layouts: linear.wasm.ts, linearInt8.wasm.ts. */
interface Linear {
  readonly weight: number;
  /** float32: the biases. int8: for each 16-column panel 16 column sums, 16 scales and 16 biases. */
  readonly constants: number;
  /** Only for `grouped`: the table with each panel's feature order (linearInt8Grouped.wasm.ts). 0 otherwise. */
  readonly order: number;
  readonly scheme: 'torch' | 'accurate' | null;
}
/** One call of one kernel, divided into chunks. The next command starts when all of them are done. */
interface Command {
  readonly kernel: (typeof KERNELS)[number];
  readonly chunks: number;
  readonly reads: readonly Block[];
  readonly makes: readonly Block[];
  /** Memory that `words` fills before the first command of the program runs: alive from then on. */
  readonly input?: Block;
  /** Returns the kernel's arguments. Called after `#place`, when every block has an address. */
  readonly words: () => number[];
}

/** Length of the row of zeros that layerNorm reads as the residual when there is none. */
const MOST_ZEROS = 16384;

const scratch = (bytes: number): Block => ({ at: -1, bytes, stride: 0 });
const pad = (n: number, to: number) => Math.ceil(n / to) * to;
/** Chunks of `items` items with so much work in all: each has about `least` of it, and at least one item. */
const chunksOf = (items: number, work: number, least: number) =>
  Math.max(1, Math.min(items, Math.floor(work / least), MOST_CHUNKS));
/** Chunks of a command that reads and writes rows: about 5 µs each. */
const rowChunks = (rows: number, columns: number) => chunksOf(rows, rows * columns, 8192);
/** Chunks of an attention: whole heads, because each chunk packs the keys and values of its heads; parts of long ones. */
function attentionChunks(tokens: number, heads: number, headDim: number): number {
  const products = 2 * tokens * tokens * headDim; // of one head
  return products < 2 ** 18 ? chunksOf(heads, heads * products, 2 ** 18) : heads * Math.max(1, tokens >> 8);
}
const floatBits = (value: number) => new Int32Array(Float32Array.of(value).buffer)[0]!;

export class CpuDevice implements Device {
  readonly threads: number;
  readonly choice: KernelChoice;
  readonly #workers: Workers | null;
  /** The memory, and the kernels over it for uploads, and for programs if there are no workers. Null after `dispose`. */
  #open: { memory: WebAssembly.Memory; exports: ReturnType<typeof instantiate> } | null;
  readonly float16 = true;
  /** Address of the row of zeros. */
  readonly #zeros: number;
  /** End of the weights, where the arena begins. */
  #top: number;
  /** End of the arena while a program runs; otherwise 0. */
  #arenaEnd = 0;
  /** Without workers: when events last had their turn. Not for each program anew: many short ones may follow each other. */
  #turn = 0;

  /**
   * @param workers `threads` workers over the same memory; without them the caller's thread runs the programs
   * @param from address at which the weights begin: several devices without workers may share a memory, and run in turns
   */
  constructor(
    module: WebAssembly.Module,
    memory: WebAssembly.Memory,
    choice: KernelChoice,
    threads: number,
    workers: Workers | null = null,
    from = WEIGHTS,
  ) {
    this.#top = from;
    this.#open = { memory, exports: instantiate(module, memory) };
    this.#workers = workers;
    this.choice = choice;
    this.threads = threads;
    this.#zeros = this.#allocate(4 * MOST_ZEROS);
  }

  /** Milliseconds so far in each kind of command, from the end of the command before to its own. */
  get milliseconds(): Partial<Record<Command['kernel'], number>> {
    return this.#open ? new Program(this.#open.memory, [], 0).milliseconds : {};
  }
  get #state() {
    if (!this.#open) throw new BertletError('disposed', 'cpu: expected a device in use, got one after dispose().');
    return this.#open;
  }
  /** Address from which on the memory is nobody's. */
  get #free(): number {
    return Math.max(this.#top, this.#arenaEnd);
  }
  get #memory(): WebAssembly.Memory {
    return this.#state.memory;
  }

  /**
   * Allocates bytes that stay until `dispose`, aligned to a cache line. Returns their address. While a program runs, that
   * is behind the arena, so that an upload does not overwrite activations; the arena's bytes are then not used again.
   */
  #allocate(bytes: number): number {
    const at = this.#free;
    this.#reserve(at + pad(bytes, 64)); // throws if there is no room; then `#top` is unchanged
    this.#top = at + pad(bytes, 64);
    return at;
  }

  /** Grows the memory so that it reaches at least to `end`, and one page (64 KB) further. */
  #reserve(end: number): void {
    const missing = end + 65536 - this.#memory.buffer.byteLength; // tiles read a few rows past the last one
    if (missing <= 0) return;
    try {
      this.#memory.grow(Math.ceil(missing / 65536));
    } catch (cause) {
      const most = 'WebAssembly has 4 GB at most, and less where this process may have less (a container, `ulimit -v`)';
      throw new BertletError('device', `cpu: expected ${end} bytes of memory, got none. ${most}.`, { cause });
    }
  }

  #floats = (at: number, length: number) => new Float32Array(this.#memory.buffer, at, length);

  /** Uploads float32, or float16 as its bits, which the op `embedding` widens itself. */
  upload(rows: number, columns: number, data: Float32Array | Uint16Array): Block {
    const stride = pad(columns, 16);
    const half = data.BYTES_PER_ELEMENT === 2; // not instanceof: another realm has other classes
    const bytes = rows * stride * (half ? 2 : 4);
    const at = this.#allocate(bytes);
    putRows(new (half ? Uint16Array : Float32Array)(this.#memory.buffer, at, rows * stride), data, columns, stride);
    return { at, bytes, stride, half };
  }

  /** Widens an upload of float16 to float32, at another address, for ops other than `embedding`. */
  #widen(block: Block): Block {
    if (!block.half) return block;
    const to = this.#allocate(block.bytes * 2);
    this.#state.exports.widen(block.at, to, block.bytes / 2);
    return Object.assign(block, { at: to, bytes: block.bytes * 2, half: false });
  }

  quantizeWeight({ shape, data }: HostTensor<Float32Array | Uint16Array>, scheme: Scheme): QuantizedTensor {
    const [rows, columns] = shape as [number, number];
    const size = pad(data.length, 16);
    const from = this.#free; // used until the end of this call
    const to = from + 4 * size;
    this.#reserve(to + data.length);
    if (data.BYTES_PER_ELEMENT === 4) this.#floats(from, data.length).set(data);
    else {
      new Uint16Array(this.#memory.buffer, from + size * 2, data.length).set(data);
      this.#state.exports.widen(from + size * 2, from, size); // in place, from the second half of the room
    }
    const scale = new Float32Array(rows);
    const shared = scheme === 'torch' ? rows : 1; // rows that share a scale
    for (let row = 0; row < rows; row += shared) {
      const step = this.#state.exports.quantizeWeight(from + row * columns * 4, to + row * columns, shared * columns);
      scale.fill(step, row, row + shared);
    }
    return { dtype: 'I8', shape, data: new Int8Array(this.#memory.buffer, to, data.length).slice(), scale, scheme };
  }

  /**
   * Packs a weight [out, in] into panels of 16 columns (a column is an output feature), in the order in which the
   * kernels read: float32 [out/16][in][16] (linear.wasm.ts), int8
   * [out/16][in/group][16][group] (linearInt8.wasm.ts).
   */
  uploadLinear(weight: LinearWeight, bias: Float32Array, name: string): Linear {
    refuseFloat16(name, weight);
    const [out, features] = weight.shape as [number, number];
    const [columns, depth] = [pad(out, 16), pad(features, 16)];
    const int8 = 'scale' in weight;
    const bytes = columns * depth * (int8 ? 1 : 4);
    const at = this.#allocate(bytes);
    const constants = int8 ? this.#allocate(columns * 12) : this.upload(1, out, bias).at;
    const rows = this.#free; // a copy of the weight, until the end of this call
    this.#reserve(rows + bytes);
    putRows(
      new (int8 ? Int8Array : Float32Array)(this.#memory.buffer, rows, columns * depth),
      weight.data,
      features,
      depth,
    );
    const { pack, rowSum } = this.#state.exports;
    pack(rows, at, columns, bytes / columns, int8 && this.choice.int8 === 'int16' ? 2 : 4);
    if (!int8) return { weight: at, constants, order: 0, scheme: null };
    const floats = this.#floats(constants, columns * 3).fill(0);
    const sums = new Int32Array(this.#memory.buffer, constants, columns * 3);
    for (let n = 0; n < out; n++) {
      const constant = (n >> 4) * 48 + (n & 15);
      sums[constant] = rowSum(rows + n * depth, depth);
      floats[constant + 16] = weight.scale[n]!;
      floats[constant + 32] = bias[n]!;
    }
    const order = this.choice.int8 === 'grouped' ? this.#group(at, columns / 16, depth) : 0;
    return { weight: at, constants, order, scheme: weight.scheme };
  }

  /** Lets `groupPanel` reorder packed panels. Returns the address of the tables, one for each panel. */
  #group(weight: number, panels: number, depth: number): number {
    const [panel, table] = [depth * 16, depth + 20]; // bytes
    const tables = this.#allocate(panels * table);
    const free = this.#free; // used until the end of this call
    this.#reserve(free + 2 * panel + 4096);
    for (let i = 0; i < panels; i++)
      this.#state.exports.groupPanel(weight + i * panel, panel, tables + i * table, free);
    return tables;
  }

  /** The commands of a step. `reads`: the blocks of the tensors that the step reads; `y`: the block of its result. */
  #commandsOf(step: Step, reads: readonly Block[], y: Block): Command[] {
    const { threads } = this;
    const [rows, columns] = step.y.shape;
    switch (step.op) {
      case 'embedding':
        return step.y.sequences.map(({ first, tokens }) => {
          const input = scratch(tokens * 8); // | ids [tokens] | type ids [tokens] |, int32 each
          const own = scratch(threads * y.stride * 12);
          const words = () => {
            const part = (ids: Int32Array) => ids.subarray(first, first + tokens);
            new Int32Array(this.#memory.buffer, input.at, tokens).set(part(step.ids));
            new Int32Array(this.#memory.buffer, input.at + tokens * 4, tokens).set(part(step.typeIds));
            const to = y.at + first * y.stride * 4;
            const tables = reads.map(({ at }) => at);
            const halves = reads.reduce((bits, { half }, i) => bits | (Number(half ?? false) << i), 0);
            return [input.at, input.at + tokens * 4, ...tables, to, tokens, y.stride, halves, own.at];
          };
          const chunks = rowChunks(tokens, columns);
          const makes = first === 0 ? [y, own] : [own];
          return { kernel: 'embedding', chunks, reads: [...reads, input], makes, input, words };
        });
      case 'layerNorm': {
        const [x, gamma, beta, added] = reads as [Block, Block, Block, Block?];
        if (!added && columns > MOST_ZEROS)
          throw inputError('cpu: layerNorm', `at most ${MOST_ZEROS} columns`, columns);
        const residual = added ?? { at: this.#zeros, stride: 0 };
        const own = scratch(threads * 64);
        const words = () => {
          const sizes = [rows, columns, floatBits(step.eps), own.at, residual.stride, y.stride];
          return [x.at, residual.at, gamma.at, beta.at, y.at, ...sizes];
        };
        return [{ kernel: 'layerNorm', chunks: rowChunks(rows, columns), reads, makes: [y, own], words }];
      }
      case 'attention': {
        const [qkv] = reads as [Block];
        const headDim = columns / step.heads;
        const [most, width] = [pad(Math.max(...step.y.lengths), 16), pad(headDim, 16)];
        const each = (most * headDim + most * width + 6 * most + 6 * width) * 4 + 64;
        const own = scratch(each * threads);
        return step.y.sequences.map(({ first, tokens }) => {
          const sizes = [tokens, step.heads, headDim, qkv.stride, y.stride];
          const words = () => {
            const [from, to] = [qkv, y].map(({ at, stride }) => at + first * stride * 4) as [number, number];
            return [from, to, ...sizes, own.at, each, Number(this.choice.wideFloat)];
          };
          const chunks = attentionChunks(tokens, step.heads, headDim);
          return { kernel: 'attention', chunks, reads: [...reads, own], makes: first === 0 ? [y, own] : [], words };
        });
      }
      case 'linear':
        return this.#linear(step.linear.buffer as Linear, Number(step.gelu), step.y, reads[0]!, y);
    }
  }

  /**
   * The commands of a linear. float32: one, `linear`. int8: `quantize` x, then `linearInt8` multiplies the integers.
   * The `torch` scheme has one range for all rows of a sequence, so a `range` command comes first, for each sequence.
   */
  #linear(linear: Linear, gelu: number, made: Tensor, x: Block, y: Block): Command[] {
    const { weight, constants, order, scheme } = linear;
    const [rows] = made.shape;
    const panels = y.stride / 16;
    const products = rows * x.stride * y.stride;
    if (!scheme) {
      const options = [gelu, Number(this.choice.wideFloat)];
      const words = () => [x.at, weight, constants, y.at, rows, x.stride, y.stride, ...options];
      return [{ kernel: 'linear', chunks: chunksOf(panels, products, 2 ** 18), reads: [x], makes: [y], words }];
    }
    const int16 = Number(this.choice.int8 === 'int16');
    const room = pad(rows, 12);
    const [xq, scales, zeros] = [scratch(room * x.stride * (1 + int16)), scratch(room * 4), scratch(room * 4)];
    const sums = scratch(order ? this.threads * 512 : 0);
    const product: Command = {
      kernel: 'linearInt8',
      chunks: chunksOf(panels, products, 2 ** 20),
      reads: [xq, scales, zeros],
      makes: [y, sums],
      words: () => {
        const sizes = [rows, x.stride, y.stride];
        const options = [gelu, Number(this.choice.wide), int16];
        return [xq.at, weight, constants, y.at, ...sizes, ...options, scales.at, zeros.at, order, sums.at];
      },
    };
    const parts = scheme === 'torch' ? made.sequences : [{ first: 0, tokens: rows }];
    const quantized = parts.flatMap((part) => this.#quantize(scheme, part, x, [xq, scales, zeros]));
    return [...quantized, product];
  }

  /** The commands that quantize some rows of x, with one range for all of them (`torch`) or one for each (`accurate`). */
  #quantize(scheme: Linear['scheme'], { first, tokens }: Rows, x: Block, quantized: readonly Block[]): Command[] {
    const [xq, scales, zeros] = quantized as [Block, Block, Block];
    const int16 = Number(this.choice.int8 === 'int16');
    const torch = scheme === 'torch';
    const chunks = rowChunks(tokens, x.stride);
    const parts = torch ? chunks : 0;
    const partial = scratch((parts + this.threads) * 64);
    const made = first === 0 ? [xq, scales, zeros] : [];
    const from = () => x.at + first * x.stride * 4;
    const quantize: Command = {
      kernel: 'quantize',
      chunks,
      reads: [x, partial],
      makes: torch ? made : [...made, partial],
      words: () => {
        const to = [xq.at + first * x.stride * (1 + int16), scales.at + first * 4, zeros.at + first * 4];
        return [from(), partial.at, tokens, x.stride, ...to, int16, Number(!torch), parts];
      },
    };
    if (!torch) return [quantize];
    const words = () => [from(), partial.at, tokens, x.stride];
    return [{ kernel: 'range', chunks, reads: [x], makes: [partial], words }, quantize];
  }

  /**
   * Places every block of the program in the arena and returns the arena's end. A block is alive from the command that
   * makes it to the last command that reads it, and gets the lowest gap between the blocks that are alive then.
   */
  #place(commands: readonly Command[], results: readonly Block[]): number {
    const lastRead = new Map<Block, number>();
    for (const [i, { reads }] of commands.entries()) for (const block of reads) lastRead.set(block, i);
    for (const block of results) lastRead.set(block, commands.length);
    const inputs = commands.flatMap(({ input }) => (input ? [input] : []));
    const alive: Block[] = []; // sorted by address
    let end = this.#top;
    for (const [i, { makes }] of commands.entries()) {
      for (const block of i === 0 ? [...inputs, ...makes] : makes) {
        block.at = this.#top;
        let index = 0;
        for (; index < alive.length && block.at + block.bytes > alive[index]!.at; index++) {
          block.at = Math.max(block.at, pad(alive[index]!.at + alive[index]!.bytes, 64));
        }
        alive.splice(index, 0, block);
        end = Math.max(end, block.at + block.bytes);
      }
      for (let k = alive.length - 1; k >= 0; k--) if ((lastRead.get(alive[k]!) ?? i) <= i) alive.splice(k, 1);
    }
    return end;
  }

  async run(steps: readonly Step[], results: readonly Tensor[], signal?: AbortSignal): Promise<Float32Array[]> {
    const blocks = new Map<Tensor, Block>();
    const blockOf = (x: Tensor) => blocks.get(x) ?? (x.buffer as Block);
    const commands: Command[] = [];
    for (const step of steps) {
      const [rows, columns] = step.y.shape;
      const stride = pad(columns, 16);
      const y: Block = { at: -1, bytes: pad(rows, 12) * stride * 4, stride };
      const reads = step.reads.map(blockOf);
      if (step.op !== 'embedding') for (const block of reads) this.#widen(block);
      commands.push(...this.#commandsOf(step, reads, y));
      blocks.set(step.y, y);
    }
    if (commands.length > MOST_COMMANDS)
      throw inputError('program', `at most ${MOST_COMMANDS} commands`, commands.length);
    const made = results.map((x) => this.#widen(blockOf(x)));
    const end = pad(this.#place(commands, made), 64);
    this.#reserve(end);
    this.#arenaEnd = end;
    const program = new Int32Array(this.#memory.buffer, PROGRAM, (commands.length * COMMAND_BYTES) / 4);
    for (const [i, { kernel, chunks, words }] of commands.entries()) {
      program.set([KERNELS.indexOf(kernel), chunks, ...words()], (i * COMMAND_BYTES) / 4);
    }
    try {
      if (commands.length > 0) await this.#run(commands.length, signal);
      return results.map((x, i) => this.#copy(made[i]!, x.shape)); // before an upload may use the arena's bytes
    } finally {
      this.#arenaEnd = 0;
    }
  }

  /** Copies a tensor out of the memory, without the padding columns. */
  #copy({ at, stride }: Block, [rows, columns]: Tensor['shape']): Float32Array {
    const y = new Float32Array(rows * columns);
    const from = this.#floats(at, rows * stride);
    for (let row = 0; row < rows; row++) y.set(from.subarray(row * stride, row * stride + columns), row * columns);
    return y;
  }

  /** Lets the workers run the commands in the memory; or runs them in this thread, in slices. */
  async #run(commands: number, signal?: AbortSignal): Promise<void> {
    const newProgram = () => new Program(this.#memory, this.#state.exports.kernels, 0);
    const cancel = () => newProgram().cancel();
    signal?.addEventListener('abort', cancel);
    try {
      let program = newProgram();
      if (this.#workers) return await this.#workers.run(() => program.start(commands));
      program.start(commands);
      do {
        if (performance.now() - this.#turn < SLICE) continue;
        await macrotask();
        this.#turn = performance.now();
        program = newProgram(); // an upload meanwhile may have let the memory grow
      } while (program.work() !== 'last');
    } finally {
      signal?.removeEventListener('abort', cancel);
      signal?.throwIfAborted();
    }
  }

  async dispose(): Promise<void> {
    await this.#workers?.end();
    this.#open = null; // the memory is free when nothing refers to it
  }
}

/** Copies rows of `columns` elements, each padded with zeros to `stride`, and fills the rest of `to` with zeros. */
function putRows<A extends Float32Array | Uint16Array | Int8Array>(to: A, data: A, columns: number, stride: number) {
  to.fill(0, stride === columns ? data.length : 0);
  if (stride === columns) return to.set(data);
  for (let from = 0, at = 0; from < data.length; from += columns, at += stride) {
    to.set(data.subarray(from, from + columns), at);
  }
}

/** Milliseconds that a program without workers keeps the caller's thread before events have their turn. */
const SLICE = 5;
/** Lets events have their turn. In a page by a message, because its timers wait for at least 4 ms. */
function macrotask(): Promise<void> {
  return new Promise((resolve) => {
    if (inNode) return void process.getBuiltinModule('node:timers').setImmediate(resolve);
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
