/// <reference lib="esnext.disposable" preserve="true" />
/**
 * The tensor runtime: tensors, the four ops of a BERT, and what a device must be able to do.
 *
 * An op computes nothing yet. It checks its shapes, here and nowhere else, and returns a tensor that knows the step that
 * makes it. `read` collects the steps that its tensors need, hands them to the device as one program, and returns the
 * numbers. So a device sees a whole program before it runs it: it can lay out its memory once, run on all threads without
 * a message for each op, or send one command buffer.
 *
 * A tensor is a value: it stays good until its runtime is disposed of, however often it is read. What an op makes is
 * computed by each `read` that needs it and not kept; upload what was read to go on from there.
 */
import { BertletError, inputError } from './errors.ts';

/** Bytes per element of the safetensors dtypes that bertlet reads and writes. */
export const DTYPE_BYTES = { F32: 4, F16: 2, BF16: 2, I8: 1, U8: 1, I32: 4, I64: 8 } as const;
export type DType = keyof typeof DTYPE_BYTES;

/** F16 and BF16 are kept as the 16 bits of each element; `toFloat32` widens them. */
export type TensorData = Float32Array | Uint16Array | Int8Array | Uint8Array | Int32Array | BigInt64Array;

/** A tensor in the memory of the program: row-major, the last dimension contiguous. `data` may be a view of a file. */
export interface HostTensor<Data extends TensorData = TensorData> {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: Data;
}

export type Scheme = 'torch' | 'accurate';

/** A linear's weight as int8. Zero point 0 (symmetric), so `weight ≈ data * scale[row]`. */
export interface QuantizedTensor {
  readonly dtype: 'I8';
  /** [out, in] */
  readonly shape: readonly number[];
  readonly data: Int8Array;
  /** [out]: one scale for each output feature; equal within a matrix in the `torch` scheme. */
  readonly scale: Float32Array;
  /** Says also how the activations are quantized: `torch` per tensor, `accurate` per token (quantize.ts). */
  readonly scheme: Scheme;
}

/** A linear's weight [out, in]: float32, float16 (`webgpu` only), or int8. */
export type LinearWeight = HostTensor<Float32Array | Uint16Array> | QuantizedTensor;

/** A matrix [rows, columns] of float32 on a device: uploaded, or what an op makes. */
export class Tensor {
  readonly shape: readonly [rows: number, columns: number];
  readonly runtime: Runtime;
  /** The device's own, for what was uploaded; null for what an op makes. */
  readonly buffer: unknown;
  /** The step that makes it; null for what was uploaded. */
  readonly step: Step | null;
  /** Tensors are numbered as they are made: in that order a program computes them. */
  readonly order: number;
  /** For `Runtime`: tensors are made by `tensor` and by the ops. */
  constructor(runtime: Runtime, order: number, shape: readonly [number, number], buffer: unknown, step: Op | null) {
    this.runtime = runtime;
    this.order = order;
    this.shape = shape;
    this.buffer = buffer;
    this.step = step && { ...step, y: this };
  }
}

/** A linear layer [out, in] on a device: `x weight^T + bias`. */
export interface Linear {
  readonly name: string;
  readonly runtime: Runtime;
  readonly out: number;
  readonly features: number;
  /** The device's own. */
  readonly buffer: unknown;
}

/** The three embeddings [vocab | positions | types, hidden] that a token's input is the sum of. */
export type Tables = { readonly word: Tensor; readonly position: Tensor; readonly type: Tensor };

/** Learned scale and shift of a LayerNorm, both [hidden]. */
export type Norm = { readonly gamma: Tensor; readonly beta: Tensor };

/** An op with its arguments. `reads`: the tensors that it needs. */
type Op = { readonly reads: readonly Tensor[] } & (
  | { readonly op: 'embedding'; readonly ids: Int32Array; readonly typeIds: Int32Array } // reads word, position, type
  | { readonly op: 'layerNorm'; readonly eps: number } // reads x, gamma, beta, and the residual where there is one
  | { readonly op: 'linear'; readonly linear: Linear; readonly gelu: boolean } // reads x
  | { readonly op: 'attention'; readonly heads: number } // reads query | key | value
);
/** An op and the tensor that it makes. */
export type Step = Op & { readonly y: Tensor };

/** What a device must be able to do. It may trust that shapes fit: the runtime has checked them. */
export interface Device {
  /** Copies a matrix to the device, to stay until `dispose`; what it returns becomes the tensor's `buffer`. */
  upload(rows: number, columns: number, data: Float32Array): unknown;
  /** Keeps a linear layer in whatever order its product reads; bias [out]. `name` is for labels and errors. */
  uploadLinear(weight: LinearWeight, bias: Float32Array, name: string): unknown;
  /** Runs a program, whose steps come after those that they read, and copies tensors of it, or uploads, back. */
  run(steps: readonly Step[], results: readonly Tensor[]): Promise<Float32Array[]>;
  /** Frees everything; may be called twice. */
  dispose(): Promise<void>;
}

/** What a started device says of itself. */
export interface DeviceInfo {
  /** cpu: threads at work, the caller's included. */
  threads?: number;
  /** webgpu: vendor and name, "(software)" where it computes on the CPU. */
  adapter?: string;
  /** Which kernels are in use. */
  kernels?: string;
  /** webgpu: bytes of GPU memory in use, whatever the length of the input. */
  gpuBytes?: number;
  /** Milliseconds spent so far in each kind of kernel: on `cpu`, and on `webgpu` with `profile`. Grows with each run. */
  milliseconds?: Readonly<Partial<Record<string, number>>>;
  /** Why this device, where `auto` chose it, and why these kernels, where others failed their test. */
  reason?: string;
}

/** Records ops and has a device run them. Made by `openRuntime` (tensor.ts), or over a device of one's own. */
export class Runtime {
  readonly device: Device;
  readonly #about: () => DeviceInfo;
  #made = 0;
  #last: Promise<unknown> = Promise.resolve();
  #disposed = false;

  /** @param about what `info` says */
  constructor(device: Device, about: () => DeviceInfo = () => ({})) {
    this.device = device;
    this.#about = about;
  }

  /** Threads, adapter, kernels and bytes in use, as of now. */
  get info(): DeviceInfo {
    return this.#about();
  }

  /**
   * Uploads a vector [columns] or a matrix [rows, columns]; it stays on the device until `dispose`.
   * @throws BertletError `input` where the shape is not that of the data; `device` where there is no room for it.
   */
  tensor({ shape, data }: Pick<HostTensor<Float32Array>, 'shape' | 'data'>): Tensor {
    this.#checkAlive();
    const columns = shape.at(-1) ?? 0;
    const rows = shape.length === 1 ? 1 : shape[0]!;
    if (shape.length < 1 || shape.length > 2) throw inputError('tensor', 'a shape of 1 or 2 sizes', `[${shape}]`);
    if (!(rows >= 1 && columns >= 1 && rows * columns === data.length)) {
      throw inputError(`tensor [${shape}]`, 'as many elements as its shape has, at least 1', data.length);
    }
    return new Tensor(this, this.#made++, [rows, columns], this.device.upload(rows, columns, data), null);
  }

  /**
   * Uploads the layer `x weight^T + bias`.
   * @param weight [out, in]: float32, float16 (`webgpu` only), or int8 of `quantizeWeight`
   * @param bias [out]
   * @param name for errors, and for who looks on
   * @throws BertletError `input` where the sizes differ; `device` where there is no room for it.
   */
  linearLayer(weight: LinearWeight, bias: Pick<HostTensor<Float32Array>, 'data'>, name = 'linear'): Linear {
    this.#checkAlive();
    const [out = 0, features = 0] = weight.shape;
    if (weight.shape.length !== 2 || out * features !== weight.data.length || out * features === 0) {
      throw inputError(name, 'a weight [out, in] with as many elements', `[${weight.shape}] of ${weight.data.length}`);
    }
    same(name, 'bias', out, bias.data.length);
    if ('scale' in weight) same(name, 'scale', out, weight.scale.length);
    return { name, runtime: this, out, features, buffer: this.device.uploadLinear(weight, bias.data, name) };
  }

  /** `word[ids] + type[typeIds] + position[0..tokens)`: [tokens] -> [tokens, hidden] */
  embedding(ids: Int32Array, typeIds: Int32Array, { word, position, type }: Tables): Tensor {
    const hidden = word.shape[1];
    same('embedding', 'typeIds', ids.length, typeIds.length);
    same('embedding', 'columns of position', hidden, position.shape[1]);
    same('embedding', 'columns of type', hidden, type.shape[1]);
    if (ids.length < 1 || ids.length > position.shape[0]) {
      throw inputError('embedding', `1 to ${position.shape[0]} tokens, the positions`, ids.length);
    }
    checkIds('embedding: ids', ids, word.shape[0]);
    checkIds('embedding: typeIds', typeIds, type.shape[0]);
    return this.#record(ids.length, hidden, { op: 'embedding', ids, typeIds, reads: [word, position, type] });
  }

  /** `(v - mean) / sqrt(variance + eps) * gamma + beta` of each row v of `x + residual`: [tokens, hidden] -> same */
  layerNorm(x: Tensor, residual: Tensor | null, { gamma, beta }: Norm, eps: number): Tensor {
    const [tokens, hidden] = x.shape;
    same('layerNorm', 'gamma', hidden, gamma.shape[0] * gamma.shape[1]);
    same('layerNorm', 'beta', hidden, beta.shape[0] * beta.shape[1]);
    if (residual) same('layerNorm', `residual [${tokens},${hidden}]`, `[${x.shape}]`, `[${residual.shape}]`);
    if (!(eps >= 0 && eps < Infinity)) throw inputError('layerNorm: eps', 'a number that is not negative', eps);
    const reads = residual ? [x, gamma, beta, residual] : [x, gamma, beta];
    return this.#record(tokens, hidden, { op: 'layerNorm', eps, reads });
  }

  /** [tokens, in] -> [tokens, out], in integers where the weight is int8; GELU applied if asked for */
  linear(x: Tensor, linear: Linear, activation?: 'gelu'): Tensor {
    this.#checkOwner('linear: layer', linear.runtime);
    const { name, out, features } = linear;
    same(`${name} [${x.shape}] x [${out},${features}]`, 'input features', features, x.shape[1]);
    return this.#record(x.shape[0], out, { op: 'linear', linear, gelu: activation === 'gelu', reads: [x] });
  }

  /** `softmax(q k^T / sqrt(headDim)) v` for each head: query | key | value [tokens, 3 hidden] -> [tokens, hidden] */
  attention(qkv: Tensor, heads: number): Tensor {
    const [tokens, columns] = qkv.shape;
    if (!(Number.isSafeInteger(heads) && heads >= 1) || columns % (3 * heads) !== 0) {
      throw inputError('attention', `3 x hidden columns for ${heads} heads`, columns);
    }
    return this.#record(tokens, columns / 3, { op: 'attention', heads, reads: [qkv] });
  }

  /** Computes a tensor and copies it back: [rows, columns], row-major. */
  read(x: Tensor): Promise<Float32Array>;
  /** Computes several tensors in one program. */
  read(x: Tensor, ...more: Tensor[]): Promise<Float32Array[]>;
  async read(...results: Tensor[]): Promise<Float32Array | Float32Array[]> {
    this.#checkAlive();
    for (const x of results) this.#checkOwner('read', x.runtime);
    const steps = stepsOf(results);
    const run = () => this.device.run(steps, results);
    const done = this.#last.then(run, run); // one at a time: a device has one set of activations
    this.#last = done;
    const values = await done;
    return values.length === 1 ? values[0]! : values;
  }

  /** Waits for the reads under way, then frees everything on the device. Idempotent. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    await this.#last.catch(() => {});
    await this.device.dispose();
  }
  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #record(rows: number, columns: number, op: Op): Tensor {
    this.#checkAlive();
    for (const x of op.reads) this.#checkOwner(op.op, x.runtime);
    return new Tensor(this, this.#made++, [rows, columns], null, op);
  }
  #checkAlive(): void {
    if (this.#disposed) throw new BertletError('disposed', 'runtime: expected one in use, got one after dispose().');
  }
  #checkOwner(what: string, owner: Runtime): void {
    if (owner === this) return;
    throw inputError(what, 'what this runtime made', 'what another made', 'Read it there, and upload it here.');
  }
}

/** The steps that tensors need, each after those that it reads. */
function stepsOf(results: readonly Tensor[]): Step[] {
  const needed = new Set<Step>();
  const open = [...results];
  for (let x = open.pop(); x; x = open.pop()) {
    if (!x.step || needed.has(x.step)) continue;
    needed.add(x.step);
    open.push(...x.step.reads);
  }
  return [...needed].sort((a, b) => a.y.order - b.y.order);
}

function same(op: string, what: string, expected: number | string, got: number | string): void {
  if (expected !== got) throw inputError(op, `${what} of ${expected}`, got);
}

function checkIds(what: string, ids: Int32Array, limit: number): void {
  for (let i = 0; i < ids.length; i++) {
    if (!(ids[i]! >= 0 && ids[i]! < limit))
      throw inputError(`${what}[${i}]`, `an integer from 0 to ${limit - 1}`, ids[i]);
  }
}
