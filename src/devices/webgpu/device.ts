/**
 * The GPU device: runs a program as WGSL compute shaders (kernels/*.wgsl), from the ids to the logits in one submit.
 *
 * A run makes the dispatches of its program (program.ts), gives each tensor a buffer, writes the steps and the ids, encodes
 * one compute pass, submits it, and waits for the results in the staging buffer. Buffers, bind groups and pipelines are made
 * once and kept: a program like one before, of whatever length, creates nothing.
 *
 * A tensor is a buffer of float32 rows. Columns are padded to a multiple of 4, so that kernels read vec4s:
 *
 *                        columns      stride
 *   row 0                | x x x x x | 0 0 0 |
 *   row rows - 1         | x x x x x | 0 0 0 |
 *   up to the buffer's   | ? ? ? ? ? | ? ? ? |   rubbish of earlier runs; no result depends on it
 *
 * What runs write is in a pool of buffers that all programs share, since one runs at a time. A tensor takes the
 * smallest free buffer with room for it, and gives it back after the last dispatch that reads it. So equal programs take
 * equal buffers.
 */
import { BertletError, fault, messageOf } from '../../errors.ts';
import { rowSums } from '../../quantize.ts';
import type { Device, LinearWeight, Step, Tensor } from '../../runtime.ts';
import { type GpuLinear, type GpuMemory, type GpuTensor, type Kernel, Program, sourceOf } from './program.ts';

/** Flags from the WebGPU specification, sections 5.1.2 and 7.3.1. Node has no globals for them. */
const MAP_READ = 1;
const COPY_SRC = 4;
const COPY_DST = 8;
const UNIFORM = 64;
const STORAGE = 128;
const QUERY_RESOLVE = 512;
const COMPUTE = 4;
/** Buffers by their use: what is uploaded, what a run writes, what it copies its results to. */
const UPLOAD = STORAGE | COPY_SRC;
const POOL = UNIFORM | STORAGE | COPY_SRC | COPY_DST | QUERY_RESOLVE;
const STAGING = MAP_READ | COPY_DST;

const pad = (n: number, to: number) => Math.ceil(n / to) * to;
const bytesOf = ({ rows, columns }: GpuTensor): number => rows * pad(columns, 4) * 4;
const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0);
/** Bytes of a new buffer of the pool: a fourth more at most, so that programs of slightly other sizes can use it. */
const rounded = (bytes: number): number => pad(bytes, 2 ** Math.max(8, Math.floor(Math.log2(bytes)) - 2));

/** Bytes from the uniform of a step to the next: WebGPU's default limit of alignment. */
const STEP_BYTES = 256;
/** Bindings of every kernel: step, tables, ranges, y, and up to four that it reads. */
const BINDINGS: readonly GPUBufferBindingType[] = [
  ...(['uniform', 'read-only-storage', 'storage', 'storage'] as const),
  ...Array(4).fill('read-only-storage'),
];

/** The buffers of a run, besides those of its tensors. */
interface Placed {
  /** | the steps of the dispatches, `STEP_BYTES` each | tables |; after the dispatches, timestamps | */
  readonly data: GpuMemory;
  readonly ranges: GpuMemory;
  /** | results | timestamps of the dispatches | */
  readonly staging: GpuMemory;
}

export class WebgpuDevice implements Device {
  readonly adapter: string;
  /** Milliseconds on the GPU so far, for each kernel, where the GPU device has timestamps. */
  readonly milliseconds: Record<string, number> = {};
  /** Bytes of GPU memory in use. */
  bytes = 0;
  readonly #device: GPUDevice;
  /** Bytes of the timestamps of a dispatch; with timestamps, each dispatch is a pass of its own. */
  readonly #stamp: number;
  readonly #layout: GPUBindGroupLayout;
  readonly #memories = new Set<GpuMemory>();
  readonly #pipelines = new Map<Kernel, Promise<GPUComputePipeline>>();
  /** By the place of the dispatch and the numbers of its buffers. */
  readonly #bindGroups = new Map<string, GPUBindGroup>();
  #serial = 0;
  #dead: BertletError | null = null;

  constructor(device: GPUDevice, adapter: string) {
    this.#device = device;
    this.adapter = adapter;
    this.#stamp = device.features.has('timestamp-query') ? 16 : 0;
    const entries = BINDINGS.map((type, binding) => ({ binding, visibility: COMPUTE, buffer: { type } }));
    this.#layout = device.createBindGroupLayout({ entries });
    device.lost.then(({ message }) => this.#fail(`a device that is lost (${messageOf({ message })})`));
    device.onuncapturederror = ({ error }) => this.#fail(`an error (${messageOf(error)})`);
  }

  #error = (got: string, advice = 'Use `cpu`.') =>
    fault('device', `webgpu, ${this.adapter}`, 'a device that computes', got, advice);
  /** Marks the device as dead: every `run` fails from then on. */
  #fail(got: string): void {
    this.#dead ??= this.#error(got, 'Load the model again, or use `cpu`.');
  }

  #memory(what: string, bytes: number, usage: number, mappedAtCreation = false): GpuMemory {
    const { maxBufferSize, maxStorageBufferBindingSize } = this.#device.limits;
    const max = Math.min(maxBufferSize, maxStorageBufferBindingSize);
    if (bytes > max) throw this.#error(`a limit of ${max} bytes for a buffer (${what} has ${bytes})`);
    try {
      const buffer = this.#device.createBuffer({ label: what, size: bytes, usage, mappedAtCreation });
      const memory = { id: ++this.#serial, bytes, usage, buffer };
      this.#memories.add(memory);
      this.bytes += bytes;
      return memory;
    } catch (cause) {
      throw this.#error(`no memory for ${bytes} bytes of ${what} (${messageOf(cause)})`);
    }
  }

  #free(memory: GpuMemory): void {
    this.#memories.delete(memory);
    this.bytes -= memory.bytes;
    memory.buffer.destroy();
    for (const key of this.#bindGroups.keys()) if (key.includes(`,${memory.id},`)) this.#bindGroups.delete(key);
  }

  /** Uploads rows, padded to `stride` elements each. Memory is mapped, because `writeBuffer` would copy twice. */
  #upload(what: string, data: Float32Array | Uint16Array | Int8Array, columns: number, stride: number): GpuTensor {
    const rows = data.length / columns;
    const memory = this.#memory(what, rows * stride * data.BYTES_PER_ELEMENT, UPLOAD, true);
    const to = new (data.constructor as typeof Int8Array)(memory.buffer.getMappedRange() as ArrayBuffer);
    if (columns === stride) to.set(data);
    else for (let row = 0; row < rows; row++) to.set(data.subarray(row * columns, (row + 1) * columns), row * stride);
    memory.buffer.unmap();
    this.#device.queue.submit([]); // starts the upload now, so that mapped copies do not pile up
    return { rows, columns, memory };
  }

  free(buffer: unknown): void {
    this.#free((buffer as GpuTensor).memory!);
  }

  upload(rows: number, columns: number, data: Float32Array): GpuTensor {
    return this.#upload(`tensor [${rows},${columns}]`, data, columns, pad(columns, 4));
  }

  /**
   * Uploads a linear. The weight keeps the checkpoint's order [out, in], with `in` padded to a multiple of 128. The
   * constants of a float weight are its biases. Those of an int8 weight have three parts, each padded to a multiple of 4:
   *
   *   | weight sums [out]: int32 | scales [out]: float32 | biases [out]: float32 |
   */
  uploadLinear(weight: LinearWeight, bias: Float32Array, name: string): GpuLinear {
    const [out, features] = weight.shape as [number, number];
    const stride = pad(out, 4);
    const int8 = 'scale' in weight;
    const constants = new Float32Array(int8 ? 3 * stride : stride);
    constants.set(bias, constants.length - stride);
    if (int8) {
      new Int32Array(constants.buffer).set(rowSums(weight));
      constants.set(weight.scale, stride);
    }
    const float = weight.dtype === 'F16' ? 'linearFp16' : 'linear';
    return {
      kernel: int8 ? 'linearInt8' : float,
      weight: this.#upload(`${name}: weight [${weight.shape}]`, weight.data, features, pad(features, 128)),
      constants: this.#upload(`${name}: constants [${out}]`, constants, constants.length, constants.length),
      scheme: int8 ? weight.scheme : null,
    };
  }

  /** Compiles a kernel, once. */
  #pipeline(kernel: Kernel): Promise<GPUComputePipeline> {
    const known = this.#pipelines.get(kernel);
    if (known) return known;
    const module = this.#device.createShaderModule({ label: kernel, code: sourceOf(kernel) });
    const layout = this.#device.createPipelineLayout({ bindGroupLayouts: [this.#layout] });
    const compute = { module, entryPoint: 'main' };
    const pipeline = this.#device.createComputePipelineAsync({ label: kernel, layout, compute });
    this.#pipelines.set(kernel, pipeline);
    return pipeline;
  }

  /**
   * Gives each tensor of a program a buffer, and the run what else it needs.
   * @throws BertletError `device` without memory; the pool is then empty, so that later programs have more
   */
  async #place({ dispatches, tables, pairs, results, longest }: Program): Promise<Placed> {
    const free = [...this.#memories].filter(({ usage }) => usage !== UPLOAD);
    const shortages: Promise<GPUError | null>[] = [];
    const take = (bytes: number, usage = POOL): GpuMemory => {
      const fitting = free.filter((each) => each.usage === usage && each.bytes >= bytes);
      const [smallest] = fitting.toSorted((a, b) => a.bytes - b.bytes);
      if (smallest) return free.splice(free.indexOf(smallest), 1)[0]!;
      this.#device.pushErrorScope('out-of-memory');
      try {
        return this.#memory("a program's buffers", rounded(bytes), usage);
      } finally {
        shortages.push(this.#device.popErrorScope().catch(() => null)); // it rejects where the device is lost
      }
    };
    /** Bytes of a tensor. What a run makes has room for the longest input, so that a longer one finds its buffers, too. */
    const room = (x: GpuTensor) => bytesOf({ ...x, rows: Math.max(x.rows, longest) });
    try {
      const placed: Placed = {
        data: take(STEP_BYTES * dispatches.length + 4 * tables.length + 4),
        ranges: take(8 * pairs + 8),
        staging: take(sum(results.map(room)) + this.#stamp * dispatches.length, STAGING),
      };
      const lastReader = new Map(dispatches.flatMap(({ reads }, i) => reads.map((x) => [x, i])));
      for (const x of results) lastReader.set(x, Infinity);
      for (const [i, { y, reads }] of dispatches.entries()) {
        y.memory = take(room(y));
        for (const x of new Set(reads)) if (lastReader.get(x) === i) free.unshift(x.memory!); // nobody takes an upload's
      }
      const [shortage] = (await Promise.all(shortages)).filter((error) => error !== null);
      if (shortage) throw this.#error(`no memory for a program's buffers (${messageOf(shortage)})`);
      return placed;
    } catch (cause) {
      for (const memory of this.#memories) if (memory.usage !== UPLOAD) this.#free(memory);
      throw cause;
    }
  }

  /** The bind group of dispatch `i` of a program: the step, the tables, the ranges, y, and what the kernel reads. */
  #bindGroup({ dispatches }: Program, i: number, { data, ranges }: Placed): GPUBindGroup {
    const { y, reads } = dispatches[i]!;
    const memories = [ranges, ...[y, ...reads].map(({ memory }) => memory!)];
    const key = `${i} of ${dispatches.length},${[data, ...memories].map(({ id }) => id)},`;
    const known = this.#bindGroups.get(key);
    if (known) return known;
    const tables = { buffer: data.buffer, offset: STEP_BYTES * dispatches.length };
    const step = { buffer: data.buffer, offset: STEP_BYTES * i, size: STEP_BYTES };
    const resources: GPUBufferBinding[] = [step, tables, ...memories.map(({ buffer }) => ({ buffer }))];
    const entries = BINDINGS.map((_, binding) => ({ binding, resource: resources[binding] ?? tables }));
    const group = this.#device.createBindGroup({ layout: this.#layout, entries });
    this.#bindGroups.set(key, group);
    return group;
  }

  async run(steps: readonly Step[], results: readonly Tensor[]): Promise<Float32Array[]> {
    if (this.#dead) throw this.#dead;
    try {
      const program = new Program(steps, results);
      const placed = await this.#place(program);
      const pipelines = await Promise.all(program.dispatches.map(({ kernel }) => this.#pipeline(kernel)));
      this.#submit(program, placed, pipelines);
      const values = await this.#read(program, placed);
      if (this.#dead) throw this.#dead;
      return values;
    } catch (cause) {
      if (cause instanceof BertletError) throw cause;
      await Promise.resolve(); // lets the event of a lost device come first: it says more
      throw this.#dead ?? this.#error(`an error (${messageOf(cause)})`);
    }
  }

  /** Submits a program: one pass, or with timestamps one for each dispatch; then copies of the results. */
  #submit(program: Program, placed: Placed, pipelines: readonly GPUComputePipeline[]): void {
    const { dispatches, tables, pairs, results } = program;
    const [data, ranges, staging] = [placed.data.buffer, placed.ranges.buffer, placed.staging.buffer];
    const words = new Uint32Array((STEP_BYTES / 4) * dispatches.length + tables.length);
    for (const [i, { step }] of dispatches.entries()) words.set(Object.values(step), (STEP_BYTES / 4) * i);
    words.set(tables, words.length - tables.length);
    this.#device.queue.writeBuffer(data, 0, words);
    const encoder = this.#device.createCommandEncoder();
    encoder.clearBuffer(ranges, 0, 8 * pairs);
    const count = 2 * dispatches.length;
    const querySet = this.#stamp > 0 ? this.#device.createQuerySet({ type: 'timestamp', count }) : null;
    let pass = querySet ? null : encoder.beginComputePass();
    for (const [i, { grid }] of dispatches.entries()) {
      if (querySet) {
        pass?.end();
        const at = { beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 };
        pass = encoder.beginComputePass({ timestampWrites: { querySet, ...at } });
      }
      pass!.setPipeline(pipelines[i]!);
      pass!.setBindGroup(0, this.#bindGroup(program, i, placed));
      pass!.dispatchWorkgroups(...grid);
    }
    pass?.end();
    let at = 0;
    for (const x of results) {
      encoder.copyBufferToBuffer(x.memory!.buffer, 0, staging, at, bytesOf(x));
      at += bytesOf(x);
    }
    if (querySet) {
      encoder.resolveQuerySet(querySet, 0, count, data, 0);
      encoder.copyBufferToBuffer(data, 0, staging, at, 8 * count);
    }
    this.#device.queue.submit([encoder.finish()]);
    querySet?.destroy();
  }

  /** Waits for the results and takes them out of the staging buffer, without the padding of their columns. */
  async #read({ dispatches, results }: Program, { staging: { buffer } }: Placed): Promise<Float32Array[]> {
    const bytes = sum(results.map(bytesOf)) + this.#stamp * dispatches.length;
    await buffer.mapAsync(MAP_READ, 0, bytes);
    const mapped = buffer.getMappedRange(0, bytes);
    let at = 0;
    const values = results.map((x) => {
      const stride = pad(x.columns, 4);
      const rows = new Float32Array(mapped, at, bytesOf(x) / 4);
      at += rows.byteLength;
      return rows.filter((_, i) => i % stride < x.columns);
    });
    const nanoseconds = new BigInt64Array(mapped, at);
    for (const [i, { kernel }] of nanoseconds.length > 0 ? dispatches.entries() : []) {
      const elapsed = Number(nanoseconds[2 * i + 1]! - nanoseconds[2 * i]!) / 1e6;
      this.milliseconds[kernel] = (this.milliseconds[kernel] ?? 0) + elapsed;
    }
    buffer.unmap();
    return values;
  }

  /** Frees all uploads and the pool. The device can be used again. */
  clear(): void {
    for (const memory of this.#memories) this.#free(memory);
  }

  async dispose(): Promise<void> {
    this.#dead ??= fault('disposed', `webgpu, ${this.adapter}`, 'a device that computes', 'none after dispose()');
    this.clear();
    this.#device.destroy();
  }
}
