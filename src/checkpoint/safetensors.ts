/**
 * Reads safetensors files:
 *
 *   | length of the header: u64, little endian | header: JSON { name: { dtype, shape, data_offsets } } | data |
 *
 * Enforces every rule of the official parser (huggingface/safetensors, safetensors/src/tensor.rs:
 * `SafeTensors::read_metadata`, `Metadata::validate`) and four more, so that no two readers see different tensors in
 * one file: no duplicate keys, no unknown fields, no integers above 2^53 - 1, no dtypes except those in `FILE_DTYPE_BYTES`.
 */
import { BertletError, messageOf } from '../errors.ts';
import { widenHalves } from '../float16.ts';
import { preview } from '../options.ts';
import { textOf } from '../platform.ts';
import { DTYPE_BYTES, type DType, type HostTensor, type TensorData } from '../runtime.ts';

/** Bytes of an element of each dtype that a file may have. A tensor of one that bertlet lacks may be there, but not be read. */
export const FILE_DTYPE_BYTES = {
  ...DTYPE_BYTES,
  ...{ F64: 8, BOOL: 1, I16: 2, U16: 2, U32: 4, U64: 8, F8_E4M3: 1, F8_E5M2: 1, C64: 8 },
} as const;
export type FileDType = keyof typeof FILE_DTYPE_BYTES;

/** Where a tensor lies: `begin` and `end` count from the start of the file. */
export interface TensorEntry {
  readonly dtype: FileDType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
  /** Distances between neighbours along each dimension, in elements, where they are not those of `shape`. */
  readonly strides?: readonly number[];
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
  F64: Float64Array,
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
    text = textOf(header, { fatal: true, ignoreBOM: true });
    json = JSON.parse(text);
  } catch (cause) {
    if (cause instanceof BertletError) throw cause; // of the engine, not of the file
    fail(file, `header is not JSON in UTF-8 (${messageOf(cause)})`);
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
      fail(file, `tensor ${preview(name)}: expected to begin at byte ${end}, got ${entry.begin}`);
    }
    end = entry.end;
  }
  if (end !== fileBytes) fail(file, `expected ${end} bytes in all, got ${fileBytes}`);
  return new Map(tensors);
}

const isRecord = (x: unknown): x is Record<string, unknown> => typeof x === 'object' && x !== null && !Array.isArray(x);

const [QUOTE, BACKSLASH, COLON, OPEN, CLOSE] = Array.from('"\\:{}', (char) => char.charCodeAt(0));

/**
 * Refuses what JSON.parse accepts: duplicate keys, numbers that are not plain integers, lone surrogates. `json` is valid
 * JSON of up to 100 MB, so this is one walk over its characters; a regular expression of its tokens runs out of stack in
 * a long string.
 */
function checkTokens(json: string, file: string): void {
  const keys: Set<string>[] = [];
  let string = ''; // the last one, and how it is written
  let written = '';
  for (let at = 0; at < json.length; at++) {
    const code = json.charCodeAt(at);
    if (code === QUOTE) {
      const begin = at + 1;
      let escaped = false;
      while (json.charCodeAt(++at) !== QUOTE) {
        if (json.charCodeAt(at) !== BACKSLASH) continue;
        escaped = true;
        at++;
      }
      written = json.slice(begin, at);
      string = escaped ? (JSON.parse(`"${written}"`) as string) : written;
      if (escaped && !string.isWellFormed()) fail(file, `expected UTF-8 strings, got ${cut(written)}`);
    } else if (code === OPEN) keys.push(new Set());
    else if (code === CLOSE) keys.pop();
    else if (code === COLON) {
      if (keys.at(-1)!.has(string)) fail(file, `duplicate key "${cut(written)}"`);
      keys.at(-1)!.add(string);
    } else if (isOfNumber(code)) {
      const begin = at;
      while (isOfNumber(json.charCodeAt(at + 1))) at++;
      const number = json.slice(begin, at + 1);
      if (!/^\d{1,16}$/.test(number) || !Number.isSafeInteger(Number(number))) {
        fail(file, `expected integers from 0 to 2^53 - 1, got ${cut(number)}`);
      }
    }
  }
}

/** Whether this is a digit or one of - + . e E, outside of strings: `true` and `false` are no integers either. */
const isOfNumber = (code: number) =>
  (code >= 48 && code <= 57) || code === 45 || code === 43 || code === 46 || code === 101 || code === 69;
/** Keeps the beginning of what a file wrote. */
const cut = (text: string) => (text.length > 60 ? `${text.slice(0, 60)}...` : text);

/** Validates the header's entry of one tensor. */
function parseEntry(name: string, value: unknown, dataStart: number, file: string): TensorEntry {
  const refuse = (message: string) => fail(file, `tensor ${preview(name)}: ${message}`);
  if (!isRecord(value)) refuse('expected an object');
  const { dtype, shape, data_offsets: offsets, ...unknown } = value as Record<string, unknown>;
  if (Object.keys(unknown).length > 0) refuse(`unknown field ${preview(Object.keys(unknown)[0])}`);
  if (typeof dtype !== 'string' || !Object.hasOwn(FILE_DTYPE_BYTES, dtype)) {
    refuse(`expected dtype ${Object.keys(FILE_DTYPE_BYTES).join(', ')}, got ${preview(dtype)}`);
  }
  const short = (value: unknown) => (Array.isArray(value) ? `[${value.slice(0, 9).map(preview)}]` : preview(value));
  if (!isIntegers(shape)) refuse(`expected a shape of integers, got ${short(shape)}`);
  if (!isIntegers(offsets) || offsets.length !== 2) refuse(`expected two data_offsets, got ${short(offsets)}`);
  const [begin, end] = offsets as [number, number];
  let bytes: number = FILE_DTYPE_BYTES[dtype as FileDType];
  for (const size of shape as number[]) {
    bytes *= size;
    if (!Number.isSafeInteger(bytes)) refuse(`shape [${cut(`${shape}`)}] is too large`);
  }
  if (end - begin !== bytes) refuse(`expected ${bytes} bytes for ${dtype} [${cut(`${shape}`)}], got ${end - begin}`);
  return { dtype: dtype as FileDType, shape: shape as number[], begin: dataStart + begin, end: dataStart + end };
}

/** Number of elements of a shape; 1 for a scalar's `[]`. */
export const elements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

const isIntegers = (x: unknown): x is number[] => Array.isArray(x) && x.every((n) => typeof n === 'number');

/**
 * Makes a tensor from bytes of a file: a view if the bytes are aligned for the dtype, otherwise a copy. F64 is rounded to
 * F32, and a tensor with strides is put in order.
 * @throws BertletError `weights` for a dtype that bertlet has no numbers of
 */
export function viewTensor({ dtype, shape, strides }: TensorEntry, bytes: Uint8Array, name = 'tensor'): HostTensor {
  if (!(dtype in ARRAYS)) {
    const message = `tensor ${preview(name)}: expected dtype ${Object.keys(ARRAYS).join(', ')}, got ${dtype}`;
    throw new BertletError('weights', `${message}. Convert the checkpoint.`);
  }
  const { [dtype as keyof typeof ARRAYS]: Numbers } = ARRAYS;
  const aligned = bytes.byteOffset % FILE_DTYPE_BYTES[dtype] === 0 ? bytes : bytes.slice();
  const all = new Numbers(aligned.buffer as ArrayBuffer, aligned.byteOffset, bytes.length / FILE_DTYPE_BYTES[dtype]);
  const data = strides ? inOrder(all, shape, strides) : all;
  if (data instanceof Float64Array) return { dtype: 'F32', shape, data: Float32Array.from(data) };
  return { dtype: dtype as DType, shape, data };
}

/** Copies the elements of a view, such as a transposed matrix, row by row: its last dimension varies fastest. */
function inOrder<A extends TensorData | Float64Array>(all: A, shape: readonly number[], strides: readonly number[]): A {
  const data = new (all.constructor as new (length: number) => A)(elements(shape));
  const place = shape.map(() => 0); // the index along each dimension
  for (let i = 0, from = 0; i < data.length; i++) {
    data[i] = all[from]!;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      if (++place[axis]! < shape[axis]!) break;
      from -= strides[axis]! * shape[axis]!;
      place[axis] = 0;
    }
  }
  return data;
}

/**
 * Reads all tensors of a file that is in memory. The tensors are views of `bytes` where alignment permits; F64 is
 * rounded to F32.
 * @throws BertletError `safetensors`; `weights` for a dtype that bertlet has no numbers of
 */
export function readSafetensors(bytes: Uint8Array, file = 'safetensors'): Map<string, HostTensor> {
  const length = headerLength(bytes, bytes.length, file);
  const entries = parseHeader(bytes.subarray(8, 8 + length), bytes.length, file);
  return new Map([...entries].map(([name, e]) => [name, viewTensor(e, bytes.subarray(e.begin, e.end), name)]));
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
  if (dtype === 'F16') return widenHalves(data);
  const bits = new Uint32Array(data.length);
  for (let i = 0; i < data.length; i++) bits[i] = data[i]! << 16;
  return new Float32Array(bits.buffer);
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
