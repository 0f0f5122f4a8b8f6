/**
 * Reads safetensors files:
 *
 *   | length of the header: u64, little endian | header: JSON { name: { dtype, shape, data_offsets } } | data |
 *
 * Enforces every rule of the official parser (huggingface/safetensors, safetensors/src/tensor.rs:
 * `SafeTensors::read_metadata`, `Metadata::validate`) and four more, so that no two readers see different tensors in
 * one file: no duplicate keys, no unknown fields, no integers above 2^53 - 1, no dtypes except those in `DTYPE_BYTES`.
 */
import { BertletError } from '../errors.ts';
import { DTYPE_BYTES, type DType, type HostTensor, type TensorData } from '../runtime.ts';

/** Where a tensor lies: `begin` and `end` count from the start of the file. */
export interface TensorEntry {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

const MAX_HEADER_BYTES = 100_000_000; // the official parser's limit
const ARRAYS = {
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I8: Int8Array,
  U8: Uint8Array,
  I32: Int32Array,
  I64: BigInt64Array,
} as const;

function fail(file: string, message: string): never {
  throw new BertletError('safetensors', `${file}: ${message}. The file is damaged or not safetensors.`);
}

/**
 * Reads the length of the header from the first 8 bytes of a file.
 * @throws BertletError `safetensors` if the length is impossible
 */
export function headerLength(first: Uint8Array, fileBytes: number, file = 'safetensors'): number {
  if (fileBytes < 8) fail(file, `expected at least 8 bytes, got ${fileBytes}`);
  const length = new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) fail(file, `expected a header of at most ${MAX_HEADER_BYTES} bytes, got ${length}`);
  if (8 + Number(length) > fileBytes) fail(file, `expected a header of ${length} bytes, got ${fileBytes - 8}`);
  return Number(length);
}

/**
 * Parses and validates a header.
 * @param header the JSON without the 8 bytes of its length
 * @returns the entries by name, sorted by position in the file; empty tensors may share a position
 * @throws BertletError `safetensors`, naming the tensor
 */
export function parseHeader(header: Uint8Array, fileBytes: number, file = 'safetensors'): Map<string, TensorEntry> {
  let json: unknown;
  let text = '';
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(header);
    json = JSON.parse(text);
  } catch (cause) {
    fail(file, `header is not JSON in UTF-8 (${(cause as Error).message})`);
  }
  if (!isRecord(json)) fail(file, 'expected the header to be an object');
  checkTokens(text, file);
  const dataStart = 8 + header.length;
  const tensors: [string, TensorEntry][] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name !== '__metadata__') tensors.push([name, parseEntry(name, value, dataStart, file)]);
    else if (!isRecord(value) || Object.values(value).some((v) => typeof v !== 'string')) {
      fail(file, 'expected __metadata__ to map strings to strings');
    }
  }
  tensors.sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let end = dataStart;
  for (const [name, entry] of tensors) {
    if (entry.begin !== end) {
      fail(file, `tensor ${JSON.stringify(name)}: expected to begin at byte ${end}, got ${entry.begin}`);
    }
    end = entry.end;
  }
  if (end !== fileBytes) fail(file, `expected ${end} bytes in all, got ${fileBytes}`);
  return new Map(tensors);
}

const isRecord = (x: unknown): x is Record<string, unknown> => typeof x === 'object' && x !== null && !Array.isArray(x);

/** Refuses what JSON.parse accepts: duplicate keys, numbers that are not plain integers, lone surrogates. */
function checkTokens(json: string, file: string): void {
  const keys: Set<string>[] = [];
  for (const [token, colon] of json.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|[{}]|[-\d][-+.\deE]*/g)) {
    if (token === '{') keys.push(new Set());
    else if (token === '}') keys.pop();
    else if (token[0] !== '"') {
      if (!/^\d+$/.test(token) || !Number.isSafeInteger(Number(token))) {
        fail(file, `expected integers from 0 to 2^53 - 1, got ${token}`);
      }
    } else {
      const string = JSON.parse(colon === undefined ? token : token.slice(0, -colon.length)) as string;
      if (!string.isWellFormed()) fail(file, `expected UTF-8 strings, got ${token}`);
      if (colon === undefined) continue;
      if (keys.at(-1)?.has(string)) fail(file, `duplicate key ${token.slice(0, -colon.length)}`);
      keys.at(-1)?.add(string);
    }
  }
}

/** Validates the header's entry of one tensor. */
function parseEntry(name: string, value: unknown, dataStart: number, file: string): TensorEntry {
  const refuse = (message: string) => fail(file, `tensor ${JSON.stringify(name)}: ${message}`);
  if (!isRecord(value)) refuse('expected an object');
  const { dtype, shape, data_offsets: offsets, ...unknown } = value as Record<string, unknown>;
  if (Object.keys(unknown).length > 0) refuse(`unknown field ${JSON.stringify(Object.keys(unknown)[0])}`);
  if (typeof dtype !== 'string' || !Object.hasOwn(DTYPE_BYTES, dtype)) {
    refuse(`expected dtype ${Object.keys(DTYPE_BYTES).join(', ')}, got ${JSON.stringify(dtype)}`);
  }
  if (!isIntegers(shape)) refuse(`expected a shape of integers, got ${JSON.stringify(shape)}`);
  if (!isIntegers(offsets) || offsets.length !== 2) {
    refuse(`expected two data_offsets, got ${JSON.stringify(offsets)}`);
  }
  const [begin, end] = offsets as [number, number];
  let bytes: number = DTYPE_BYTES[dtype as DType];
  for (const size of shape as number[]) {
    bytes *= size;
    if (!Number.isSafeInteger(bytes)) refuse(`shape [${shape}] is too large`);
  }
  if (end - begin !== bytes) refuse(`expected ${bytes} bytes for ${dtype} [${shape}], got ${end - begin}`);
  return { dtype: dtype as DType, shape: shape as number[], begin: dataStart + begin, end: dataStart + end };
}

/** Number of elements of a shape; 1 for a scalar's `[]`. */
export const elements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

const isIntegers = (x: unknown): x is number[] => Array.isArray(x) && x.every((n) => typeof n === 'number');

/** Makes a tensor from bytes of a file: a view if the bytes are aligned for the dtype, otherwise a copy. */
export function viewTensor({ dtype, shape }: TensorEntry, bytes: Uint8Array): HostTensor {
  const aligned = bytes.byteOffset % DTYPE_BYTES[dtype] === 0 ? bytes : bytes.slice();
  const data: TensorData = new ARRAYS[dtype](aligned.buffer as ArrayBuffer, aligned.byteOffset, elements(shape));
  return { dtype, shape, data };
}

/**
 * Reads all tensors of a file that is in memory. The tensors are views of `bytes` where alignment permits.
 * @throws BertletError `safetensors`
 */
export function readSafetensors(bytes: Uint8Array, file = 'safetensors'): Map<string, HostTensor> {
  const length = headerLength(bytes, bytes.length, file);
  const entries = parseHeader(bytes.subarray(8, 8 + length), bytes.length, file);
  return new Map([...entries].map(([name, e]) => [name, viewTensor(e, bytes.subarray(e.begin, e.end))]));
}

/**
 * Converts a float tensor to float32. F32 is returned without a copy; F16 and BF16 are widened, which is exact.
 * @throws BertletError `weights` for an integer tensor
 */
export function toFloat32(tensor: HostTensor, name = 'tensor'): Float32Array {
  const { dtype, data } = tensor;
  if (data instanceof Float32Array) return data;
  if (!(data instanceof Uint16Array)) {
    throw new BertletError('weights', `${name}: expected F32, F16 or BF16, got ${dtype}. Convert the checkpoint.`);
  }
  const bits = new Uint32Array(data.length);
  const values = new Float32Array(bits.buffer);
  if (dtype === 'BF16') for (let i = 0; i < data.length; i++) bits[i] = data[i]! << 16;
  else {
    HALVES ??= Float32Array.from({ length: 65536 }, (_, half) => halfToFloat(half));
    for (let i = 0; i < data.length; i++) values[i] = HALVES[data[i]!]!;
  }
  return values;
}

/** Table of all float16 numbers, made at first use: a look-up is several times faster than the computation. */
let HALVES: Float32Array | undefined;

/** IEEE 754 binary16: sign, 5 exponent bits (bias 15), 10 fraction bits; exponent 0 is subnormal, 31 is Inf or NaN. */
function halfToFloat(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent ? 1024 + fraction : fraction) * 2 ** (Math.max(exponent, 1) - 25);
}

/**
 * Rounds to float16, ties to even. The largest float16 is 65504; values from 65520, half a step above it, do not round
 * to any.
 * @throws BertletError `weights` for values outside the range of float16
 */
export function toFloat16({ data, shape }: HostTensor<Float32Array>, name = 'tensor'): HostTensor<Uint16Array> {
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
  const halves = new Uint16Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const value = bits[i]!;
    if (Math.abs(data[i]!) >= 65520) {
      throw new BertletError('weights', `${name}: expected values float16 has, got ${data[i]}. Use fp32 or int8.`);
    }
    const exponent = (value >>> 23) & 255; // bias 127; the smallest normal float16 has exponent 113
    const mantissa = (value & 0x7fffff) | 0x800000;
    const cut = 13 + Math.min(Math.max(113 - exponent, 0), 12); // low bits that float16 has no room for
    const whole = mantissa >>> cut;
    const rest = mantissa & ((1 << cut) - 1);
    const up = rest + (whole & 1) > 1 << (cut - 1) ? 1 : 0;
    halves[i] = ((value >>> 16) & 0x8000) | (Math.max(exponent - 113, 0) * 1024 + whole + up);
  }
  return { dtype: 'F16', shape, data: halves };
}
