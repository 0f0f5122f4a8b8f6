/**
 * The GPU device: runs a program as WGSL compute shaders (kernels/*.wgsl), from the ids to the logits in one submit.
 *
 * The first run of a program makes a plan: pipelines, buffers and bind groups. A later program with the same steps
 * reuses the plan, whatever the length of its input: such a run writes the ids, encodes one compute pass, submits the
 * pass, and waits for the results in the staging buffer. The plans of the latest `PLANS` programs are kept.
 *
 * A tensor is a buffer of float32 rows. Columns are padded to a multiple of 4, so that kernels read vec4s. Activations
 * have room for as many rows as the model has positions, or a batch has rows, rounded up to a multiple of 64 (the
 * capacity):
 *
 *                        columns      stride
 *   row 0                | x x x x x | 0 0 0 |
 *   row tokens - 1       | x x x x x | 0 0 0 |
 *   up to the capacity   | ? ? ? ? ? | ? ? ? |   finite numbers of earlier runs; no result depends on them
 *
 * A batch has the rows of its sequences one after another, and is as many dispatches as one sequence: kernels look up where
 * the sequence of a row begins and ends (`rowsOf`).
 */
import { BertletError, inputError, messageOf } from '../../errors.ts';
import { rowSums } from '../../quantize.ts';
import type { Device, LinearWeight, Rows, Step, Tensor } from '../../runtime.ts';
import {
  type Dispatch,
  FILES,
  type File,
  type GpuChoice,
  type Handle,
  type Linear,
  type Node,
  Program,
  type Size,
} from './plan.ts';

/** Everything that a program needs on the GPU, for inputs of up to `capacity` rows. */
interface Plan {
  /** All buffers of the plan. */
  readonly buffers: readonly GPUBuffer[];
  readonly results: readonly Handle[];
  /** Rows that the activations have room for. */
  readonly capacity: number;
  /** What `forward` is written from: | tokens | five arrays [capacity] of `rowsOf` |, the Forward of common.wgsl. */
  readonly words: Uint32Array<ArrayBuffer>;
  readonly forward: GPUBuffer;
  /** The range of each tensor that an int8 linear quantizes, cleared before each run. */
  readonly ranges: GPUBuffer;
  /** The staging buffer: results are copied to it, and the CPU maps it. */
  readonly staging: GPUBuffer;
  /** Only with `profile`: the timestamps of each dispatch. */
  readonly times: { readonly queries: GPUQuerySet; readonly resolved: GPUBuffer; readonly staging: GPUBuffer } | null;
  readonly steps: (Pick<Dispatch, 'name' | 'grid'> & { pipeline: GPUComputePipeline; bindings: GPUBindGroup })[];
}

/** Plans that are kept. Each has the activations of its program, some MB. */
const PLANS = 4;
const pad = (n: number, to: number) => Math.ceil(n / to) * to;
/** Flags from the WebGPU specification, sections 5.1.2 and 7.3.1. Node has no globals for them. */
const [MAP_READ, COPY_SRC, COPY_DST, UNIFORM, STORAGE, QUERY_RESOLVE] = [1, 4, 8, 64, 128, 512];

/** Bytes of a tensor. An upload has its own number of rows, an activation has `tokens` rows. */
const bytesOf = ({ rows, columns }: Handle, tokens: number): number => (rows ?? tokens) * pad(columns, 4) * 4;

/** The one number that a step passes to its kernel: eps, heads, or 1 for GELU. */
function optionOf(step: Step): number {
  if (step.op === 'layerNorm') return step.eps;
  if (step.op === 'attention') return step.heads;
  return step.op === 'linear' ? Number(step.gelu) : 0;
}

/** What a program computes with, and the capacity that its plan needs. */
interface Input extends Size {
  /** The five arrays of `rowsOf`. */
  readonly rows: readonly ArrayLike<number>[];
  readonly capacity: number;
}

/** The most workgroups of a dispatch in one dimension, a limit that every adapter has. Some kernels take one for each row. */
const MOST_ROWS = 65535;
/** Queries of one sequence that a workgroup of attention takes. */
const BLOCK = 16;

/**
 * Checks a program.
 * @throws BertletError `input` if steps differ in their rows, if there are two embeddings, or if a size is too large
 */
function inputOf(steps: readonly Step[]): Input {
  const { shape, lengths } = steps[0]?.y ?? { shape: [1, 1], lengths: [1] };
  const [tokens] = shape;
  const ofTheirOwn = 'Read them in programs of their own.';
  if (tokens > MOST_ROWS)
    throw inputError('webgpu: program', `at most ${MOST_ROWS} rows`, tokens, 'Make batches smaller.');
  let ids: readonly Int32Array[] = [];
  let capacity = pad(tokens, 64);
  for (const step of steps) {
    const [rows, columns] = step.y.shape;
    if (rows !== tokens) throw inputError('webgpu: program', `${tokens} rows in all its ops`, rows, ofTheirOwn);
    if (step.y.lengths !== lengths && String(step.y.lengths) !== String(lengths)) {
      throw inputError(
        'webgpu: program',
        `sequences of [${lengths}] in all its ops`,
        `[${step.y.lengths}]`,
        ofTheirOwn,
      );
    }
    if (step.op === 'embedding') {
      if (ids.length > 0) throw inputError('webgpu: program', 'one embedding', 2, ofTheirOwn);
      ids = [step.ids, step.typeIds];
      capacity = Math.max(capacity, pad(step.reads[1]!.shape[0], 64)); // the positions, so that each length fits the plan
    }
    if (step.op === 'layerNorm' && columns > 1024) {
      throw inputError('webgpu: layerNorm', 'at most 1024 columns', columns, 'Use `cpu`.');
    }
    const headDim = step.op === 'attention' ? columns / step.heads : 4;
    if (headDim % 4 !== 0 || headDim > 64) {
      throw inputError('webgpu: attention', 'headDim a multiple of 4, at most 64', headDim, 'Use `cpu`.');
    }
  }
  const rows = rowsOf(steps[0]?.y.sequences ?? [], ids);
  return { tokens, blocks: rows.at(-1)!.length, rows, capacity };
}

const NONE = new Int32Array(0);
/**
 * What the kernels look up for each row: its token id, its type id, the first row of its sequence, and the row after the
 * last; and for each block of queries its first row.
 */
function rowsOf(sequences: readonly Rows[], [ids = NONE, typeIds = NONE]: readonly Int32Array[]): ArrayLike<number>[] {
  const [firsts, ends, blocks]: [number[], number[], number[]] = [[], [], []];
  for (const { first, tokens } of sequences) {
    for (let row = first; row < first + tokens; row++) {
      firsts.push(first);
      ends.push(first + tokens);
      if ((row - first) % BLOCK === 0) blocks.push(row);
    }
  }
  return [ids, typeIds, firsts, ends, blocks];
}

/** Turns steps into nodes. `handles` receives the handle of each step's tensor. */
function nodesOf(steps: readonly Step[], handles: Map<Tensor, Handle>): Node[] {
  return steps.map((step, i) => {
    const reads = step.reads.map((x) => handles.get(x) ?? (x.buffer as Handle));
    const linear = step.op === 'linear' ? (step.linear.buffer as Linear) : null;
    const y: Handle = { id: -1 - i, columns: step.y.shape[1], rows: null, buffer: null };
    handles.set(step.y, y);
    return { op: step.op, reads, linear, option: optionOf(step), y };
  });
}

/** The name of a program: programs of equal names differ only in their ids and in the length of their input. */
function nameOf(nodes: readonly Node[], results: readonly Handle[]): string {
  const ids = (handles: readonly Handle[]) => handles.map(({ id }) => id);
  return JSON.stringify([
    nodes.map(({ op, reads, linear, option }) => [op, ids(reads), linear?.id, option]),
    ids(results),
  ]);
}

/** Compiled pipelines of each device. A pipeline depends on no length and no size of the model, so one is enough. */
const compiled = new WeakMap<GPUDevice, Map<string, Promise<GPUComputePipeline>>>();

export class WebgpuDevice implements Device {
  readonly adapter: string;
  readonly choice: GpuChoice;
  /** Only with `profile`: milliseconds on the GPU so far, for each kind of kernel. */
  readonly milliseconds: Record<string, number> = {};
  /** Bytes of GPU memory in use. */
  bytes = 0;
  readonly #device: GPUDevice;
  readonly #profile: boolean;
  readonly #layout: GPUBindGroupLayout;
  /** Buffers of weights and uploaded tensors. */
  readonly #uploaded: GPUBuffer[] = [];
  /** Plans by their programs' names, the latest used last. */
  readonly #plans = new Map<string, Plan>();
  #dead: BertletError | null = null;

  constructor(device: GPUDevice, adapter: string, choice: GpuChoice, profile = false) {
    this.#device = device;
    this.adapter = adapter;
    this.choice = choice;
    this.#profile = profile;
    const entry = (binding: number, type: GPUBufferBindingType) => ({ binding, visibility: 4, buffer: { type } });
    const writes = [2, 3].map((binding) => entry(binding, 'storage'));
    const reads = [0, 4, 5, 6, 7, 8].map((binding) => entry(binding, 'read-only-storage'));
    this.#layout = device.createBindGroupLayout({ entries: [...reads, entry(1, 'uniform'), ...writes] });
    device.lost.then(({ message }) => this.#fail(`a device that is lost (${messageOf({ message })})`));
    device.onuncapturederror = ({ error }) => this.#fail(`an error (${messageOf(error)})`);
  }

  #error = (got: string, code: 'device' | 'disposed' = 'device') =>
    new BertletError(code, `webgpu, ${this.adapter}: expected a device that computes, got ${got}.`);
  /** Marks the device as dead: every `run` fails from then on. */
  #fail(got: string): void {
    this.#dead ??= this.#error(`${got}. Load the model again, or use \`cpu\``);
  }

  #buffer(what: string, bytes: number, usage: number, mapped = false): GPUBuffer {
    const { maxBufferSize, maxStorageBufferBindingSize } = this.#device.limits;
    const most = Math.min(maxBufferSize, maxStorageBufferBindingSize);
    if (bytes > most) throw this.#error(`a limit of ${most} bytes for a buffer (${what} has ${bytes}). Use \`cpu\``);
    try {
      const buffer = this.#device.createBuffer({ label: what, size: bytes, usage, mappedAtCreation: mapped });
      this.bytes += bytes;
      return buffer;
    } catch (cause) {
      throw this.#error(`no memory for ${bytes} bytes of ${what} (${messageOf(cause)}). Use \`cpu\``);
    }
  }
  #free(buffers: readonly GPUBuffer[]): void {
    for (const buffer of buffers) {
      this.bytes -= buffer.size;
      buffer.destroy();
    }
  }
  /** Frees the plans that were not used for longest, until `kept` are left. */
  #dropPlans(kept: number): void {
    for (const [name, { buffers }] of [...this.#plans].slice(0, Math.max(0, this.#plans.size - kept))) {
      this.#plans.delete(name);
      this.#free(buffers);
    }
  }

  /** Makes a buffer and uploads rows to it. Pads each row with zeros from `columns` to `stride` values. */
  #uploadRows(what: string, data: Float32Array | Uint16Array | Int8Array, columns: number, stride: number): GPUBuffer {
    const rows = data.length / columns;
    const bytes = pad(rows, 64) * stride * data.BYTES_PER_ELEMENT + 512;
    const buffer = this.#buffer(what, bytes, STORAGE | COPY_SRC, true);
    const to = new (data.constructor as typeof Int8Array)(buffer.getMappedRange() as ArrayBuffer);
    if (columns === stride) to.set(data);
    else for (let row = 0; row < rows; row++) to.set(data.subarray(row * columns, (row + 1) * columns), row * stride);
    buffer.unmap();
    this.#device.queue.submit([]); // starts the upload now, so that mapped copies do not pile up
    this.#uploaded.push(buffer);
    return buffer;
  }

  upload(rows: number, columns: number, data: Float32Array): Handle {
    const buffer = this.#uploadRows(`tensor [${rows},${columns}]`, data, columns, pad(columns, 4));
    return { id: this.#uploaded.length, columns, rows, buffer };
  }

  /**
   * Uploads a linear. The weight keeps the checkpoint's order [out, in], with `in` padded to a multiple of 128 and
   * `out` to a multiple of 64. The constants of a float weight are its biases. The constants of an int8 weight have
   * three parts, each padded to a multiple of 4:
   *
   *   | weight sums [out]: int32 | scales [out]: float32 | biases [out]: float32 |
   */
  uploadLinear(weight: LinearWeight, bias: Float32Array, name: string): Linear {
    const [out, features] = weight.shape as [number, number];
    const format = { F32: 'fp32', F16: 'fp16', I8: 'int8' }[weight.dtype as 'F32' | 'F16' | 'I8'] as Linear['format'];
    const kept = this.#uploadRows(`${name}: weight [${weight.shape}]`, weight.data, features, pad(features, 128));
    const stride = pad(out, 4);
    if (!('scale' in weight)) {
      const constants = this.#uploadRows(`${name}: bias [${out}]`, bias, out, stride);
      return { id: this.#uploaded.length, weight: kept, constants, features, out, format, scheme: null };
    }
    const constants = new Float32Array(3 * stride);
    new Int32Array(constants.buffer).set(rowSums(weight));
    constants.set(weight.scale, stride);
    constants.set(bias, 2 * stride);
    const buffer = this.#uploadRows(`${name}: constants [${out}]`, constants, constants.length, constants.length);
    return { id: this.#uploaded.length, weight: kept, constants: buffer, features, out, format, scheme: weight.scheme };
  }

  /** Compiles a kernel once for each list of files and each set of constants. */
  #pipeline(files: readonly File[], constants: Record<string, number>): Promise<GPUComputePipeline> {
    const key = JSON.stringify([files, constants]);
    const compile = async () => {
      const code = ['common' as const, ...files].map((file) => FILES[file]).join('\n');
      const module = this.#device.createShaderModule({ label: files.at(-1)!, code });
      const compute = { module, entryPoint: 'main', constants };
      const layout = this.#device.createPipelineLayout({ bindGroupLayouts: [this.#layout] });
      return this.#device.createComputePipelineAsync({ label: key, layout, compute });
    };
    const pipelines = compiled.get(this.#device) ?? new Map();
    compiled.set(this.#device, pipelines);
    if (!pipelines.has(key)) pipelines.set(key, compile());
    return pipelines.get(key)!;
  }

  /**
   * Makes the plan of a program. If memory is short, frees the other plans and tries once more.
   * @throws BertletError `device` without memory, too
   */
  async #newPlan(nodes: readonly Node[], results: readonly Handle[], capacity: number): Promise<Plan> {
    const buffers: GPUBuffer[] = [];
    this.#device.pushErrorScope('out-of-memory');
    const preparing = this.#prepare(nodes, results, capacity, buffers); // makes all buffers before it waits
    const [made, none] = await Promise.allSettled([preparing, this.#device.popErrorScope()]);
    const short = none.status === 'fulfilled' ? none.value : null;
    if (made.status === 'fulfilled' && !short && !this.#dead) return made.value;
    this.#free(buffers);
    if (this.#plans.size > 0 && !this.#dead) {
      this.#dropPlans(0);
      return this.#newPlan(nodes, results, capacity);
    }
    if (short) throw this.#error(`no memory for a program's buffers (${messageOf(short)}). Use \`cpu\``);
    throw made.status === 'rejected' ? made.reason : this.#dead;
  }

  /** Makes a plan: its dispatches, bind groups and pipelines, and its buffers, which it adds to `buffers`. */
  async #prepare(
    nodes: readonly Node[],
    results: readonly Handle[],
    capacity: number,
    buffers: GPUBuffer[],
  ): Promise<Plan> {
    const make = (what: string, bytes: number, usage: number) => {
      const buffer = this.#buffer(what, bytes, usage);
      buffers.push(buffer);
      return buffer;
    };
    const program = new Program(nodes, this.choice);
    const { dispatches } = program;

    // Activations share buffers: after the last dispatch that reads a tensor, its buffer is free for another tensor.
    const free: GPUBuffer[] = [];
    const lastReader = (tensor: Handle) => dispatches.findLastIndex(({ reads }) => reads.includes(tensor));
    for (const [i, { y, reads }] of dispatches.entries()) {
      if (y) {
        const bytes = capacity * pad(y.columns, 4) * 4 + 512;
        const at = free.findIndex(({ size }) => size === bytes);
        y.buffer = at >= 0 ? free.splice(at, 1)[0]! : make('activations', bytes, STORAGE | COPY_SRC);
      }
      for (const read of reads) {
        if (!read || !('columns' in read) || read.rows !== null || results.includes(read)) continue;
        if (lastReader(read) === i && !free.includes(read.buffer!)) free.push(read.buffer!);
      }
    }
    const words = new Uint32Array(1 + 5 * capacity);
    const forward = make('ids', words.byteLength, STORAGE | COPY_DST);
    const ranges = make('ranges', Math.max(1, program.ranges) * capacity * 8, STORAGE | COPY_DST);
    const [noInput, noOutput] = [make('no input', 16, STORAGE), make('no output', 16, STORAGE)];
    const room = results.reduce((bytes, x) => bytes + bytesOf(x, capacity), 0);
    const staging = make('results', room, MAP_READ | COPY_DST);
    const uniforms = make('steps', 256 * Math.max(1, dispatches.length), UNIFORM | COPY_DST);
    const numbers = new Uint32Array(64 * dispatches.length);
    for (const [i, { step }] of dispatches.entries()) {
      const { features = 0, out = 0, heads = 0, eps = 0, rangeOfX = 0, rangeOfY = 0, perRow = 0 } = step;
      numbers.set([features, out, capacity, heads, 0, rangeOfX, rangeOfY, perRow], 64 * i);
      new Float32Array(numbers.buffer)[64 * i + 4] = eps;
    }
    this.#device.queue.writeBuffer(uniforms, 0, numbers);
    const steps = await Promise.all(
      dispatches.map(async ({ name, files, constants, reads, y, grid }, i) => {
        const step = { buffer: uniforms, offset: 256 * i, size: 32 };
        const inputs = Array.from({ length: 5 }, (_, at) => reads[at] ?? noInput);
        const read = inputs.map((input) => ('columns' in input ? input.buffer! : input));
        const resources = [forward, step, ranges, y?.buffer ?? noOutput, ...read];
        const entries = resources.map((resource, binding) => ({ binding, resource }));
        const bindings = this.#device.createBindGroup({ layout: this.#layout, entries });
        return { name, grid, bindings, pipeline: await this.#pipeline(files, constants) };
      }),
    );
    const times =
      this.#profile && steps.length > 0
        ? {
            queries: this.#device.createQuerySet({ type: 'timestamp', count: 2 * steps.length }),
            resolved: make('timestamps', 16 * steps.length, QUERY_RESOLVE | COPY_SRC),
            staging: make('timestamps', 16 * steps.length, MAP_READ | COPY_DST),
          }
        : null;
    return { buffers, results, capacity, words, forward, ranges, staging, times, steps };
  }

  async run(steps: readonly Step[], results: readonly Tensor[]): Promise<Float32Array[]> {
    if (this.#dead) throw this.#dead;
    const input = inputOf(steps);
    const handles = new Map<Tensor, Handle>();
    const nodes = nodesOf(steps, handles);
    const read = results.map((x) => handles.get(x) ?? (x.buffer as Handle));
    const name = nameOf(nodes, read);
    try {
      let plan = this.#plans.get(name);
      this.#plans.delete(name); // and it becomes the last
      if (plan && plan.capacity < input.tokens) {
        this.#free(plan.buffers);
        plan = undefined;
      }
      this.#dropPlans(PLANS - 1);
      plan ??= await this.#newPlan(nodes, read, input.capacity);
      this.#plans.set(name, plan);
      return await this.#run(plan, input);
    } catch (cause) {
      if (cause instanceof BertletError) throw cause;
      await Promise.resolve(); // lets the event of a lost device come first: it says more
      throw this.#dead ?? this.#error(`an error (${messageOf(cause)}). Use \`cpu\``);
    }
  }

  /** Runs a planned program: one pass, one submit, one wait. With `profile`, a pass for each dispatch. */
  async #run(plan: Plan, input: Input): Promise<Float32Array[]> {
    const { results, capacity, words, forward, ranges, staging, times, steps } = plan;
    const { tokens } = input;
    words.fill(0); // rows beyond `tokens` belong to the first sequence
    words[0] = tokens;
    for (const [i, values] of input.rows.entries()) words.set(values, 1 + i * capacity);
    this.#device.queue.writeBuffer(forward, 0, words);
    const encoder = this.#device.createCommandEncoder();
    encoder.clearBuffer(ranges);
    for (const [i, group] of (times ? steps.map((step) => [step]) : [steps]).entries()) {
      const at = { beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 };
      const pass = encoder.beginComputePass(times ? { timestampWrites: { querySet: times.queries, ...at } } : {});
      for (const { pipeline, bindings, grid } of group) {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, bindings);
        pass.dispatchWorkgroups(...grid(input));
      }
      pass.end();
    }
    let end = 0;
    for (const x of results) {
      encoder.copyBufferToBuffer(x.buffer!, 0, staging, end, bytesOf(x, tokens));
      end += bytesOf(x, tokens);
    }
    if (times) {
      encoder.resolveQuerySet(times.queries, 0, 2 * steps.length, times.resolved, 0);
      encoder.copyBufferToBuffer(times.resolved, 0, times.staging, 0, 16 * steps.length);
    }
    this.#device.queue.submit([encoder.finish()]);
    await staging.mapAsync(MAP_READ, 0, end);
    const mapped = staging.getMappedRange(0, end);
    let at = 0;
    const values = results.map((x) => {
      const stride = pad(x.columns, 4);
      const rows = new Float32Array(mapped, at, bytesOf(x, tokens) / 4);
      at += rows.byteLength;
      return rows.filter((_, i) => i % stride < x.columns);
    });
    staging.unmap();
    if (times) await this.#addTimes(times.staging, steps);
    if (this.#dead) throw this.#dead;
    return values;
  }

  /** Adds the time of each dispatch, in milliseconds, to `milliseconds`. */
  async #addTimes(staging: GPUBuffer, steps: Plan['steps']): Promise<void> {
    await staging.mapAsync(MAP_READ);
    const nanoseconds = new BigInt64Array(staging.getMappedRange());
    for (const [i, { name }] of steps.entries()) {
      const elapsed = Number(nanoseconds[2 * i + 1]! - nanoseconds[2 * i]!) / 1e6;
      this.milliseconds[name] = (this.milliseconds[name] ?? 0) + elapsed;
    }
    staging.unmap();
  }

  /** Frees all uploads and plans. The device can be used again. */
  clear(): void {
    this.#dropPlans(0);
    this.#free(this.#uploaded.splice(0));
  }

  async dispose(): Promise<void> {
    this.#dead ??= this.#error('none after dispose()', 'disposed');
    this.clear();
    this.#device.destroy();
  }
}
