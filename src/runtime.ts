/// <reference lib="esnext.disposable" preserve="true" />
/**
 * The tensor runtime: tensors, the four ops of a BERT, and the interface of a device.
 *
 * An op computes nothing at once. The op checks its shapes (no other code does) and returns a tensor that holds a step:
 * the op and the tensors that the op reads. `read` collects the steps that its tensors need, passes the steps to the
 * device as one program, and returns the numbers:
 *
 *   ops -> steps -> program -> device.run -> numbers
 *
 * So a device sees the whole program before it runs: the device can place all tensors in memory once, run on all
 * threads without a message for each op, or submit one command buffer.
 *
 * A tensor is a value. It stays valid until its runtime is disposed of, and may be read any number of times. The result
 * of an op is computed again by each `read` that needs it. To continue from a result, read it and upload it as a new
 * tensor.
 */
import { fault, inputError } from './errors.ts';
import { abortSignal, check, oneOf, optionsOf, preview, type Table, unlessAborted } from './options.ts';

/** The safetensors dtypes that bertlet reads and writes, and the bytes of an element. */
export const DTYPE_BYTES = { F32: 4, F16: 2, BF16: 2, I8: 1, U8: 1, I32: 4, I64: 8 } as const;
export type DType = keyof typeof DTYPE_BYTES;

/** Elements of a tensor. F16 and BF16 elements are stored as their 16 bits; `toFloat32` widens them. */
export type TensorData = Float32Array | Uint16Array | Int8Array | Uint8Array | Int32Array | BigInt64Array;

/** A tensor in the memory of JavaScript: row-major, the last dimension contiguous. `data` may be a view of a file. */
export interface HostTensor<Data extends TensorData = TensorData> {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: Data;
}

/** How an int8 linear is quantized: as PyTorch does, or with finer scales (quantize.ts). */
export type Scheme = 'torch' | 'accurate';

/** A linear's weight in int8. The zero point is 0 (symmetric), so `weight ≈ data * scale[row]`. */
export interface QuantizedTensor {
  readonly dtype: 'I8';
  /** [out, in] */
  readonly shape: readonly number[];
  readonly data: Int8Array;
  /** [out]: one scale for each output feature. In the `torch` scheme all scales of a matrix are equal. */
  readonly scale: Float32Array;
  /** How weights and activations are quantized. Activations: `torch` per tensor, `accurate` per token (quantize.ts). */
  readonly scheme: Scheme;
}

/** A linear's weight [out, in]: float32, float16 (`webgpu` only), or int8. */
export type LinearWeight = HostTensor<Float32Array | Uint16Array> | QuantizedTensor;

/** The rows of one sequence of a batch. */
export type Rows = { readonly first: number; readonly tokens: number };

/** A matrix [rows, columns] of float32 on a device: an upload, or the result of an op. */
export class Tensor {
  readonly shape: readonly [rows: number, columns: number];
  readonly runtime: Runtime;
  /**
   * Rows of each sequence, which add up to all rows. A batch has the rows of its sequences one after another, without
   * padding. What is no batch is one sequence.
   */
  readonly lengths: readonly number[];
  /** What the device's `upload` returned; null for the result of an op. */
  readonly buffer: unknown;
  /** The step that makes the tensor; null for an upload. */
  readonly step: Step | null;
  /** Serial number of the tensor in its runtime. A program computes its tensors in this order. */
  readonly order: number;
  /** Only for `Runtime`. Callers get tensors from `Runtime.tensor` and from the ops. */
  constructor(
    runtime: Runtime,
    order: number,
    [lengths, columns]: readonly [lengths: readonly number[], columns: number],
    buffer: unknown,
    step: Op | null,
  ) {
    this.runtime = runtime;
    this.order = order;
    this.lengths = lengths;
    this.shape = [sum(lengths), columns];
    this.buffer = buffer;
    this.step = step && { ...step, y: this };
  }
  /** Where each sequence begins, and how many rows it has. */
  get sequences(): Rows[] {
    let end = 0;
    return this.lengths.map((tokens) => {
      end += tokens;
      return { first: end - tokens, tokens };
    });
  }
}

/** A linear layer [out, in] on a device: `x weight^T + bias`. */
export interface Linear {
  readonly name: string;
  readonly runtime: Runtime;
  readonly out: number;
  readonly features: number;
  /** What the device's `uploadLinear` returned. */
  readonly buffer: unknown;
}

/** The embedding tables: word [vocab, hidden], position [positions, hidden], type [types, hidden]. */
export type Tables = { readonly word: Tensor; readonly position: Tensor; readonly type: Tensor };

/** The learned scale (gamma) and shift (beta) of a layerNorm, both [hidden]. */
export type Norm = { readonly gamma: Tensor; readonly beta: Tensor };

/** An op with its arguments. `reads`: the tensors that the op reads. */
type Op = { readonly reads: readonly Tensor[] } & (
  | { readonly op: 'embedding'; readonly ids: Int32Array; readonly typeIds: Int32Array } // reads word, position, type
  | { readonly op: 'layerNorm'; readonly eps: number } // reads x, gamma, beta, and the residual if there is one
  | { readonly op: 'linear'; readonly linear: Linear; readonly gelu: boolean } // reads x
  | { readonly op: 'attention'; readonly heads: number } // reads query | key | value
);
/**
 * A step of a program: an op and the tensor `y` that the op makes. Sequences of a batch (`y.lengths`) do not see each other:
 * positions begin anew with each, attention stays within it, and so does the range that an int8 linear quantizes.
 */
export type Step = Op & { readonly y: Tensor };

/** A device. It need not check shapes: the runtime has done so. */
export interface Device {
  /** Whether `upload` takes float16, too. */
  readonly float16?: boolean;
  /**
   * Copies a matrix to the device, where it stays until `dispose`. The return value becomes the tensor's `buffer`.
   * @param data float32, or the bits of float16
   */
  upload(rows: number, columns: number, data: Float32Array | Uint16Array): unknown;
  /**
   * `quantizeWeight`'s bits, where the device computes them faster: of a matrix [out, in], float32 or the bits of float16.
   * The scale of rows with a value that is NaN or infinite is NaN.
   */
  quantizeWeight?(weight: HostTensor<Float32Array | Uint16Array>, scheme: Scheme): QuantizedTensor;
  /**
   * Copies a linear layer to the device, packed as the device's kernels read it; bias [out]. `name`: for labels,
   * errors.
   */
  uploadLinear(weight: LinearWeight, bias: Float32Array, name: string): unknown;
  /**
   * Runs a program: each step comes after the steps that it reads. Returns the numbers of `results`. If `signal` aborts
   * meanwhile, the device may stop early and then throws the signal's reason.
   */
  run(steps: readonly Step[], results: readonly Tensor[], signal?: AbortSignal): Promise<Float32Array[]>;
  /** Frees everything. Idempotent. */
  dispose(): Promise<void>;
}

/** Facts about a started device. */
export interface DeviceInfo {
  /** cpu: number of threads that compute. */
  threads?: number;
  /** webgpu: vendor and name of the adapter, with "(software)" if the adapter computes on the CPU. */
  adapter?: string;
  /** The kernels in use. */
  kernels?: string;
  /** webgpu: bytes of GPU memory in use. They grow with the largest batch, and not with the length of an input. */
  gpuBytes?: number;
  /** cpu, and webgpu with `profile`: milliseconds so far in each kind of kernel. Grows with each run. */
  milliseconds?: Readonly<Partial<Record<string, number>>>;
  /** Why `auto` chose this device, and which kernels failed their self-test. */
  reason?: string;
}

/** Options of `Runtime.read`. */
export interface ReadOptions {
  /** Ends the read early. */
  signal?: AbortSignal | undefined;
}
const READ_OPTIONS = { signal: abortSignal } satisfies Table<ReadOptions>;
const ACTIVATION = oneOf([undefined, 'gelu']);

/** Records ops and lets a device run them. Made by `openRuntime` (tensor.ts), or with a device of your own. */
export class Runtime {
  readonly device: Device;
  readonly #about: () => DeviceInfo;
  #made = 0;
  /** Settles after the last read that was asked for; never rejects. */
  #last: Promise<unknown> = Promise.resolve();
  #disposed = false;

  /** @param about returns the value of `info` */
  constructor(device: Device, about: () => DeviceInfo = () => ({})) {
    this.device = device;
    this.#about = about;
  }

  /** Facts about the device, as of now. */
  get info(): DeviceInfo {
    return this.#about();
  }

  /**
   * Uploads a vector [columns] or a matrix [rows, columns]. It stays on the device until `dispose`.
   * @param given float32; on `cpu` also float16, which ops widen
   * @param lengths rows of each sequence, if the matrix is a batch of several
   * @throws BertletError `input` if shape and data do not match; `device` if the device has no room
   */
  tensor(
    given: Pick<HostTensor<Float32Array>, 'shape' | 'data'> | HostTensor<Uint16Array>,
    lengths?: readonly number[],
  ): Tensor {
    this.#checkAlive();
    const { shape, data } = given;
    const kind = data?.[Symbol.toStringTag]; // not instanceof: another realm has other classes
    const float16 = kind === 'Uint16Array' && 'dtype' in given && given.dtype === 'F16';
    if (kind !== 'Float32Array' && !(float16 && this.device.float16)) {
      throw inputError('tensor', 'a Float32Array', kind ?? preview(data), 'Widen it with `toFloat32`.');
    }
    const columns = shape.at(-1) ?? 0;
    const rows = shape.length === 1 ? 1 : shape[0]!;
    if (shape.length < 1 || shape.length > 2) throw inputError('tensor', 'a shape of 1 or 2 sizes', `[${shape}]`);
    if (!(rows >= 1 && columns >= 1 && rows * columns === data.length)) {
      throw inputError(`tensor [${shape}]`, 'as many elements as its shape has, at least 1', data.length);
    }
    const sequences = lengths?.slice() ?? [rows];
    if (sum(sequences) !== rows || !sequences.every((length) => Number.isSafeInteger(length) && length >= 1)) {
      throw inputError(`tensor [${shape}]: lengths`, `lengths of at least 1, ${rows} together`, `[${sequences}]`);
    }
    return new Tensor(this, this.#made++, [sequences, columns], this.device.upload(rows, columns, data), null);
  }

  /**
   * Uploads the layer `x weight^T + bias`.
   * @param weight [out, in]: float32, float16 (`webgpu` only), or int8 of `quantizeWeight`
   * @param bias [out]
   * @param name for errors, and for labels in debuggers
   * @throws BertletError `input` if sizes do not match; `device` if the device has no room
   */
  linearLayer(weight: LinearWeight, bias: Pick<HostTensor<Float32Array>, 'data'>, name = 'linear'): Linear {
    this.#checkAlive();
    const [out = 0, features = 0] = weight.shape;
    if (weight.shape.length !== 2 || out * features !== weight.data.length || out * features === 0) {
      throw inputError(name, 'a weight [out, in] with as many elements', `[${weight.shape}] of ${weight.data.length}`);
    }
    checkDtype(name, weight);
    if (bias.data[Symbol.toStringTag] !== 'Float32Array') {
      throw inputError(`${name}: bias`, 'a Float32Array', bias.data[Symbol.toStringTag], 'Widen it with `toFloat32`.');
    }
    same(name, 'bias', out, bias.data.length);
    if ('scale' in weight) same(name, 'scale', out, weight.scale.length);
    return { name, runtime: this, out, features, buffer: this.device.uploadLinear(weight, bias.data, name) };
  }

  /**
   * `word[ids] + type[typeIds] + position[0..tokens)`: [tokens] -> [tokens, hidden]
   * @param ids the ids of one sequence, or of each sequence of a batch
   * @param typeIds as many
   */
  embedding(ids: Int32Array | readonly Int32Array[], typeIds: typeof ids, { word, position, type }: Tables): Tensor {
    const hidden = word.shape[1];
    const [allIds, allTypes] = [joined(ids), joined(typeIds)]; // copies: what was checked is what `read` computes with
    same('embedding', 'typeIds', String(allIds.lengths), String(allTypes.lengths));
    same('embedding', 'columns of position', hidden, position.shape[1]);
    same('embedding', 'columns of type', hidden, type.shape[1]);
    for (const tokens of allIds.lengths) {
      if (tokens >= 1 && tokens <= position.shape[0]) continue;
      throw inputError('embedding', `1 to ${position.shape[0]} tokens, the positions`, tokens);
    }
    if (allIds.lengths.length === 0) throw inputError('embedding', 'at least one sequence', 'none');
    checkIds('embedding: ids', allIds.values, word.shape[0]);
    checkIds('embedding: typeIds', allTypes.values, type.shape[0]);
    const reads = [word, position, type];
    const op: Op = { op: 'embedding', ids: allIds.values, typeIds: allTypes.values, reads };
    return this.#record(allIds.lengths, hidden, op);
  }

  /** `(v - mean) / sqrt(variance + eps) * gamma + beta` of each row v of `x + residual`: [tokens, hidden] -> same */
  layerNorm(x: Tensor, residual: Tensor | null, { gamma, beta }: Norm, eps: number): Tensor {
    const [tokens, hidden] = x.shape;
    same('layerNorm', 'gamma', hidden, lengthOf(gamma));
    same('layerNorm', 'beta', hidden, lengthOf(beta));
    if (residual) {
      same('layerNorm', `residual [${tokens},${hidden}]`, `[${x.shape}]`, `[${residual.shape}]`);
      same('layerNorm', 'residual of sequences', `[${x.lengths}]`, `[${residual.lengths}]`);
    }
    if (!(eps >= 0 && eps < Infinity)) throw inputError('layerNorm: eps', 'a number that is not negative', eps);
    const reads = residual ? [x, gamma, beta, residual] : [x, gamma, beta];
    return this.#record(x.lengths, hidden, { op: 'layerNorm', eps, reads });
  }

  /**
   * `x weight^T + bias`, then GELU if asked for: [tokens, in] -> [tokens, out]. An int8 weight multiplies in integers.
   */
  linear(x: Tensor, linear: Linear, activation?: 'gelu'): Tensor {
    check('linear: activation', activation, ACTIVATION);
    this.#checkOwner('linear', linear);
    const { name, out, features } = linear;
    same(`${name} [${x.shape}] x [${out},${features}]`, 'input features', features, x.shape[1]);
    return this.#record(x.lengths, out, { op: 'linear', linear, gelu: activation === 'gelu', reads: [x] });
  }

  /** `softmax(q k^T / sqrt(headDim)) v` for each head: query | key | value [tokens, 3 hidden] -> [tokens, hidden] */
  attention(qkv: Tensor, heads: number): Tensor {
    const columns = qkv.shape[1];
    if (!(Number.isSafeInteger(heads) && heads >= 1) || columns % (3 * heads) !== 0) {
      throw inputError('attention', `3 x hidden columns for ${heads} heads`, columns);
    }
    return this.#record(qkv.lengths, columns / 3, { op: 'attention', heads, reads: [qkv] });
  }

  /**
   * Computes a tensor and returns its numbers: [rows, columns], row-major. Reads run one after another, in the order of
   * the calls.
   * @throws the reason of `signal` if it aborts before the result is there; the runtime stays usable
   */
  read(x: Tensor, options?: ReadOptions): Promise<Float32Array>;
  /** Computes several tensors in one program. */
  read(...tensors: Tensor[]): Promise<Float32Array[]>;
  async read(
    x: Tensor,
    second: ReadOptions | Tensor = {},
    ...others: Tensor[]
  ): Promise<Float32Array | Float32Array[]> {
    if (second instanceof Tensor) return this.readAll([x, second, ...others]);
    const [values] = await this.readAll([x, ...others], second);
    return values!;
  }

  /** Computes several tensors in one program. Otherwise as `read`. */
  async readAll(results: readonly Tensor[], options: ReadOptions = {}): Promise<Float32Array[]> {
    this.#checkAlive();
    const { signal } = optionsOf('read', options, READ_OPTIONS);
    for (const x of results) this.#checkOwner('read', x);
    const steps = stepsOf(results);
    const run = () => {
      signal?.throwIfAborted();
      return this.device.run(steps, results, signal);
    };
    const done = this.#last.then(run, run); // one run at a time: a device has one set of activations
    this.#last = done.catch(() => {});
    return unlessAborted(done, signal);
  }

  /** Waits for the reads in progress, then frees everything on the device. Idempotent. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    await this.#last;
    await this.device.dispose();
  }
  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** Makes the tensor of an op. */
  #record(lengths: readonly number[], columns: number, op: Op): Tensor {
    this.#checkAlive();
    for (const x of op.reads) this.#checkOwner(op.op, x);
    return new Tensor(this, this.#made++, [lengths, columns], null, op);
  }
  #checkAlive(): void {
    if (this.#disposed) throw fault('disposed', 'runtime', 'one in use', 'a disposed one');
  }
  /** @throws BertletError `input` if a tensor or layer belongs to another runtime */
  #checkOwner(what: string, { runtime }: Tensor | Linear): void {
    if (runtime === this) return;
    throw inputError(what, 'a tensor of this runtime', 'one of another', 'Read it there, and upload it here.');
  }
}

/** Collects the steps that tensors need. Each step comes after the steps that it reads. */
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

const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0);

/** The ids of all sequences in one array, and the length of each. */
function joined(ids: Int32Array | readonly Int32Array[]): { values: Int32Array; lengths: number[] } {
  const sequences = ids instanceof Int32Array ? [ids] : ids;
  const lengths = sequences.map(({ length }) => length);
  const values = new Int32Array(sum(lengths));
  let at = 0;
  for (const sequence of sequences) {
    values.set(sequence, at);
    at += sequence.length;
  }
  return { values, lengths };
}

/** @throws BertletError `input` if two sizes differ */
function same(op: string, what: string, expected: number | string, got: number | string): void {
  if (expected !== got) throw inputError(op, `${what} of ${expected}`, got);
}

/** The length of a vector. Devices pad each row, so a matrix of as many elements is not a vector to them. */
function lengthOf({ shape: [rows, columns] }: Tensor): number | string {
  return rows === 1 ? columns : `[${rows},${columns}]`;
}

/** The array that holds each dtype that a linear's weight can have. */
const WEIGHT_ARRAYS = { F32: Float32Array, F16: Uint16Array, I8: Int8Array } as const;

function checkDtype(name: string, { dtype, data, ...rest }: LinearWeight): void {
  if (!Object.hasOwn(WEIGHT_ARRAYS, dtype) || 'scale' in rest !== (dtype === 'I8')) {
    const advice = 'Use `toFloat32` or `quantizeWeight`.';
    throw inputError(name, 'a weight of F32, F16, or I8 with scales', dtype, advice);
  }
  const expected = WEIGHT_ARRAYS[dtype as keyof typeof WEIGHT_ARRAYS];
  if (data[Symbol.toStringTag] === expected.name) return; // not instanceof: another realm has other classes
  throw inputError(name, `a weight of ${dtype} in a ${expected.name}`, `${dtype} in a ${data.constructor.name}`);
}

/** For devices without float16. */
export function refuseFloat16(name: string, { dtype }: LinearWeight): void {
  if (dtype !== 'F16') return;
  throw inputError(name, 'a weight of float32 or int8', dtype, 'Widen it with `toFloat32`, or use `webgpu`.');
}

/** @throws BertletError `input` if an id is outside [0, limit) */
function checkIds(what: string, ids: Int32Array, limit: number): void {
  for (let i = 0; i < ids.length; i++) {
    if (!(ids[i]! >= 0 && ids[i]! < limit))
      throw inputError(`${what}[${i}]`, `an integer from 0 to ${limit - 1}`, ids[i]);
  }
}
