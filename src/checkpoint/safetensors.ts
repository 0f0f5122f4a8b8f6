/**
 * Reads safetensors files:
 *
 *   | length of the header: u64, little endian | header: JSON { name: { dtype, shape, data_offsets } } | data |
 *
 * Enforces every rule of the official parser (huggingface/safetensors, safetensors/src/tensor.rs:
 * `SafeTensors::read_metadata`, `Metadata::validate`) and four more, so that no two readers see different tensors in
 * one file: no duplicate keys, no unknown fields, no integers above 2^53 - 1, no dtypes except those in `FILE_DTYPE_BYTES`.
 */
import { BertletError, fault, inputError, messageOf } from '../errors.ts';
import { inMemory, type OpenFile, readPart } from '../files/index.ts';
import { widenHalves } from '../float16.ts';
import { check, isObject, preview, rule, string } from '../options.ts';
import { textOf } from '../platform.ts';
import { checkArray, DTYPE_BYTES, type DType, type HostTensor } from '../runtime.ts';

/** Bytes of an element. A tensor of these dtypes may be present in a file; reading one is an error, but for F64. */
const OTHER_DTYPES = { F64: 8, BOOL: 1, I16: 2, U16: 2, U32: 4, U64: 8, F8_E4M3: 1, F8_E5M2: 1, C64: 8 } as const;
export const FILE_DTYPE_BYTES = { ...DTYPE_BYTES, ...OTHER_DTYPES };
export type FileDType = keyof typeof FILE_DTYPE_BYTES;

/** The dtype and the shape of a tensor in a file. */
export interface TensorForm {
  readonly dtype: FileDType;
  readonly shape: readonly number[];
}
/** A tensor in a file. */
export interface StoredTensor extends TensorForm {
  /** Fills memory of the caller with all bytes of the tensor. */
  readonly read: (target: Uint8Array) => void;
}
/** Where a tensor lies: `begin` and `end` count from the start of the file. */
type TensorEntry = TensorForm & Readonly<Record<'begin' | 'end', number>>;

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

/** Throws the error of a file that is damaged or something else. */
function refuse(what: string, expected: unknown, got: unknown): never {
  throw fault('safetensors', what, expected, got, 'The file is damaged or not safetensors.');
}

/**
 * Finds the tensors of a file.
 * @throws BertletError `safetensors` if it is none
 */
export function safetensorsIn(file: OpenFile): Map<string, StoredTensor> {
  const { name, size } = file;
  if (size < 8) refuse(name, 'at least 8 bytes', size);
  const length = new DataView(readPart(file, 0, 8).buffer).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) refuse(name, `a header of at most ${MAX_HEADER_BYTES} bytes`, length);
  if (8 + Number(length) > size) refuse(name, `a header of ${length} bytes`, size - 8);
  const entries = parseHeader(readPart(file, 8, Number(length)), size, name);
  const stored = (entry: TensorEntry) => ({ ...entry, read: (target: Uint8Array) => file.read(entry.begin, target) });
  return new Map([...entries].map(([name, entry]) => [name, stored(entry)]));
}

/**
 * Parses and validates a header.
 * @param header the JSON without the 8 bytes of its length
 * @returns the entries by name, sorted by position in the file; empty tensors may share a position
 * @throws BertletError `safetensors`, naming the tensor
 */
export function parseHeader(header: Uint8Array, fileBytes: number, file = 'safetensors'): Map<string, TensorEntry> {
  let text = '';
  let json: unknown;
  try {
    text = textOf(header, { fatal: true, ignoreBOM: true });
    json = JSON.parse(text);
  } catch (cause) {
    if (cause instanceof BertletError) throw cause; // of the engine, not of the file
    refuse(file, 'a header of JSON in UTF-8', messageOf(cause));
  }
  if (!isObject(json)) return refuse(file, 'the header to be an object', preview(json));
  const syntax = outsideOfStrings(text);
  checkNumbers(syntax, file);
  const { __metadata__: metadata, ...entries } = json;
  const dataStart = 8 + header.length;
  const tensors = Object.entries(entries).map(([name, value]): [string, TensorEntry] => {
    return [name, parseEntry(`${file}: tensor ${preview(name)}`, value, dataStart)];
  });
  const strings = metadataStrings(metadata, file);
  const broken = [...Object.keys(entries), ...strings].find((string) => !string.isWellFormed());
  if (broken !== undefined) refuse(file, 'UTF-8 strings', preview(broken));
  const keys = Object.keys(json).length + 3 * tensors.length + strings.length / 2;
  if (syntax.split(':').length - 1 > keys) refuse(file, 'each key once', 'a duplicate key');
  tensors.sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let end = dataStart;
  for (const [name, entry] of tensors) {
    if (entry.begin !== end) refuse(`${file}: tensor ${preview(name)}`, `to begin at byte ${end}`, entry.begin);
    end = entry.end;
  }
  if (end !== fileBytes) refuse(file, `${end} bytes in all`, fileBytes);
  return new Map(tensors);
}

/** Removes the strings from valid JSON, up to 100 MB of it. A regular expression of strings would run out of stack in a long one. */
function outsideOfStrings(json: string): string {
  const parts = json.replace(/\\./g, '').split('"');
  return parts.filter((_, i) => i % 2 === 0).join('');
}

/** Refuses numbers that JSON.parse rounds, or takes although they are not written as integers. */
function checkNumbers(syntax: string, file: string): void {
  const at = syntax.search(/-\d|\b\d{1,16}[.eE]|\d{17}/);
  if (at >= 0) refuse(file, 'integers from 0 to 2^53 - 1', cut(/[^\s,\]}]*/.exec(syntax.slice(at, at + 99))![0]));
}

/** Returns the keys and values of `__metadata__`, which may be absent or null. */
function metadataStrings(metadata: unknown, file: string): string[] {
  if (metadata === undefined || metadata === null) return [];
  const strings = isObject(metadata) ? Object.entries(metadata).flat() : [null];
  if (strings.every((value) => typeof value === 'string')) return strings;
  return refuse(file, '__metadata__ to map strings to strings', preview(metadata));
}

/** Keeps the beginning of what a file wrote. */
const cut = (text: string) => (text.length > 60 ? `${text.slice(0, 60)}...` : text);

/** Validates the header's entry of one tensor. `what`: the file and the tensor, for errors. */
function parseEntry(what: string, value: unknown, dataStart: number): TensorEntry {
  if (!isObject(value)) return refuse(what, 'an object', preview(value));
  const { dtype, shape, data_offsets: offsets, ...unknown } = value;
  const [field] = Object.keys(unknown);
  if (field !== undefined) refuse(what, 'dtype, shape and data_offsets', `the unknown field ${preview(field)}`);
  if (typeof dtype !== 'string' || !Object.hasOwn(FILE_DTYPE_BYTES, dtype))
    refuse(what, `dtype ${Object.keys(FILE_DTYPE_BYTES).join(', ')}`, preview(dtype));
  const short = (value: unknown) => (Array.isArray(value) ? `[${value.slice(0, 9).map(preview)}]` : preview(value));
  if (!isIntegers(shape)) return refuse(what, 'a shape of integers from 0 to 2^53 - 1', short(shape));
  if (!isIntegers(offsets) || offsets.length !== 2) return refuse(what, 'two data_offsets', short(offsets));
  const [begin, end] = offsets as [number, number];
  let bytes: number = FILE_DTYPE_BYTES[dtype as FileDType];
  for (const size of shape) {
    bytes *= size;
    if (!Number.isSafeInteger(bytes)) refuse(what, 'a shape of less than 2^53 bytes', `[${cut(`${shape}`)}]`);
  }
  if (end - begin !== bytes) refuse(what, `${bytes} bytes for ${dtype} [${cut(`${shape}`)}]`, end - begin);
  return { dtype: dtype as FileDType, shape, begin: dataStart + begin, end: dataStart + end };
}

/** Number of elements of a shape; 1 for a scalar's `[]`. */
export const elements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

const isIntegers = (x: unknown): x is number[] => Array.isArray(x) && x.every(Number.isSafeInteger);
/** A tensor in memory, of another realm too. */
export const hostTensor = rule<HostTensor>('a tensor: a dtype, a shape, and as many elements in data', (value) => {
  const { dtype, shape, data } = Object(value) as HostTensor;
  const isOfType = Object.hasOwn(DTYPE_BYTES, dtype) && data?.[Symbol.toStringTag] === ARRAYS[dtype].name;
  return isOfType && isIntegers(shape) && data.length === elements(shape);
});

/**
 * Reads a tensor of a file. Its memory is the caller's. F64 is rounded to F32.
 * @throws BertletError `weights` for a dtype that bertlet has no numbers of
 */
export function readTensor(stored: StoredTensor | undefined, name: string): HostTensor {
  if (!stored) throw inputError('tensor', 'the name of one in the file', preview(name));
  const { dtype, shape, read } = stored;
  const Numbers = Object.hasOwn(ARRAYS, dtype) ? ARRAYS[dtype as keyof typeof ARRAYS] : null;
  if (!Numbers) {
    const known = `dtype ${Object.keys(ARRAYS).join(', ')}`;
    throw fault('weights', `tensor ${preview(name)}`, known, dtype, 'Convert the checkpoint.');
  }
  const data = new Numbers(elements(shape));
  read(new Uint8Array(data.buffer));
  if (dtype === 'F64') return { dtype: 'F32', shape, data: Float32Array.from(data as Float64Array) };
  return { dtype: dtype as DType, shape, data: data as HostTensor['data'] };
}

/**
 * Reads all tensors of a file that is in memory.
 * @throws BertletError `safetensors`; `weights` for a dtype that bertlet has no numbers of
 */
export function readSafetensors(bytes: Uint8Array, file = 'safetensors'): Map<string, HostTensor> {
  check('file', file, string);
  checkArray(file, bytes, 'Uint8Array');
  return new Map([...safetensorsIn(inMemory(file, bytes))].map(([name, one]) => [name, readTensor(one, name)]));
}

/**
 * Converts a float tensor to float32. F32 is returned without a copy; F16 and BF16 are widened, which is exact.
 * @param target where to write it, also F32
 * @throws BertletError `weights` for an integer tensor
 */
export function toFloat32(tensor: HostTensor, name = 'tensor', target?: Float32Array): Float32Array {
  check('name', name, string);
  check(name, tensor, hostTensor);
  const { dtype, data } = tensor;
  if (target !== undefined) checkArray(`${name}: target`, target, 'Float32Array', data.length);
  if (dtype === 'F16') return widenHalves(data as Uint16Array, target);
  if (dtype === 'F32' && !target) return data as Float32Array;
  const values = target ?? new Float32Array(data.length);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  if (dtype === 'F32') values.set(data as Float32Array);
  else if (dtype === 'BF16') for (let i = 0; i < bits.length; i++) bits[i] = (data as Uint16Array)[i]! << 16;
  else throw fault('weights', name, 'F32, F16 or BF16', dtype, 'Convert the checkpoint.');
  return values;
}

/**
 * Rounds to float16, ties to even. The largest float16 is 65504; values from 65520, half a step above it, do not round
 * to any.
 * @throws BertletError `weights` for values outside the range of float16
 */
export function toFloat16(tensor: HostTensor<Float32Array>, name = 'tensor'): HostTensor<Uint16Array> {
  check('name', name, string);
  check(name, tensor, hostTensor);
  const { data, shape } = tensor;
  checkArray(name, data, 'Float32Array');
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
  const halves = new Uint16Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const value = bits[i]!;
    if (Math.abs(data[i]!) >= 65520) {
      throw fault('weights', name, 'values float16 has', data[i], 'Use fp32 or int8.');
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
