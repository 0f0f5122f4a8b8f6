/**
 * Reads pytorch_model.bin, the file that `torch.save(state_dict)` writes. The file is a zip archive without
 * compression:
 *
 *   | data/0: a storage | data/1 | ... | data.pkl: a pickle that describes the tensors | directory |   in any order
 *
 * A pickle is a program, and running a stranger's pickle can take over a machine. This reader runs only the opcodes
 * that describe tensors, and refuses every other opcode by name.
 *
 * Sources: PKWARE's APPNOTE 6.3.10 (zip, 4.3.12-4.3.16), Python's pickletools (opcodes), torch/serialization.py.
 */
import { BertletError } from '../errors.ts';
import type { OpenFile } from '../files/index.ts';
import { preview } from '../options.ts';
import { textOf } from '../platform.ts';
import { elements, FILE_DTYPE_BYTES, type FileDType, type TensorEntry } from './safetensors.ts';

const fail = (file: string, message: string): never => {
  throw new BertletError('weights', `${file}: ${message}. Use a model.safetensors, or save the checkpoint anew.`);
};
const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const MOST_BYTES = 4 * 2 ** 20; // of a pickle or a directory; the pickle of bert-large has 40 KB
const MOST_OPCODES = 1e6; // each takes a constant time and memory, so this bounds the stack and the memo as well
const MOST_DIMENSIONS = 8;

/**
 * Finds the tensors of a file: name, dtype, shape and place of each.
 * @throws BertletError `weights` if the file is no such archive, or describes anything but tensors
 */
export function pytorchEntries(from: OpenFile, file: string): Map<string, TensorEntry> {
  const source = partsOf(from);
  const records = zipRecords(source, file);
  const pickles = [...records].filter(([name]) => name === 'data.pkl' || name.endsWith('/data.pkl'));
  const [pickle] = pickles;
  if (!pickle || pickles.length > 1) return fail(file, `expected an archive with a data.pkl, got ${pickles.length}`);
  const [name, { begin, end }] = pickle;
  if (end - begin > MOST_BYTES)
    fail(file, `expected ${preview(name)} of at most ${MOST_BYTES} bytes, got ${end - begin}`);
  const folder = name.slice(0, -'data.pkl'.length);
  const order = records.get(`${folder}byteorder`);
  const endian = order ? textOf(source.read(order.begin, Math.min(order.end, order.begin + 20))) : '';
  if (order && endian !== 'little') fail(file, `expected little-endian numbers, got byteorder ${preview(endian)}`);
  const tensors = new Map<string, TensorEntry>();
  for (const [key, value] of unpickle(source.read(begin, end), file)) {
    if (typeof key !== 'string' || !(value instanceof PickledTensor)) {
      fail(file, `expected tensors by name, got ${preview(key)}: ${preview(value)}`);
    }
    const { storage } = value as PickledTensor;
    tensors.set(key as string, placed(value as PickledTensor, records.get(`${folder}data/${storage}`), key, file));
  }
  return tensors;
}

/** Where a tensor lies: from its first element to its last. A view has others between them, or takes them in another order. */
function placed(tensor: PickledTensor, storage: Place | undefined, key: unknown, file: string): TensorEntry {
  const { dtype, shape, strides, offset } = tensor;
  const bytes = FILE_DTYPE_BYTES[dtype];
  const count = elements(shape);
  const contiguous = shape.every((size, i) => size === 1 || strides[i] === elements(shape.slice(i + 1)));
  const last = shape.reduce((sum, size, i) => sum + (size - 1) * strides[i]!, 0);
  const extent = count === 0 ? 0 : contiguous ? count : last + 1;
  const begin = (storage?.begin ?? 0) + offset * bytes;
  const room = storage ? (storage.end - begin) / bytes : -1;
  if (extent > room || count > room) {
    fail(file, `tensor ${preview(key)}: expected ${Math.max(extent, count) * bytes} bytes of storage, got fewer`);
  }
  const place = { dtype, shape, begin, end: begin + extent * bytes };
  return contiguous || count === 0 ? place : { ...place, strides };
}

interface Place {
  readonly begin: number;
  readonly end: number;
}

/** Finds the content of each file in a zip archive. Compressed files are refused, because torch writes none. */
/** Parts of a file, each in memory of its own. */
const partsOf = (from: OpenFile) => ({
  total: from.size,
  read: (begin: number, end: number) => {
    const bytes = new Uint8Array(end - begin);
    from.read(begin, bytes);
    return bytes;
  },
});

function zipRecords({ total, read }: ReturnType<typeof partsOf>, file: string): Map<string, Place> {
  const tail = read(Math.max(0, total - 22 - 65535), total);
  if (total >= 4 && view(read(0, 4)).getUint32(0, true) !== 0x04034b50) {
    const convert = `python -c "import torch; f = '${file}'; torch.save(torch.load(f, weights_only=True), f)"`;
    const message = `expected a zip archive, got another file. If it is a checkpoint of torch before 1.6: ${convert}`;
    throw new BertletError('weights', `${file}: ${message}`);
  }
  let end = tail.length - 22;
  while (end >= 0 && view(tail).getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) fail(file, 'expected a directory at the end of the archive, got none: the file is cut');
  const number64 = (bytes: Uint8Array, at: number) => Number(view(bytes).getBigUint64(at, true));
  let [count, size, begin] = [10, 12, 16].map((at, i) =>
    i === 0 ? view(tail).getUint16(end + at, true) : view(tail).getUint32(end + at, true),
  ) as [number, number, number];
  if (count === 0xffff || size === 0xffffffff || begin === 0xffffffff) {
    // zip64: a locator of 20 bytes, before the end record, has the position of the 64-bit end record.
    const at = end >= 20 ? number64(tail, end - 20 + 8) : total;
    if (at + 56 > total) fail(file, 'expected a zip64 directory, got none');
    const record = read(at, at + 56);
    [count, size, begin] = [number64(record, 32), number64(record, 40), number64(record, 48)];
  }
  if (begin + size > total || size > MOST_BYTES) fail(file, `expected a directory inside the file, got ${size} bytes`);
  const directory = read(begin, begin + size);
  const records = new Map<string, Place>();
  for (let at = 0, i = 0; i < count; i++) {
    if (at + 46 > size || view(directory).getUint32(at, true) !== 0x02014b50) fail(file, 'its directory is damaged');
    const short = (offset: number) => view(directory).getUint16(at + offset, true);
    const long = (offset: number) => view(directory).getUint32(at + offset, true);
    const [nameLength, extraLength, commentLength] = [short(28), short(30), short(32)];
    const name = textOf(directory.subarray(at + 46, at + 46 + nameLength));
    if (records.has(name)) fail(file, `${preview(name)}: expected one file of this name, got two`);
    if (short(8) & 1) fail(file, `${preview(name)}: expected a file stored as it is, got an encrypted one`);
    if (short(10) !== 0)
      fail(file, `${preview(name)}: expected a file stored as it is, got compression method ${short(10)}`);
    // The extra field of kind 1 has 64-bit values in this order: length, compressed length, offset. A value is present
    // only if its 32-bit field is 0xffffffff.
    let [length, header] = [long(24), long(42)];
    const extra = directory.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength);
    for (let e = 0; e + 4 <= extra.length; e += 4 + view(extra).getUint16(e + 2, true)) {
      if (view(extra).getUint16(e, true) !== 1) continue;
      let from = e + 4;
      const wide = [length, long(20), header].filter((value) => value === 0xffffffff).length;
      if (from + 8 * wide > extra.length) fail(file, `${preview(name)}: its zip64 sizes are cut`);
      if (length === 0xffffffff) [length, from] = [number64(extra, from), from + 8];
      if (long(20) === 0xffffffff) from += 8;
      if (header === 0xffffffff) header = number64(extra, from);
    }
    if (header + 30 > total) fail(file, `${preview(name)}: its place is beyond the end: the file is cut`);
    const local = view(read(header, header + 30)); // the extra field here may have another length than the directory's
    const start = header + 30 + local.getUint16(26, true) + local.getUint16(28, true);
    if (start + length > total) fail(file, `${preview(name)}: its end is beyond the file's: the file is cut`);
    records.set(name, { begin: start, end: start + length });
    at += 46 + nameLength + extraLength + commentLength;
  }
  return records;
}

/** A tensor as the pickle describes it. `offset` counts elements from the start of the storage. */
class PickledTensor {
  readonly dtype: FileDType;
  readonly shape: number[];
  readonly strides: number[];
  readonly storage: string;
  readonly offset: number;
  constructor(dtype: FileDType, shape: number[], strides: number[], storage: string, offset: number) {
    this.dtype = dtype;
    this.shape = shape;
    this.strides = strides;
    this.storage = storage;
    this.offset = offset;
  }
}
/** A Python name that a pickle may refer to. */
class Global {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}
/** The storage classes, and their dtypes. */
const STORAGES: Record<string, FileDType> = {
  'torch FloatStorage': 'F32',
  'torch HalfStorage': 'F16',
  'torch BFloat16Storage': 'BF16',
  'torch CharStorage': 'I8',
  'torch ByteStorage': 'U8',
  'torch IntStorage': 'I32',
  'torch LongStorage': 'I64',
  'torch DoubleStorage': 'F64',
  'torch ShortStorage': 'I16',
  'torch BoolStorage': 'BOOL',
};
/** The only functions that a pickle may call. */
const CALLABLE = ['collections OrderedDict', 'torch._utils _rebuild_tensor_v2', 'torch._utils _rebuild_parameter'];
const MARK = Symbol('mark');

/** Runs a pickle (protocols 2 to 5) that builds a dictionary of tensors. Refuses every other pickle. */
function unpickle(bytes: Uint8Array, file: string): Map<unknown, unknown> {
  const stack: unknown[] = [];
  const memo = new Map<number, unknown>();
  let at = 0;
  const take = (length: number) => {
    if (at + length > bytes.length) fail(file, 'its pickle is cut');
    at += length;
    return view(bytes.subarray(at - length, at));
  };
  const text = (length: number) => textOf(take(length));
  const line = () => {
    const end = bytes.indexOf(10, at);
    if (end < 0) fail(file, 'its pickle is cut');
    const words = text(end - at);
    at++;
    return words;
  };
  const pop = () => (stack.length > 0 ? stack.pop() : fail(file, 'its pickle takes more than it has'));
  const sinceMark = () => {
    const begin = stack.lastIndexOf(MARK);
    if (begin < 0) fail(file, 'its pickle has no mark');
    return stack.splice(begin).slice(1);
  };
  const tuple = (length: number) => stack.push(Array.from({ length }, pop).reverse());
  const setItems = (items: unknown[]) => {
    const map = stack.at(-1);
    if (!(map instanceof Map)) return fail(file, 'its pickle sets items of something else than a dictionary');
    for (let i = 0; i + 1 < items.length; i += 2) map.set(items[i], items[i + 1]);
  };
  const known = (at: number) =>
    stack.push(memo.has(at) ? memo.get(at) : fail(file, 'its pickle recalls what it never kept'));
  const opcodes: Record<number, () => unknown> = {
    128: () => take(1), // PROTO
    40: () => stack.push(MARK),
    125: () => stack.push(new Map()), // EMPTY_DICT
    93: () => stack.push([]), // EMPTY_LIST
    41: () => stack.push([]), // EMPTY_TUPLE
    116: () => stack.push(sinceMark()), // TUPLE
    133: () => tuple(1),
    134: () => tuple(2),
    135: () => tuple(3),
    78: () => stack.push(null),
    136: () => stack.push(true),
    137: () => stack.push(false),
    75: () => stack.push(take(1).getUint8(0)), // BININT1
    77: () => stack.push(take(2).getUint16(0, true)), // BININT2
    74: () => stack.push(take(4).getInt32(0, true)), // BININT
    138: () => stack.push(littleEndian(take(take(1).getUint8(0)))), // LONG1
    71: () => stack.push(take(8).getFloat64(0)), // BINFLOAT
    88: () => stack.push(text(take(4).getUint32(0, true))), // BINUNICODE
    113: () => memo.set(take(1).getUint8(0), stack.at(-1)), // BINPUT
    114: () => memo.set(take(4).getUint32(0, true), stack.at(-1)), // LONG_BINPUT
    104: () => known(take(1).getUint8(0)), // BINGET
    106: () => known(take(4).getUint32(0, true)), // LONG_BINGET
    115: () => setItems([pop(), pop()].reverse()), // SETITEM
    117: () => setItems(sinceMark()), // SETITEMS
    99: () => stack.push(allowed(`${line()} ${line()}`, file)), // GLOBAL
    147: () => stack.push(allowed([pop(), pop()].reverse().filter(isString).join(' '), file)), // STACK_GLOBAL
    140: () => stack.push(text(take(1).getUint8(0))), // SHORT_BINUNICODE
    148: () => memo.set(memo.size, stack.at(-1)), // MEMOIZE
    149: () => take(8), // FRAME
    81: () => stack.push({ storage: pop() }), // BINPERSID
    82: () => stack.push(call(...([pop(), pop()].reverse() as [unknown, unknown]), file)), // REDUCE
    98: () => pop(), // BUILD: drops the attributes of the dictionary (torch's _metadata)
  };
  for (let count = 0; ; count++) {
    const opcode = take(1).getUint8(0);
    if (opcode === 0x2e) break; // STOP
    if (count === MOST_OPCODES) fail(file, `expected a pickle of at most ${MOST_OPCODES} opcodes, got more`);
    const run = opcodes[opcode];
    if (!run) fail(file, `its pickle has the opcode 0x${opcode.toString(16)}, which no tensor needs`);
    run!();
  }
  const result = stack.pop();
  return result instanceof Map ? result : fail(file, 'expected a dictionary of tensors, got something else');
}

const isString = (value: unknown) => typeof value === 'string';

/** An unsigned little-endian integer of any length. */
const littleEndian = (bytes: DataView): number => {
  let value = 0;
  for (let i = bytes.byteLength - 1; i >= 0; i--) value = value * 256 + bytes.getUint8(i);
  return value;
};

/** @throws BertletError `weights` for a Python name that no tensor needs */
function allowed(name: string, file: string): Global {
  if (!CALLABLE.includes(name) && !Object.hasOwn(STORAGES, name))
    fail(file, `its pickle asks for ${name.slice(0, 100)}, which no tensor needs`);
  return new Global(name);
}

/**
 * Calls one of `CALLABLE`. `_rebuild_tensor_v2` takes (storage, offset, shape, stride, ...), where storage is torch's
 * persistent id: ('storage', class, key, device, elements).
 */
function call(callee: unknown, args: unknown, file: string): unknown {
  const name = callee instanceof Global ? callee.name : 'something else';
  if (!Array.isArray(args)) return fail(file, `its pickle calls ${name} with something else than a tuple`);
  if (name === CALLABLE[0] && args.length === 0) return new Map();
  if (name === CALLABLE[2]) return args[0]; // _rebuild_parameter: the tensor of the Parameter
  const [id, offset, shape, stride] = args as [{ storage?: unknown } | null | undefined, ...unknown[]];
  const storage = id?.storage;
  const integers = (value: unknown): value is number[] =>
    Array.isArray(value) && value.length <= MOST_DIMENSIONS && value.every((n) => Number.isSafeInteger(n) && n >= 0);
  const [kind, type, key] = Array.isArray(storage) ? storage : [];
  const dtype = type instanceof Global ? STORAGES[type.name] : undefined;
  const whole = kind === 'storage' && dtype && typeof key === 'string' && integers([offset]);
  if (name !== CALLABLE[1] || !whole || !integers(shape) || !integers(stride) || shape.length !== stride.length) {
    return fail(file, `its pickle calls ${name} in a way that makes no tensor`);
  }
  return new PickledTensor(dtype, shape, stride, key, offset as number);
}
