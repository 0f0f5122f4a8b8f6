/**
 * The CPU device: WebAssembly SIMD kernels (kernels/*.wasm.ts) over one memory, on all cores.
 *
 * `run` compiles the steps of a program to commands over blocks in one arena behind the weights (commands.ts), and lets
 * the workers run the commands (threads.ts has the memory map). The caller's thread only waits for their message, so its
 * timers and sockets go on.
 */
import { fault } from '../../errors.ts';
import { inNode } from '../../platform.ts';
import {
  type Device,
  type HostTensor,
  type LinearWeight,
  type QuantizedTensor,
  refuseFloat16,
  type Scheme,
  type Step,
  type Tensor,
} from '../../runtime.ts';
import { type Block, compile, type KernelChoice, type PackedLinear, pad } from './commands.ts';
import { CommandList, instantiate, type KernelName, WEIGHTS } from './threads.ts';
import type { Workers } from './workers.ts';

export class CpuDevice implements Device {
  readonly threads: number;
  readonly choice: KernelChoice;
  readonly float16 = true;
  readonly #workers: Workers | null;
  /** The memory, and the kernels over it for uploads, and for programs if there are no workers. Null after `dispose`. */
  #open: { memory: WebAssembly.Memory; exports: ReturnType<typeof instantiate> } | null;
  /** End of the weights, where the arena begins. */
  #top: number;
  /** Ranges below that which uploads have given back. */
  #holes: { at: number; bytes: number }[] = [];
  /** Bytes of the rows that a tile may read past the last one of an upload. */
  #margin = 65536;
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
  }

  /** Milliseconds so far in each kind of command, from the end of the command before to its own. */
  get milliseconds(): Partial<Record<KernelName, number>> {
    return this.#open ? new CommandList(this.#open.memory, [], 0).milliseconds : {};
  }
  /** Address from which on the memory is nobody's. */
  get #free(): number {
    return Math.max(this.#top, this.#arenaEnd);
  }
  /** The runtime refuses what comes after `dispose`. */
  get #memory(): WebAssembly.Memory {
    return this.#open!.memory;
  }
  get #exports() {
    return this.#open!.exports;
  }

  /**
   * Allocates bytes that stay until `dispose`, aligned to a cache line. Returns their address. While a program runs, that
   * is behind the arena, so that an upload does not overwrite activations; the arena's bytes are then not used again.
   */
  #allocate(bytes: number): number {
    const hole = this.#holes.find((each) => each.bytes >= bytes);
    if (hole) {
      hole.bytes -= pad(bytes, 64);
      return hole.at + hole.bytes; // its end
    }
    const at = this.#free;
    this.#reserve(at + pad(bytes, 64)); // throws if there is no room; then `#top` is unchanged
    this.#top = at + pad(bytes, 64);
    return at;
  }

  /** Gives the bytes of an upload back: to a hole beside them, to the arena, or as a hole of their own. */
  free(block: unknown): void {
    const { at, bytes } = block as Block;
    let [begin, end] = [at, at + pad(bytes, 64)];
    this.#holes = this.#holes.filter((hole) => {
      const beside = hole.at + hole.bytes === begin || hole.at === end || hole.bytes === 0;
      if (beside && hole.bytes > 0) [begin, end] = [Math.min(begin, hole.at), Math.max(end, hole.at + hole.bytes)];
      return !beside;
    });
    if (end === this.#top) this.#top = begin;
    else this.#holes.push({ at: begin, bytes: end - begin });
  }

  /** Grows the memory so that it reaches at least to `end`, and as far behind it as a tile may read. */
  #reserve(end: number): void {
    const missing = end + this.#margin - this.#memory.buffer.byteLength;
    if (missing <= 0) return;
    try {
      this.#memory.grow(Math.ceil(missing / 65536));
    } catch (cause) {
      const advice =
        'WebAssembly has 4 GB at most, and less where this process may have less (a container, `ulimit -v`).';
      throw fault('device', 'cpu', `${end} bytes of memory`, 'none', advice, cause);
    }
  }

  #floats = (at: number, length: number) => new Float32Array(this.#memory.buffer, at, length);

  /** Uploads float32, or float16 as its bits, which the op `rows` converts itself. */
  upload(rows: number, columns: number, data: Float32Array | Uint16Array): Block {
    const stride = pad(columns, 16);
    const isHalf = data.BYTES_PER_ELEMENT === 2; // not instanceof: another realm has other classes
    const bytes = rows * stride * data.BYTES_PER_ELEMENT;
    this.#margin = Math.max(this.#margin, 5 * 4 * stride);
    const at = this.#allocate(bytes);
    putRows(new (isHalf ? Uint16Array : Float32Array)(this.#memory.buffer, at, rows * stride), data, columns, stride);
    return { at, last: 0, bytes, stride, isHalf };
  }

  /** Converts uploads of float16 to float32, at other addresses, for ops other than `rows`. */
  #widen(tensors: readonly Tensor[]): void {
    for (const { step, buffer } of tensors) {
      const block = buffer as Block;
      if (step || !block.isHalf) continue;
      const to = this.#allocate(block.bytes * 2);
      this.#exports.halfToFloat(block.at, to, block.bytes / 2);
      this.free({ ...block });
      Object.assign(block, { at: to, bytes: block.bytes * 2, isHalf: false });
    }
  }

  quantizeWeight(
    { shape, data }: HostTensor<Float32Array | Uint16Array>,
    scheme: Scheme,
    target: Pick<QuantizedTensor, 'data' | 'scale'> = {
      data: new Int8Array(data.length),
      scale: new Float32Array(shape[0]!),
    },
  ): QuantizedTensor {
    const [rows, columns] = shape as [number, number];
    const size = pad(data.length, 16);
    const from = this.#free; // used until the end of this call
    const to = from + 4 * size;
    this.#reserve(to + data.length);
    if (data.BYTES_PER_ELEMENT === 4) this.#floats(from, data.length).set(data);
    else {
      new Uint16Array(this.#memory.buffer, from + size * 2, data.length).set(data);
      this.#exports.halfToFloat(from + size * 2, from, size); // in place, from the second half of the room
    }
    const shared = scheme === 'torch' ? rows : 1; // rows that share a scale
    for (let row = 0; row < rows; row += shared) {
      const step = this.#exports.quantizeWeight(from + row * columns * 4, to + row * columns, shared * columns);
      target.scale.fill(step, row, row + shared);
    }
    target.data.set(new Int8Array(this.#memory.buffer, to, data.length));
    return { dtype: 'I8', shape, ...target, scheme };
  }

  /**
   * Packs a weight [out, in] into panels of 16 columns (a column is an output feature), in the order in which the
   * kernels read: float32 [out/16][in][16] (linear.wasm.ts), int8
   * [out/16][in/group][16][group] (linearInt8.wasm.ts).
   */
  uploadLinear(weight: LinearWeight, bias: Float32Array, name: string): PackedLinear {
    refuseFloat16(name, weight);
    const [out, features] = weight.shape as [number, number];
    const [columns, depth] = [pad(out, 16), pad(features, 16)];
    const int8 = 'scale' in weight;
    const bytes = columns * depth * (int8 ? 1 : 4);
    const at = this.#allocate(bytes);
    const constants = int8 ? this.#allocate(columns * 12) : this.upload(1, out, bias).at;
    const rows = this.#free; // a copy of the weight, until the end of this call
    this.#reserve(rows + bytes);
    const copy = new (int8 ? Int8Array : Float32Array)(this.#memory.buffer, rows, columns * depth);
    putRows(copy, weight.data, features, depth);
    const { pack, rowSum } = this.#exports;
    pack(rows, at, columns, bytes / columns, int8 && this.choice.int8 === 'int16' ? 2 : 4);
    if (!int8) return { weight: at, constants, offsets: 0, scheme: null };
    const floats = this.#floats(constants, columns * 3).fill(0);
    const sums = new Int32Array(this.#memory.buffer, constants, columns * 3);
    for (let n = 0; n < out; n++) {
      const constant = (n >> 4) * 48 + (n & 15);
      sums[constant] = rowSum(rows + n * depth, depth);
      floats[constant + 16] = weight.scale[n]!;
      floats[constant + 32] = bias[n]!;
    }
    const offsets = this.choice.int8 === 'grouped' ? this.#group(at, columns / 16, depth) : 0;
    return { weight: at, constants, offsets, scheme: weight.scheme };
  }

  /** Lets `groupPanel` reorder packed panels. Returns the address of the tables, one for each panel. */
  #group(weight: number, panels: number, depth: number): number {
    const [panel, table] = [depth * 16, depth + 20]; // bytes
    const tables = this.#allocate(panels * table);
    const free = this.#free; // used until the end of this call
    this.#reserve(free + 2 * panel + 4096);
    for (let i = 0; i < panels; i++) this.#exports.groupPanel(weight + i * panel, panel, tables + i * table, free);
    return tables;
  }

  async run(steps: readonly Step[], results: readonly Tensor[], signal?: AbortSignal): Promise<Float32Array[]> {
    for (const { op, reads } of steps) if (op !== 'rows') this.#widen(reads);
    this.#widen(results);
    const { calls, inputs, blocks, end } = compile(steps, results, this, this.#top);
    this.#reserve(end);
    this.#arenaEnd = end;
    for (const { at, data } of inputs) new Int32Array(this.#memory.buffer, at, data!.length).set(data!);
    try {
      if (calls.length > 0) await this.#run(calls, signal);
      return results.map((x, i) => this.#copy(blocks[i]!, x.shape)); // before an upload may use the arena's bytes
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
  async #run(calls: Int32Array, signal?: AbortSignal): Promise<void> {
    const newList = () => new CommandList(this.#memory, this.#exports.kernels, 0);
    const cancel = () => newList().cancel();
    signal?.addEventListener('abort', cancel);
    try {
      let list = newList();
      if (this.#workers) return await this.#workers.run(() => list.start(calls));
      list.start(calls);
      do {
        if (performance.now() - this.#turn < SLICE) continue;
        await macrotask();
        this.#turn = performance.now();
        list = newList(); // an upload meanwhile may have let the memory grow
      } while (list.work() !== 'last');
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
