/**
 * The vocabulary everything else is written in: a tensor, the error, and the `Backend` that `bert.ts` computes with.
 */

/** Bytes per element of the safetensors dtypes that bertlet reads and writes. */
export const DTYPE_BYTES = { F32: 4, F16: 2, BF16: 2, I8: 1, U8: 1, I32: 4, I64: 8 } as const;
export type DType = keyof typeof DTYPE_BYTES;

/** F16 and BF16 are kept as the 16 bits of each element; `toFloat32` widens them. */
export type TensorData = Float32Array | Uint16Array | Int8Array | Uint8Array | Int32Array | BigInt64Array;

/** A typed array and its shape, row-major: the last dimension is contiguous. `data` may be a view of a file's bytes. */
export interface Tensor<Data extends TensorData = TensorData> {
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

/** The three embeddings [vocab | positions | types, hidden] that a token's input is the sum of. */
export type Tables<T> = { readonly word: T; readonly position: T; readonly type: T };

/** Learned scale and shift of a LayerNorm, both [hidden]. */
export type Norm<T> = { readonly gamma: T; readonly beta: T };

/** A linear's weight [out, in]: float32, float16 (`webgpu` only), or int8. */
export type LinearWeight = Tensor<Float32Array | Uint16Array> | QuantizedTensor;

/**
 * What a device must be able to do. `T` is its handle of a tensor, `L` of a linear layer; every op returns a new tensor
 * and leaves its inputs alone. Formulas, bounds and test cases of the ops are in `kernels/`; `backends/reference.ts` is
 * their definition.
 */
export interface Backend<T = unknown, L = unknown> {
  /** Hands a tensor to the device, once, at load. */
  upload(tensor: Tensor<Float32Array>): T;
  /** Hands over a linear layer `x weight^T + bias`, to be kept in whatever order its product reads; bias [out]. */
  uploadLinear(weight: LinearWeight, bias: Tensor<Float32Array>): L;
  /** `word[ids] + type[typeIds] + position[0..tokens)`: [tokens] -> [tokens, hidden]. Starts a forward. */
  embedding(ids: Int32Array, typeIds: Int32Array, tables: Tables<T>): T;
  /** `(v - mean) / sqrt(variance + eps) * gamma + beta` of each row v of `x + residual`: [tokens, hidden] -> same. */
  layerNorm(x: T, residual: T | null, norm: Norm<T>, eps: number): T;
  /** [tokens, in] -> [tokens, out], in integers where the weight is int8; GELU applied if asked for. */
  linear(x: T, linear: L, activation?: 'gelu'): T;
  /** `softmax(q k^T / sqrt(headDim)) v` for each head: query | key | value [tokens, 3 hidden] -> [tokens, hidden]. */
  attention(qkv: T, heads: number): T;
  /** Copies a tensor back; the only step that waits. Ends a forward. */
  read(x: T): Promise<Float32Array>;
  /** Frees everything; may be called twice. */
  dispose(): Promise<void>;
}

/** What went wrong: `code` for programs, the message (`<what>: expected <this>, got <that>. <what to do>`) for people. */
export class BertletError extends Error {
  override readonly name = 'BertletError';
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
/** input: an argument; file: cannot be read; safetensors, tokenizer, config, weights: its content; device: cannot run. */
export type ErrorCode = 'input' | 'file' | 'safetensors' | 'tokenizer' | 'config' | 'weights' | 'device' | 'disposed';

/** An argument that is not what it should be. */
export const inputError = (what: string, expected: unknown, got: unknown, advice = ''): BertletError =>
  new BertletError('input', `${what}: expected ${expected}, got ${got}.${advice && ` ${advice}`}`);
