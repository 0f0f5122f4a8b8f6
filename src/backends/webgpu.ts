/**
 * The GPU backend: a forward in WGSL compute shaders (kernels/*.wgsl), from the ids to the logits without a stop.
 *
 * Ops are recorded, not run. The first `read` of a program plans it: pipelines, buffers, bind groups. A forward that
 * records the same ops again, on an input of whatever length, finds its plan, and all that is left to do is to write the
 * ids, encode one pass, submit it and wait for the logits. Tensors are [rows, stride] with the columns padded to 4;
 * there is room for as many rows as the model has positions.
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
import { readAsset } from './assets.ts';
import {
  type Dispatch,
  FILES,
  type File,
  type GpuChoice,
  type Handle,
  type Linear,
  MOST_PARTS,
  type Node,
  Program,
} from './webgpuPlan.ts';

interface Plan {
  readonly result: Handle;
  readonly program: Program;
  /** common.wgsl's Forward: tokens, parts, ids. */
  readonly words: Uint32Array<ArrayBuffer>;
  readonly forward: GPUBuffer;
  readonly ranges: GPUBuffer;
  readonly staging: GPUBuffer;
  /** With `profile`: timestamps of each dispatch. */
  readonly times: { readonly queries: GPUQuerySet; readonly resolved: GPUBuffer; readonly staging: GPUBuffer } | null;
  readonly steps: (Pick<Dispatch, 'name' | 'grid'> & { pipeline: GPUComputePipeline; bindings: GPUBindGroup })[];
}

const pad = (n: number, to: number) => Math.ceil(n / to) * to;
/** Flags of WebGPU's specification, sections 5.1.2 and 7.3.1: Node has no globals for them. */
const [MAP_READ, COPY_SRC, COPY_DST, UNIFORM, STORAGE, QUERY_RESOLVE] = [1, 4, 8, 64, 128, 512];

/** Every pipeline is compiled once for a device: none depends on a length or on a size of the model. */
const compiled = new WeakMap<GPUDevice, Map<string, Promise<GPUComputePipeline>>>();

export class WebgpuBackend implements Backend<Handle, Linear> {
  readonly adapter: string;
  readonly choice: GpuChoice;
  /** With `profile`: milliseconds on the GPU of each kind of kernel so far. */
  readonly milliseconds: Record<string, number> = {};
  /** Bytes of GPU memory in use. */
  bytes = 0;
  readonly #device: GPUDevice;
  readonly #profile: boolean;
  readonly #layout: GPUBindGroupLayout;
  readonly #uploaded: GPUBuffer[] = [];
  readonly #planned: GPUBuffer[] = [];
  #nodes: Node[] = [];
  #at = 0;
  #tokens = 0;
  #ids: readonly Int32Array[] = [];
  #plan: Plan | null = null;
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
    device.lost.then(({ message }) => this.#fail(`a device that is lost (${message})`));
    device.onuncapturederror = ({ error }) => this.#fail(`an error (${error.message.trim()})`);
  }

  #error = (got: string, code: 'device' | 'disposed' = 'device') =>
    new BertletError(code, `webgpu, ${this.adapter}: expected a device that computes, got ${got}.`);
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
      throw this.#error(`no memory for ${bytes} bytes of ${what} (${(cause as Error).message}). Use \`cpu\``);
    }
  }
  #free(buffers: GPUBuffer[]): void {
    for (const buffer of buffers.splice(0)) {
      this.bytes -= buffer.size;
      buffer.destroy();
    }
  }

  /** Rows of `columns` values to rows of `stride` of them in a new buffer, and zeros for the rest. */
  #uploadRows(what: string, data: Float32Array | Uint16Array | Int8Array, columns: number, stride: number): GPUBuffer {
    const rows = data.length / columns;
    const buffer = this.#buffer(what, pad(rows, 64) * stride * data.BYTES_PER_ELEMENT + 512, STORAGE, true);
    const to = new (data.constructor as typeof Int8Array)(buffer.getMappedRange() as ArrayBuffer);
    if (columns === stride) to.set(data);
    else for (let row = 0; row < rows; row++) to.set(data.subarray(row * columns, (row + 1) * columns), row * stride);
    buffer.unmap();
    this.#device.queue.submit([]); // now, so that the copies that wait for it do not pile up
    this.#uploaded.push(buffer);
    return buffer;
  }

  upload({ data, shape }: Tensor<Float32Array>): Handle {
    const columns = shape.at(-1) ?? 1;
    const buffer = this.#uploadRows(`tensor [${shape}]`, data, columns, pad(columns, 4));
    return { columns, rows: data.length / columns, buffer };
  }

  /** The weight stays in the checkpoint's order, [out, in]; `in` is padded, `out` as well. */
  uploadLinear(weight: LinearWeight, bias: Tensor<Float32Array>): Linear {
    const [out, features] = weight.shape as [number, number];
    const format = { F32: 'fp32', F16: 'fp16', I8: 'int8' }[weight.dtype as 'F32' | 'F16' | 'I8'] as Linear['format'];
    const kept = this.#uploadRows(`weight [${weight.shape}]`, weight.data, features, pad(features, 128));
    const stride = pad(out, 4);
    if (!('scale' in weight)) {
      const constants = this.#uploadRows(`bias [${out}]`, bias.data, out, stride);
      return { weight: kept, constants, features, out, format, scheme: null };
    }
    const constants = new Float32Array(3 * stride);
    const sums = new Int32Array(constants.buffer);
    for (let n = 0; n < out; n++) {
      let sum = 0;
      for (let at = n * features; at < (n + 1) * features; at++) sum += weight.data[at]!;
      sums[n] = sum;
    }
    constants.set(weight.scale, stride);
    constants.set(bias.data, 2 * stride);
    const buffer = this.#uploadRows(`constants [${out}]`, constants, constants.length, constants.length);
    return { weight: kept, constants: buffer, features, out, format, scheme: weight.scheme };
  }

  /** Records an op, or finds that the plan has it at this place already. */
  #record(op: Node['op'], reads: Node['reads'], columns: number, option = 0, linear: Linear | null = null): Handle {
    if (this.#at === 0 && op !== 'embedding') [this.#tokens, this.#ids] = [reads[0]!.rows!, []];
    const old = this.#nodes[this.#at];
    const same = old?.op === op && old.option === option && old.linear === linear;
    if (!same || !old.reads.every((read, i) => read === reads[i])) {
      this.#nodes.length = this.#at;
      this.#nodes.push({ op, reads, linear, option, y: { columns, rows: null, buffer: null } });
    }
    return this.#nodes[this.#at++]!.y;
  }

  embedding(ids: Int32Array, typeIds: Int32Array, { word, type, position }: Tables<Handle>): Handle {
    if (ids.length !== typeIds.length) throw inputError('embedding', `typeIds of ${ids.length}`, typeIds.length);
    this.#at = 0;
    this.#tokens = ids.length;
    this.#ids = [ids, typeIds];
    return this.#record('embedding', [word, type, position], word.columns);
  }

  layerNorm(x: Handle, residual: Handle | null, { gamma, beta }: Norm<Handle>, eps: number): Handle {
    if (x.columns > 1024) throw inputError('webgpu: layerNorm', 'at most 1024 columns', x.columns, 'Use `cpu`.');
    return this.#record('layerNorm', [x, residual, gamma, beta], x.columns, eps);
  }

  linear(x: Handle, linear: Linear, activation?: 'gelu'): Handle {
    if (x.columns !== linear.features) throw inputError('linear', `${linear.features} input features`, x.columns);
    return this.#record('linear', [x], linear.out, Number(activation === 'gelu'), linear);
  }

  attention(qkv: Handle, heads: number): Handle {
    const headDim = qkv.columns / 3 / heads;
    if (headDim % 1 !== 0) throw inputError('attention', `3 x hidden columns for ${heads} heads`, qkv.columns);
    if (headDim % 4 !== 0 || headDim > 64) {
      throw inputError('webgpu: attention', 'headDim a multiple of 4, at most 64', headDim, 'Use `cpu`.');
    }
    return this.#record('attention', [qkv], qkv.columns / 3, heads);
  }

  /** Compiles a kernel, once for each set of constants. */
  #pipeline(files: readonly File[], constants: Record<string, number>): Promise<GPUComputePipeline> {
    const key = JSON.stringify([files, constants]);
    const compile = async () => {
      const sources = await Promise.all(['common' as const, ...files].map((file) => readAsset(FILES[file])));
      const code = sources.map((bytes) => new TextDecoder().decode(bytes)).join('\n');
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

  /** Gives the program all that it needs on the GPU, for as many rows as there may be. */
  async #prepare(result: Handle): Promise<Plan> {
    this.#plan = null;
    this.#free(this.#planned);
    const make = (what: string, bytes: number, usage: number) => {
      const buffer = this.#buffer(what, bytes, usage);
      this.#planned.push(buffer);
      return buffer;
    };
    const nodes = this.#nodes;
    const capacity = pad(nodes[0]!.op === 'embedding' ? nodes[0]!.reads[2]!.rows! : this.#tokens, 64);
    const program = new Program(nodes, this.choice);
    const { dispatches } = program;

    // A tensor's buffer is another's again after its last reader.
    const free: GPUBuffer[] = [];
    const lastReader = (tensor: Handle) => dispatches.findLastIndex(({ reads }) => reads.includes(tensor));
    for (const [i, { y, reads }] of dispatches.entries()) {
      if (y) {
        const bytes = capacity * pad(y.columns, 4) * 4 * (program.inParts(y) ? MOST_PARTS : 1) + 512;
        const at = free.findIndex(({ size }) => size === bytes);
        y.buffer = at >= 0 ? free.splice(at, 1)[0]! : make('activations', bytes, STORAGE | COPY_SRC);
      }
      for (const read of reads) {
        if (read && 'columns' in read && read.rows === null && lastReader(read) === i) free.push(read.buffer!);
      }
    }
    const words = new Uint32Array(2 + 2 * capacity);
    const forward = make('ids', words.byteLength, STORAGE | COPY_DST);
    const ranges = make('ranges', Math.max(1, program.ranges) * capacity * 8, STORAGE | COPY_DST);
    const [noInput, noOutput] = [make('no input', 16, STORAGE), make('no output', 16, STORAGE)];
    const staging = make('logits', capacity * pad(result.columns, 4) * 4, MAP_READ | COPY_DST);
    const uniforms = make('steps', 256 * dispatches.length, UNIFORM | COPY_DST);
    const numbers = new Uint32Array(64 * dispatches.length);
    for (const [i, { step }] of dispatches.entries()) {
      const { features = 0, out = 0, heads = 0, eps = 0, rangeOfX = 0, rangeOfY = 0 } = step;
      numbers.set([features, out, capacity, heads, 0, rangeOfX, rangeOfY], 64 * i);
      new Float32Array(numbers.buffer)[64 * i + 4] = eps;
    }
    this.#device.queue.writeBuffer(uniforms, 0, numbers);
    const steps = await Promise.all(
      dispatches.map(async ({ name, files, constants, reads, y, grid }, i) => {
        const step = { buffer: uniforms, offset: 256 * i, size: 32 };
        const inputs = Array.from({ length: 5 }, (_, at) => reads[at] ?? noInput);
        const buffers = inputs.map((input) => ('columns' in input ? input.buffer! : input));
        const resources = [forward, step, ranges, y?.buffer ?? noOutput, ...buffers];
        const entries = resources.map((resource, binding) => ({ binding, resource }));
        const bindings = this.#device.createBindGroup({ layout: this.#layout, entries });
        return { name, grid, bindings, pipeline: await this.#pipeline(files, constants) };
      }),
    );
    const times = this.#profile
      ? {
          queries: this.#device.createQuerySet({ type: 'timestamp', count: 2 * steps.length }),
          resolved: make('timestamps', 16 * steps.length, QUERY_RESOLVE | COPY_SRC),
          staging: make('timestamps', 16 * steps.length, MAP_READ | COPY_DST),
        }
      : null;
    return { result, program, words, forward, ranges, staging, times, steps };
  }

  async read(x: Handle): Promise<Float32Array> {
    const [tokens, ids, ops] = [this.#tokens, this.#ids, this.#at];
    this.#at = 0;
    if (this.#dead) throw this.#dead;
    try {
      if (this.#plan?.result !== x || this.#nodes.length !== ops) {
        this.#nodes.length = ops;
        this.#plan = await this.#prepare(x);
      }
      return await this.#run(this.#plan, tokens, ids);
    } catch (cause) {
      if (cause instanceof BertletError) throw cause;
      await Promise.resolve(); // news of a lost device comes first
      throw this.#dead ?? this.#error(`an error (${(cause as Error).message.trim()}). Use \`cpu\``);
    }
  }

  /** One forward: one pass, one submit, one wait. */
  async #run(plan: Plan, tokens: number, ids: readonly Int32Array[]): Promise<Float32Array> {
    const { result, program, words, forward, ranges, staging, times, steps } = plan;
    const parts = program.parts(tokens);
    words.set([tokens, parts]);
    for (const [i, values] of ids.entries()) words.set(values, 2 + i * ((words.length - 2) / 2));
    this.#device.queue.writeBuffer(forward, 0, words);
    const encoder = this.#device.createCommandEncoder();
    encoder.clearBuffer(ranges);
    for (const [i, group] of (times ? steps.map((step) => [step]) : [steps]).entries()) {
      const at = { beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 };
      const pass = encoder.beginComputePass(times ? { timestampWrites: { querySet: times.queries, ...at } } : {});
      for (const { pipeline, bindings, grid } of group) {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, bindings);
        pass.dispatchWorkgroups(...grid(tokens, parts));
      }
      pass.end();
    }
    const stride = pad(result.columns, 4);
    encoder.copyBufferToBuffer(result.buffer!, 0, staging, 0, tokens * stride * 4);
    if (times) {
      encoder.resolveQuerySet(times.queries, 0, 2 * steps.length, times.resolved, 0);
      encoder.copyBufferToBuffer(times.resolved, 0, times.staging, 0, 16 * steps.length);
    }
    this.#device.queue.submit([encoder.finish()]);
    await staging.mapAsync(MAP_READ, 0, tokens * stride * 4);
    const rows = new Float32Array(staging.getMappedRange(0, tokens * stride * 4));
    const y = rows.filter((_, i) => i % stride < result.columns);
    staging.unmap();
    if (times) await this.#addTimes(times.staging, steps);
    if (this.#dead) throw this.#dead;
    return y;
  }

  async #addTimes(staging: GPUBuffer, steps: Plan['steps']): Promise<void> {
    await staging.mapAsync(MAP_READ);
    const nanoseconds = new BigInt64Array(staging.getMappedRange());
    for (const [i, { name }] of steps.entries()) {
      const elapsed = Number(nanoseconds[2 * i + 1]! - nanoseconds[2 * i]!) / 1e6;
      this.milliseconds[name] = (this.milliseconds[name] ?? 0) + elapsed;
    }
    staging.unmap();
  }

  /** Frees what was uploaded and planned; the device can be used again. */
  clear(): void {
    this.#nodes = [];
    this.#plan = null;
    this.#free(this.#uploaded);
    this.#free(this.#planned);
  }

  async dispose(): Promise<void> {
    this.#dead ??= this.#error('none after dispose()', 'disposed');
    this.clear();
    this.#device.destroy();
  }
}
