/// <reference lib="esnext.disposable" preserve="true" />
/**
 * The tensor runtime: tensors, the ops of an encoder such as BERT and of its heads, and the interface of a device.
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
import {
  abortSignal,
  callback,
  check,
  classOf,
  type GivenOf,
  oneOf,
  optionsOf,
  preview,
  string,
  unlessAborted,
} from './options.ts';

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
export const scheme = oneOf<Scheme>(['torch', 'accurate']);

/** A linear's weight in int8. The zero point is 0 (symmetric), so `weight ≈ data * scale[row]`. */
export interface QuantizedTensor extends HostTensor<Int8Array> {
  readonly dtype: 'I8';
  /** [out]: one scale for each output feature. In the `torch` scheme all scales of a matrix are equal; stacked matrices keep theirs. */
  readonly scale: Float32Array;
  /** How weights and activations are quantized. Activations: `torch` per tensor, `accurate` per token (quantize.ts). */
  readonly scheme: Scheme;
}

/** A linear's weight [out, in]: float32, float16 (`webgpu` only), or int8. */
export type LinearWeight = HostTensor<Float32Array | Uint16Array> | QuantizedTensor;

/** The class of the array that holds the elements of a matrix. */
const ARRAYS = { F32: 'Float32Array', F16: 'Uint16Array', I8: 'Int8Array' } as const;
/** The sum of so many products of -127 to 128 and -128 to 127 fits int32. */
const MAX_INT8_FEATURES = 2 ** 17;
const WIDEN = 'Use `toFloat32` or `quantizeWeight`.';
const isCount = (size: unknown): boolean => Number.isSafeInteger(size) && (size as number) >= 1;
const listed = (values: unknown): string =>
  Array.isArray(values) ? `[${values.slice(0, 9).map(preview)}]` : preview(values);
const described = (array: unknown): string =>
  ArrayBuffer.isView(array) ? `${classOf(array)} of ${(array as Int8Array).length}` : preview(array);

/** @throws BertletError `input` unless it is an array of this class, and of this length if one is given */
export function checkArray(what: string, array: ArrayLike<number>, name: string, length?: number): void {
  if (classOf(array) === name && (length === undefined || array.length === length)) return;
  throw inputError(what, length === undefined ? name : `${name} of ${length}`, described(array));
}

/**
 * Checks a matrix in the memory of JavaScript.
 * @param least fewest sizes in its shape; 1 lets a vector pass, which is one row
 * @throws BertletError `input` unless it is of this dtype, and its shape and elements match
 */
export function checkMatrix(
  what: string,
  matrix: Pick<HostTensor, 'shape' | 'data'> & { dtype?: DType },
  dtype: keyof typeof ARRAYS = 'F32',
  least = 2,
): [rows: number, columns: number] {
  const { shape, data, dtype: own = dtype } = matrix ?? {};
  const sizes = Array.isArray(shape) && shape.length >= least && shape.length <= 2 && shape.every(isCount) ? shape : [];
  const [rows, columns] = [sizes.length === 1 ? 1 : sizes[0], sizes.at(-1)];
  if (own === dtype && classOf(data) === ARRAYS[dtype] && rows * columns === data.length) return [rows, columns];
  const expected = `a shape [rows, columns], each at least 1, and as many elements of ${dtype} in a ${ARRAYS[dtype]}`;
  const got = matrix ? `${listed(shape)}, ${preview(own)}, ${described(data)}` : preview(matrix);
  throw inputError(what, expected, got, classOf(data) === ARRAYS[dtype] ? '' : WIDEN);
}

/** @throws BertletError `input` unless it is a matrix in one of `dtypes`; int8 has a scale for each row, and a scheme */
export function checkWeight(
  what: string,
  weight: LinearWeight,
  dtypes: readonly (keyof typeof ARRAYS)[] = ['F32', 'F16', 'I8'],
): [out: number, features: number] {
  const dtype = weight?.dtype as keyof typeof ARRAYS;
  if (!dtypes.includes(dtype) || 'scale' in weight !== (dtype === 'I8')) {
    throw inputError(what, `a weight of ${dtypes.join(', ')} with scales`, preview(dtype ?? weight), WIDEN);
  }
  const sizes = checkMatrix(what, weight, dtype);
  if ('scale' in weight) {
    checkArray(`${what}: scale`, weight.scale, 'Float32Array', sizes[0]);
    check(`${what}: scheme`, weight.scheme, scheme);
    if (sizes[1] > MAX_INT8_FEATURES) {
      throw inputError(what, `at most ${MAX_INT8_FEATURES} columns in int8, whose products fit int32`, sizes[1]);
    }
  }
  return sizes;
}

/** For devices without float16. */
export function refuseFloat16(name: string, { dtype }: LinearWeight): void {
  if (dtype !== 'F16') return;
  throw inputError(name, 'a weight of float32 or int8', dtype, 'Widen it with `toFloat32`, or use `webgpu`.');
}

/** The rows of one sequence of a batch. */
export type Rows = { readonly first: number; readonly tokens: number };

/**
 * The rows of a tensor by sequences: a batch has the rows of its sequences one after another, without padding. What is no
 * batch is one sequence.
 */
interface Batch {
  /** Rows of each sequence, which add up to all rows. */
  readonly lengths: readonly number[];
  /** Where each sequence begins, and how many rows it has. */
  readonly sequences: readonly Rows[];
}

/** A matrix [rows, columns] of float32 on a device: an upload, or the result of an op. Made by `Runtime` alone. */
export interface Tensor extends Batch {
  readonly runtime: Runtime;
  readonly shape: readonly [rows: number, columns: number];
  /** Return value of the device's `upload`; null for the result of an op. */
  readonly buffer: unknown;
  /** The step that makes the tensor; null for an upload. */
  readonly step: Step | null;
  /** Serial number of the tensor in its runtime. A program computes its tensors in this order. */
  readonly order: number;
  /**
   * Frees an upload, after the reads that were asked for before; a tensor that needs it can no longer be read. Does nothing
   * for the result of an op, which has no memory of its own between two reads. Idempotent.
   */
  dispose(): void;
  /** For `using`. */
  [Symbol.dispose](): void;
}

/** A linear layer [out, in] on a device: `x weight^T + bias`. */
export interface Linear {
  readonly name: string;
  readonly runtime: Runtime;
  readonly out: number;
  readonly features: number;
  /** Return value of the device's `uploadLinear`. */
  readonly buffer: unknown;
}

/** The embedding tables: word [vocab, hidden], position [positions, hidden], type [types, hidden]. */
export type Tables = { readonly word: Tensor; readonly position: Tensor; readonly type: Tensor };

/** The learned scale (gamma) and shift (beta) of a layerNorm, both [hidden]. */
export type Norm = { readonly gamma: Tensor; readonly beta: Tensor };

/** A function of each element: gelu is the exact one, as PyTorch's default. */
export const ACTIVATIONS = ['gelu', 'relu', 'tanh', 'sigmoid'] as const;
export type Activation = (typeof ACTIVATIONS)[number];

/** An op with its arguments. `reads`: the tensors that the op reads. */
type Op = { readonly reads: readonly Tensor[] } & (
  | { readonly op: 'rows'; readonly indices: readonly Int32Array[] } // reads a table for each array; the rows are added up
  | { readonly op: 'layerNorm'; readonly eps: number } // reads x, gamma, beta, and the residual if there is one
  | { readonly op: 'linear'; readonly linear: Linear; readonly activation: Activation | undefined } // reads x
  | { readonly op: 'attention'; readonly heads: number } // reads query | key | value
  | { readonly op: 'elementwise'; readonly how: 'add' | 'mul' | Activation } // reads x, and the other for add and mul
  | { readonly op: 'softmax' } // reads x
  | { readonly op: 'mean' } // reads x
  | { readonly op: 'transpose' } // reads x
  | { readonly op: 'matmul' } // reads x and other
);
/**
 * A step of a program: an op and the tensor `y` that the op makes. Sequences of a batch (`lengths`) do not see each other:
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
  /** Frees what `upload` returned. */
  free(buffer: unknown): void;
  /**
   * `quantizeWeight`'s bits, where the device computes them faster: of a matrix [out, in], float32 or the bits of float16.
   * The scale of rows with a value that is NaN or infinite is NaN.
   * @param target the caller's memory for the result; by default new memory
   */
  quantizeWeight?(
    weight: HostTensor<Float32Array | Uint16Array>,
    scheme: Scheme,
    target?: Pick<QuantizedTensor, 'data' | 'scale'>,
  ): QuantizedTensor;
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
  /** cpu: milliseconds of a test product with each kernel that could be chosen. */
  measured?: Readonly<Record<string, number>>;
  /** Why `auto` chose this device, which kernels failed their self-test, and why the caller's thread computes. */
  reason?: string;
}

const READ_OPTIONS = {
  /** Ends the read early. */
  signal: abortSignal,
};
/** Options of `Runtime.read`. */
export type ReadOptions = GivenOf<typeof READ_OPTIONS>;
const ACTIVATION = oneOf([undefined, ...ACTIVATIONS]);

/** Records ops and lets a device run them. Made by `openRuntime` (tensor.ts), or with a device of your own. */
export class Runtime {
  readonly device: Device;
  readonly #about: () => DeviceInfo;
  #made = 0;
  /** Settles after the last read that was asked for; never rejects. */
  #last: Promise<unknown> = Promise.resolve();
  /** Uploads that were disposed of. */
  readonly #freed = new WeakSet<object>();
  #disposed = false;

  /** @param about returns the value of `info` */
  constructor(device: Device, about: () => DeviceInfo = () => ({})) {
    if (typeof device?.run !== 'function') throw inputError('Runtime', 'a device', preview(device));
    check('Runtime: about', about, callback());
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
    const float16 = this.device.float16 && given && 'dtype' in given && given.dtype === 'F16';
    const [rows, columns] = checkMatrix('tensor', given, float16 ? 'F16' : 'F32', 1);
    const batch = batchOf(rows, lengths);
    return this.#make(batch, columns, this.device.upload(rows, columns, given.data));
  }

  /**
   * Uploads the layer `x weight^T + bias`.
   * @param weight [out, in]: float32, float16 (`webgpu` only), or int8 of `quantizeWeight`
   * @param bias [out]; null or left out: zeros
   * @param name for errors, and for labels in debuggers
   * @throws BertletError `input` if sizes do not match; `device` if the device has no room
   */
  linearLayer(
    weight: LinearWeight,
    bias: Pick<HostTensor<Float32Array>, 'data'> | null = null,
    name = 'linear',
  ): Linear {
    this.#checkAlive();
    check('linearLayer: name', name, string);
    const [out, features] = checkWeight(name, weight);
    const { data } = bias ?? { data: new Float32Array(out) };
    checkArray(`${name}: bias.data`, data, 'Float32Array', out);
    return { name, runtime: this, out, features, buffer: this.device.uploadLinear(weight, data, name) };
  }

  /**
   * `word[ids] + type[typeIds] + position[0..tokens)`: [tokens] -> [tokens, hidden]
   * @param typeIds as many
   * @param lengths tokens of each sequence, if the ids are a batch of several
   */
  embedding(ids: Int32Array, typeIds: Int32Array, tables: Tables, lengths?: readonly number[]): Tensor {
    const { word, position, type } = tables ?? {};
    this.#check('embedding', word, position, type);
    const [[words, hidden], [positions], [types]] = [word.shape, position.shape, type.shape];
    same('embedding', 'columns of position', hidden, position.shape[1]);
    same('embedding', 'columns of type', hidden, type.shape[1]);
    checkIds('embedding: ids', ids, words);
    checkIds('embedding: typeIds', typeIds, types, ids.length);
    const batch = batchOf(ids.length, lengths);
    const long = batch.lengths.find((tokens) => tokens > positions);
    if (long !== undefined) throw inputError('embedding', `1 to ${positions} tokens, one for each position`, long);
    const places = new Int32Array(ids.length);
    for (const { first, tokens } of batch.sequences) for (let i = 0; i < tokens; i++) places[first + i] = i;
    // Copies: what is checked here is what `read` computes with. Word, type, position is BertEmbeddings' order of the sum.
    const indices = [ids.slice(), typeIds.slice(), places];
    return this.#record(batch, hidden, { op: 'rows', indices, reads: [word, type, position] });
  }

  /** Rows of a tensor by their numbers, in any order: [rows, columns] -> [indices, columns]. Of an upload or a result. */
  rows(x: Tensor, indices: Int32Array): Tensor {
    this.#check('rows', x);
    checkIds('rows: indices', indices, x.shape[0]);
    return this.#record(batchOf(indices.length), x.shape[1], { op: 'rows', indices: [indices.slice()], reads: [x] });
  }

  /** `x + other`: of one shape, or `other` is one row, which is added to all: [rows, columns] -> same */
  add(x: Tensor, other: Tensor): Tensor {
    return this.#pair('add', x, other);
  }
  /** `x other`, element by element; shapes as for `add` */
  mul(x: Tensor, other: Tensor): Tensor {
    return this.#pair('mul', x, other);
  }
  #pair(how: 'add' | 'mul', x: Tensor, other: Tensor): Tensor {
    this.#check(how, x, other);
    const [rows, columns] = x.shape;
    if (other.shape[0] !== 1) same(how, `rows of [${x.shape}] and [${other.shape}]`, rows, other.shape[0]);
    same(how, `columns of [${x.shape}] and [${other.shape}]`, columns, other.shape[1]);
    return this.#record(x, columns, { op: 'elementwise', how, reads: [x, other] });
  }

  /** A function of each element; NaN stays NaN: [rows, columns] -> same */
  activation(x: Tensor, name: Activation): Tensor {
    this.#check('activation', x);
    check('activation: name', name, oneOf(ACTIVATIONS));
    return this.#record(x, x.shape[1], { op: 'elementwise', how: name, reads: [x] });
  }

  /** `exp(x - max) / sum exp(x - max)` of each row: [rows, columns] -> same */
  softmax(x: Tensor): Tensor {
    this.#check('softmax', x);
    return this.#record(x, x.shape[1], { op: 'softmax', reads: [x] });
  }

  /** The mean of the rows of each sequence: [rows, columns] -> [sequences, columns] */
  mean(x: Tensor): Tensor {
    this.#check('mean', x);
    return this.#record(batchOf(x.lengths.length), x.shape[1], { op: 'mean', reads: [x] });
  }

  /** The product of two tensors in float32: [m, k] x [k, n] -> [m, n] */
  matmul(x: Tensor, other: Tensor): Tensor {
    this.#check('matmul', x, other);
    same(`matmul [${x.shape}] x [${other.shape}]`, 'rows of the second', x.shape[1], other.shape[0]);
    return this.#record(x, other.shape[1], { op: 'matmul', reads: [x, other] });
  }

  /** Rows become columns: [rows, columns] -> [columns, rows] */
  transpose(x: Tensor): Tensor {
    this.#check('transpose', x);
    const [rows, columns] = x.shape;
    return this.#record(batchOf(columns), rows, { op: 'transpose', reads: [x] });
  }

  /** `(v - mean) / sqrt(variance + eps) * gamma + beta` of each row v of `x + residual`: [tokens, hidden] -> same */
  layerNorm(x: Tensor, residual: Tensor | null, norm: Norm, eps: number): Tensor {
    const [gamma, beta] = [norm?.gamma, norm?.beta];
    const reads = residual === null ? [x, gamma, beta] : [x, gamma, beta, residual];
    this.#check('layerNorm', ...reads);
    const [tokens, hidden] = x.shape;
    same('layerNorm', 'gamma', hidden, lengthOf(gamma));
    same('layerNorm', 'beta', hidden, lengthOf(beta));
    if (residual) {
      same('layerNorm', `residual [${tokens},${hidden}]`, `[${x.shape}]`, `[${residual.shape}]`);
      same('layerNorm', 'residual of sequences', `[${x.lengths}]`, `[${residual.lengths}]`);
    }
    if (!(Number.isFinite(eps) && eps >= 0)) {
      throw inputError('layerNorm: eps', 'a number that is not negative', preview(eps));
    }
    return this.#record(x, hidden, { op: 'layerNorm', eps, reads });
  }

  /**
   * `x weight^T + bias`, then an activation if asked for: [tokens, in] -> [tokens, out]. An int8 weight multiplies in
   * integers.
   */
  linear(x: Tensor, linear: Linear, activation?: Activation): Tensor {
    check('linear: activation', activation, ACTIVATION);
    this.#check('linear', x);
    this.#checkOwn('linear', 'layer', isLayer(linear), linear);
    const { name, out, features } = linear;
    same(`${name} [${x.shape}] x [${out},${features}]`, 'input features', features, x.shape[1]);
    return this.#record(x, out, { op: 'linear', linear, activation, reads: [x] });
  }

  /** `softmax(q k^T / sqrt(headDim)) v` for each head: query | key | value [tokens, 3 hidden] -> [tokens, hidden] */
  attention(qkv: Tensor, heads: number): Tensor {
    this.#check('attention', qkv);
    const columns = qkv.shape[1];
    if (!isCount(heads) || columns % (3 * heads) !== 0) {
      throw inputError('attention', `${columns} columns to be 3 x heads x headDim`, `${preview(heads)} heads`);
    }
    return this.#record(qkv, columns / 3, { op: 'attention', heads, reads: [qkv] });
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
    if (others.length > 0 || isTensor(second)) return this.readAll([x, second as Tensor, ...others]);
    const [values] = await this.readAll([x], second);
    return values!;
  }

  /** Computes several tensors in one program. Otherwise as `read`. */
  async readAll(results: readonly Tensor[], options: ReadOptions = {}): Promise<Float32Array[]> {
    this.#checkAlive();
    const { signal } = optionsOf('read', options, READ_OPTIONS);
    if (!Array.isArray(results) || results.length === 0) throw inputError('readAll', 'tensors', listed(results));
    this.#check('read', ...(results as Tensor[]));
    const steps = stepsOf(results);
    for (const { op, reads } of steps) this.#check(op, ...reads); // one may be disposed of by now
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
  #record(batch: Batch, columns: number, op: Op): Tensor {
    this.#checkAlive();
    const y = this.#make(batch, columns, null);
    y.step = { ...op, y };
    return y;
  }
  #make({ lengths, sequences }: Batch, columns: number, buffer: unknown): Tensor & { step: Step | null } {
    const { first, tokens } = sequences.at(-1)!;
    const shape = [first + tokens, columns] as const;
    const [order, dispose] = [this.#made++, Runtime.#dispose];
    return { runtime: this, order, shape, lengths, sequences, buffer, step: null, dispose, [Symbol.dispose]: dispose };
  }
  /** `dispose` of a tensor. */
  static readonly #dispose = function (this: Tensor): void {
    const { runtime, step, buffer } = this;
    if (step || runtime.#freed.has(this) || runtime.#disposed) return;
    runtime.#freed.add(this);
    runtime.#last = runtime.#last.then(() => runtime.device.free(buffer)); // reads that were asked for may need it
  };
  #checkAlive(): void {
    if (this.#disposed) throw fault('disposed', 'runtime', 'a runtime in use', 'a disposed one');
  }
  /** @throws BertletError `input` unless all are tensors of this runtime */
  #check(op: string, ...tensors: readonly Tensor[]): void {
    for (const x of tensors) this.#checkOwn(op, 'tensor', isTensor(x), x);
  }
  #checkOwn(op: string, kind: 'tensor' | 'layer', isOne: boolean, x: Tensor | Linear): void {
    const own = isOne && x.runtime === this;
    if (own && !this.#freed.has(x)) return;
    if (own) throw fault('disposed', op, `a ${kind} in use`, 'a disposed one');
    throw inputError(op, `a ${kind} of this runtime`, isOne ? 'one of another' : preview(x), 'Upload it here.');
  }
}

// Not instanceof: another copy of this module has classes of its own.
const isTensor = (x: unknown): x is Tensor => Array.isArray((x as Tensor | null)?.lengths);
const isLayer = (x: unknown): x is Linear => typeof (x as Linear | null)?.features === 'number';

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

/** The sequences of so many rows: by default all are one. */
function batchOf(rows: number, lengths: readonly number[] = [rows]): Batch {
  let end = 0;
  const sequences: Rows[] = [];
  for (const tokens of Array.isArray(lengths) && lengths.every(isCount) ? lengths : []) {
    sequences.push({ first: end, tokens });
    end += tokens;
  }
  if (end === rows && rows > 0) return { lengths: lengths.slice(), sequences };
  throw inputError('lengths', `lengths of at least 1, ${rows} together`, listed(lengths));
}

/** @throws BertletError `input` if two sizes differ */
function same(op: string, what: string, expected: number | string, got: number | string): void {
  if (expected !== got) throw inputError(op, `${what} of ${expected}`, got);
}

/** The length of a vector. Devices pad each row, so a matrix of as many elements is not a vector to them. */
function lengthOf({ shape: [rows, columns] }: Tensor): number | string {
  return rows === 1 ? columns : `[${rows},${columns}]`;
}

/** @throws BertletError `input` unless the ids are an Int32Array of integers in [0, limit) */
function checkIds(what: string, ids: Int32Array, limit: number, length?: number): void {
  checkArray(what, ids, 'Int32Array', length);
  for (let i = 0; i < ids.length; i++) {
    if (!(ids[i]! >= 0 && ids[i]! < limit))
      throw inputError(`${what}[${i}]`, `an integer from 0 to ${limit - 1}`, ids[i]);
  }
}
