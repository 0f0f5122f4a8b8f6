/**
 * The CPU backend: WebAssembly SIMD kernels (kernels/*.wasm.ts) over one memory, on all cores.
 *
 * Ops are recorded, not run: `read` finds out how long each tensor lives, places them all in one arena behind the
 * weights, and has the threads run the program (threads.ts). Tensors are [rows, stride] with the columns padded to 16
 * by zeros, and room for 12 rows more than there are, so that no kernel has a tail.
 */
import {
  type Backend,
  BertletError,
  inputError,
  type LinearWeight,
  type Norm,
  type Tables,
  type Tensor,
} from '../backend.ts';
import { groupRows, ROW } from './grouping.ts';
import {
  COMMAND_BYTES,
  COMMANDS,
  FAILED,
  KERNELS,
  type Kernel,
  kernelsOf,
  Meeting,
  MOST_COMMANDS,
  PROGRAM,
  RUN,
  WEIGHTS,
} from './threads.ts';

/** Which inner product and tile the linears use; the same integers from all. */
export interface KernelChoice {
  /** relaxed: i32x4.relaxed_dot_i8x16_i7x16_add_s; grouped: i16x8.relaxed_dot_i8x16_i7x16_s; int16: i32x4.dot_i16x8_s. */
  int8: 'relaxed' | 'grouped' | 'int16';
  /** Tiles for 256-bit registers, which only pay where V8's revectorizer joins the halves. */
  wide: boolean;
}

/** A tensor. `at` is its address: fixed for what was uploaded, chosen by `read` for what an op makes. */
interface Block {
  at: number;
  readonly bytes: number;
}
interface Handle extends Block {
  readonly rows: number;
  readonly columns: number;
  readonly stride: number;
}
interface Linear {
  readonly weight: number;
  /** float32: biases; int8: for each 16 columns their weights' sums, scales and biases. */
  readonly constants: number;
  /** int8, grouped: for each 16 columns the order of their features (linearInt8Grouped.wasm.ts); else 0. */
  readonly order: number;
  readonly features: number;
  readonly out: number;
  readonly scheme: 'torch' | 'accurate' | null;
}
interface Command {
  readonly kernel: (typeof KERNELS)[number];
  readonly reads: readonly Block[];
  readonly makes: readonly Block[];
  /** Its arguments, once all blocks have an address. */
  readonly words: () => number[];
}

const pad = (n: number, to: number) => Math.ceil(n / to) * to;
const floatBits = (value: number) => new Int32Array(Float32Array.of(value).buffer)[0]!;

export class CpuBackend implements Backend<Handle, Linear> {
  readonly threads: number;
  readonly choice: KernelChoice;
  /** Milliseconds spent in each kind of command so far, waiting for the other threads included. */
  readonly milliseconds: Partial<Record<Command['kernel'], number>> = {};
  readonly #memory: WebAssembly.Memory;
  readonly #kernels: Kernel[];
  readonly #endWorkers: () => Promise<unknown>;
  readonly #zeros: number;
  #top = WEIGHTS;
  #commands: Command[] = [];
  #dead: BertletError | null = null;

  constructor(
    module: WebAssembly.Module,
    memory: WebAssembly.Memory,
    choice: KernelChoice,
    threads: number,
    endWorkers: () => Promise<unknown> = async () => {},
  ) {
    this.#memory = memory;
    this.#kernels = kernelsOf(module, memory);
    this.#endWorkers = endWorkers;
    this.choice = choice;
    this.threads = threads;
    this.#zeros = this.#allocate(64 * 1024); // a residual of nothing, for rows of up to 16384
  }

  /** Called when a worker has ended: what is under way, and whatever is asked later, fails. */
  fail(reason: string): void {
    const advice = 'Load the model again.';
    this.#dead ??= new BertletError(
      'device',
      `cpu: expected ${this.threads} threads at work, got ${reason}. ${advice}`,
    );
  }

  /** Address of some bytes that stay, aligned to a cache line; grows the memory where needed. */
  #allocate(bytes: number): number {
    const at = this.#top;
    this.#top = at + pad(bytes, 64);
    this.#reserve(this.#top);
    return at;
  }

  #reserve(end: number): void {
    const missing = end + 65536 - this.#memory.buffer.byteLength; // tiles read a few rows beyond the last
    if (missing <= 0) return;
    try {
      this.#memory.grow(Math.ceil(missing / 65536));
    } catch (cause) {
      const most = 'WebAssembly has 4 GB at most';
      throw new BertletError('device', `cpu: expected ${end} bytes of memory, got none. ${most}.`, { cause });
    }
  }

  #floats = (at: number, length: number) => new Float32Array(this.#memory.buffer, at, length);

  upload(tensor: Tensor<Float32Array>): Handle {
    const columns = tensor.shape.at(-1) ?? 1;
    const [rows, stride] = [tensor.data.length / columns, pad(columns, 16)];
    const at = this.#allocate(rows * stride * 4);
    const to = this.#floats(at, rows * stride).fill(0);
    for (let row = 0; row < rows; row++) {
      to.set(tensor.data.subarray(row * columns, (row + 1) * columns), row * stride);
    }
    return { at, bytes: rows * stride * 4, rows, columns, stride };
  }

  /** Packs a weight as linear.wasm.ts and linearInt8.wasm.ts read it. */
  uploadLinear(weight: LinearWeight, bias: Tensor<Float32Array>): Linear {
    const [out, features] = weight.shape as [number, number];
    const [columns, depth] = [pad(out, 16), pad(features, 16)];
    if (!('scale' in weight)) {
      const at = this.#allocate(columns * depth * 4);
      const to = this.#floats(at, columns * depth).fill(0);
      for (let n = 0; n < out; n++) {
        const panel = (n >> 4) * depth * 16 + (n & 15);
        for (let k = 0; k < features; k++) to[panel + k * 16] = weight.data[n * features + k]!;
      }
      return {
        weight: at,
        constants: this.upload({ ...bias, shape: [out] }).at,
        order: 0,
        features,
        out,
        scheme: null,
      };
    }
    const at = this.#allocate(columns * depth);
    const constants = this.#allocate(columns * 12);
    const to = new Int8Array(this.#memory.buffer, at, columns * depth).fill(0);
    const sums = new Int32Array(this.#memory.buffer, constants, columns * 3).fill(0);
    const floats = this.#floats(constants, columns * 3);
    const group = this.choice.int8 === 'int16' ? 2 : 4; // so many k of a column lie side by side
    for (let n = 0; n < out; n++) {
      const panel = (n >> 4) * depth * 16 + (n & 15) * group;
      let sum = 0;
      for (let k = 0, from = n * features; k < features; k++, from++) {
        const value = weight.data[from]!;
        const inGroup = k & (group - 1);
        to[panel + (k - inGroup) * 16 + inGroup] = value;
        sum += value;
      }
      const constant = (n >> 4) * 48 + (n & 15);
      sums[constant] = sum;
      floats[constant + 16] = weight.scale[n]!;
      floats[constant + 32] = bias.data[n]!;
    }
    const order = this.choice.int8 === 'grouped' ? this.#group(at, columns / 16, depth) : 0;
    return { weight: at, constants, order, features, out, scheme: weight.scheme };
  }

  /** Puts the rows of packed panels into the order that sums in 16 bits need; returns where their orders are. */
  #group(weight: number, panels: number, depth: number): number {
    const bytes = depth + 12;
    const at = this.#allocate(panels * bytes);
    for (let i = 0; i < panels; i++) {
      const panel = new Int8Array(this.#memory.buffer, weight + i * depth * 16, depth * 16);
      const { order, fours, twos } = groupRows(panel);
      const first = at + i * bytes + 12;
      const ends = [first + fours * 16, first + fours * 16 + twos * 8, first + depth];
      new Int32Array(this.#memory.buffer, first - 12, bytes / 4).set([...ends, ...order.map((row) => row * 4)]);
      const before = panel.slice();
      for (let to = 0, end = 1; to < order.length; to = end++) {
        while (order[end] === order[end - 1]! + 1) end++; // rows that stay together are copied together
        panel.set(before.subarray(order[to]! * ROW, (order[end - 1]! + 1) * ROW), to * ROW);
      }
    }
    return at;
  }

  /** A tensor that a command will make, its address yet unknown. */
  #tensor(rows: number, columns: number): Handle {
    const stride = pad(columns, 16);
    return { at: -1, bytes: pad(rows, 12) * stride * 4, rows, columns, stride };
  }
  #scratch = (bytes: number): Block => ({ at: -1, bytes });

  #record<M extends Block>(
    kernel: Command['kernel'],
    reads: Block[],
    makes: [M, ...Block[]],
    words: () => number[],
  ): M {
    this.#commands.push({ kernel, reads, makes, words });
    return makes[0];
  }

  embedding(ids: Int32Array, typeIds: Int32Array, t: Tables<Handle>): Handle {
    if (ids.length !== typeIds.length) throw inputError('embedding', `typeIds of ${ids.length}`, typeIds.length);
    const y = this.#tensor(ids.length, t.word.columns);
    const input = this.#scratch(ids.length * 8);
    return this.#record('embedding', [], [y, input], () => {
      new Int32Array(this.#memory.buffer, input.at, ids.length).set(ids);
      new Int32Array(this.#memory.buffer, input.at + ids.length * 4, ids.length).set(typeIds);
      const tables = [t.word.at, t.position.at, t.type.at];
      return [input.at, input.at + ids.length * 4, ...tables, y.at, y.rows, y.stride];
    });
  }

  layerNorm(x: Handle, residual: Handle | null, { gamma, beta }: Norm<Handle>, eps: number): Handle {
    const y = this.#tensor(x.rows, x.columns);
    const scratch = this.#scratch(this.threads * 64);
    return this.#record('layerNorm', residual ? [x, residual] : [x], [y, scratch], () => {
      const added = residual ? [residual.at, residual.stride] : [this.#zeros, 0];
      const sizes = [x.rows, x.columns, floatBits(eps), scratch.at, added[1]!, x.stride];
      return [x.at, added[0]!, gamma.at, beta.at, y.at, ...sizes];
    });
  }

  linear(x: Handle, linear: Linear, activation?: 'gelu'): Handle {
    const { weight, constants, order, features, out, scheme } = linear;
    if (x.columns !== features) throw inputError('linear', `${features} input features`, x.columns);
    const y = this.#tensor(x.rows, out);
    const last = [Number(activation === 'gelu'), Number(this.choice.wide)];
    if (!scheme) {
      const words = () => [x.at, weight, constants, y.at, x.rows, x.stride, y.stride, ...last];
      return this.#record('linear', [x], [y], words);
    }
    const int16 = Number(this.choice.int8 === 'int16');
    const rows = pad(x.rows, 12);
    const [xq, scales, zeros] = [rows * x.stride * (1 + int16), rows * 4, rows * 4].map(this.#scratch) as [
      Block,
      Block,
      Block,
    ];
    const partial = this.#scratch(this.threads * 128);
    if (scheme === 'torch') {
      this.#record('range', [x], [partial], () => [x.at, partial.at, x.rows, x.stride]);
    }
    this.#record(
      'quantize',
      [x, partial],
      scheme === 'torch' ? [xq, scales, zeros] : [xq, scales, zeros, partial],
      () => [
        ...[x.at, partial.at, x.rows, x.stride, xq.at, scales.at, zeros.at],
        ...[int16, Number(scheme === 'accurate')],
      ],
    );
    return this.#record('linearInt8', [xq, scales, zeros], [y], () => [
      ...[xq.at, weight, constants, y.at, x.rows, x.stride, y.stride, ...last],
      ...[int16, scales.at, zeros.at, order],
    ]);
  }

  attention(qkv: Handle, heads: number): Handle {
    const headDim = qkv.columns / 3 / heads;
    if (headDim % 1 !== 0) throw inputError('attention', `3 x hidden columns for ${heads} heads`, qkv.columns);
    const y = this.#tensor(qkv.rows, qkv.columns / 3);
    const [tokens, width] = [pad(qkv.rows, 16), pad(headDim, 16)];
    const each = (tokens * headDim + tokens * width + 6 * tokens + 6 * width) * 4 + 64;
    const scratch = this.#scratch(each * this.threads);
    return this.#record('attention', [qkv], [y, scratch], () => {
      const sizes = [qkv.rows, heads, headDim, qkv.stride, y.stride, scratch.at, each];
      return [qkv.at, y.at, ...sizes, Number(this.choice.wide)];
    });
  }

  /**
   * Gives every block of the program an address behind the weights: the lowest gap among the blocks that are alive when
   * it is made. Returns the end of the highest.
   */
  #place(result: Block): number {
    const lastRead = new Map<Block, number>();
    for (const [i, { reads }] of this.#commands.entries()) for (const block of reads) lastRead.set(block, i);
    lastRead.set(result, this.#commands.length);
    const alive: Block[] = []; // in the order of their addresses
    let end = this.#top;
    for (const [i, { makes }] of this.#commands.entries()) {
      for (const block of makes) {
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

  async read(x: Handle): Promise<Float32Array> {
    if (this.#dead) throw this.#dead;
    const commands = this.#commands;
    if (commands.length > MOST_COMMANDS) throw inputError('program', `at most ${MOST_COMMANDS} ops`, commands.length);
    this.#reserve(this.#place(x));
    this.#commands = [];
    const program = new Int32Array(this.#memory.buffer, PROGRAM, (commands.length * COMMAND_BYTES) / 4);
    for (const [i, { kernel, words }] of commands.entries()) {
      program.set([KERNELS.indexOf(kernel), ...words()], (i * COMMAND_BYTES) / 4);
    }
    await this.#run(commands.length, program);
    const y = new Float32Array(x.rows * x.columns);
    const from = this.#floats(x.at, x.rows * x.stride);
    for (let row = 0; row < x.rows; row++) {
      y.set(from.subarray(row * x.stride, row * x.stride + x.columns), row * x.columns);
    }
    return y;
  }

  /** Runs a program with all threads. It waits in place; only a thread that is very late is waited for with await. */
  async #run(commands: number, program: Int32Array): Promise<void> {
    const { threads } = this;
    const meeting = new Meeting(this.#memory, threads); // of this moment's buffer: growing may have replaced it
    meeting.set(COMMANDS, commands);
    meeting.advance(RUN);
    let before = performance.now();
    for (let i = 0; i < commands; i++) {
      const kernel = program[(i * COMMAND_BYTES) / 4]!;
      this.#kernels[kernel]!(PROGRAM + i * COMMAND_BYTES + 4, 0, threads);
      const generation = meeting.arrive();
      while (threads > 1 && !meeting.passed(generation, mayBlock ? 200 : 0)) {
        await new Promise((resolve) => setTimeout(resolve, 0)); // so that the end of a worker is heard of
        if (meeting.get(FAILED)) this.fail('one that failed');
        if (this.#dead) {
          meeting.set(FAILED, 1); // the others stop waiting
          throw this.#dead;
        }
      }
      const now = performance.now();
      this.milliseconds[KERNELS[kernel]!] = (this.milliseconds[KERNELS[kernel]!] ?? 0) + now - before;
      before = now;
    }
  }

  async dispose(): Promise<void> {
    this.fail('none after dispose()');
    await this.#endWorkers();
  }
}

/** A page's own thread may not sleep in Atomics.wait; everyone else may. */
const mayBlock = typeof process === 'object' || typeof (globalThis as { document?: unknown }).document === 'undefined';
