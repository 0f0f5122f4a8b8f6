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
import { fault } from '../errors.ts';
import { type OpenFile, readPart } from '../files/index.ts';
import { isObject, preview } from '../options.ts';
import { textOf } from '../platform.ts';
import { elements, FILE_DTYPE_BYTES, type FileDType, type StoredTensor } from './safetensors.ts';

const ADVICE = 'Use a model.safetensors, or save the checkpoint anew.';
const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const MAX_ARCHIVE = 2 ** 32 - 1; // bytes: larger ones need zip64; no model that bertlet runs has as many
const MAX_BYTES = 4 * 2 ** 20; // of a pickle or a directory; the pickle of bert-large has 40 KB
const MAX_OPCODES = 1e6; // each takes a constant time and memory, so this bounds the stack and the memo as well
const MAX_DIMENSIONS = 8;

/** Throws the error of an archive that torch does not write. */
function refuse(file: string, expected: string, got: unknown, advice = ADVICE): never {
  throw fault('weights', file, expected, got, advice);
}

/**
 * Finds the tensors of a file.
 * @throws BertletError `weights` if the file is no such archive, or describes anything but tensors
 */
export function pytorchTensorsIn(file: OpenFile): Map<string, StoredTensor> {
  const { name } = file;
  const records = zipRecords(file);
  const pickles = [...records].filter(([path]) => path === 'data.pkl' || path.endsWith('/data.pkl'));
  const [pickle] = pickles;
  if (!pickle || pickles.length > 1) return refuse(name, 'an archive with a data.pkl', pickles.length);
  const [path, { begin, length }] = pickle;
  if (length > MAX_BYTES) refuse(name, `${preview(path)} of at most ${MAX_BYTES} bytes`, length);
  const folder = path.slice(0, -'data.pkl'.length);
  const order = records.get(`${folder}byteorder`);
  const endian = order ? textOf(readPart(file, order.begin, Math.min(order.length, 20))) : 'little';
  if (endian !== 'little') refuse(name, 'little-endian numbers', `byteorder ${preview(endian)}`);
  const tensors = new Map<string, StoredTensor>();
  for (const [key, value] of unpickle(readPart(file, begin, length), name)) {
    if (typeof key !== 'string' || !isObject(value))
      return refuse(name, 'tensors by name', `${preview(key)}: ${preview(value)}`);
    const tensor = value as unknown as PickledTensor; // no opcode makes another object
    tensors.set(key, stored(file, key, tensor, records.get(`${folder}data/${tensor.storage}`)));
  }
  return tensors;
}

/** Finds the bytes of a tensor, from its first element to its last. A view has others between them, or another order. */
function stored(file: OpenFile, name: string, tensor: PickledTensor, storage?: Place): StoredTensor {
  const { dtype, shape, strides, offset } = tensor;
  const bytes = FILE_DTYPE_BYTES[dtype];
  const count = elements(shape);
  const contiguous = shape.every((size, i) => size === 1 || strides[i] === elements(shape.slice(i + 1)));
  const last = shape.reduce((sum, size, i) => sum + (size - 1) * strides[i]!, 0);
  const extent = contiguous || count === 0 ? count : last + 1;
  const room = storage ? storage.length / bytes - offset : -1;
  if (extent > room || count > room)
    refuse(`${file.name}: tensor ${preview(name)}`, `${Math.max(extent, count) * bytes} bytes of storage`, 'fewer');
  const begin = storage!.begin + offset * bytes;
  const read = (target: Uint8Array) => {
    if (contiguous || count === 0) file.read(begin, target);
    else putInOrder(readPart(file, begin, extent * bytes), tensor, target);
  };
  return { dtype, shape, read };
}

/** Copies the elements of a view, such as a transposed matrix, row by row: its last dimension varies fastest. */
function putInOrder(all: Uint8Array, { dtype, shape, strides }: PickledTensor, target: Uint8Array): void {
  const bytes = FILE_DTYPE_BYTES[dtype];
  let to = 0;
  const copy = (from: number, axis: number) => {
    if (axis < shape.length) for (let i = 0; i < shape[axis]!; i++) copy(from + i * strides[axis]!, axis + 1);
    else for (let i = 0; i < bytes; i++) target[to++] = all[from * bytes + i]!;
  };
  copy(0, 0);
}

/** Where the content of a file of the archive lies. */
type Place = { readonly begin: number; readonly length: number };

/** Finds the content of each file in a zip archive. Compressed files are refused, because torch writes none. */
function zipRecords(file: OpenFile): Map<string, Place> {
  const { name, size } = file;
  if (size > MAX_ARCHIVE) refuse(name, `at most ${MAX_ARCHIVE} bytes`, size);
  if (size >= 4 && view(readPart(file, 0, 4)).getUint32(0, true) !== 0x04034b50) {
    const convert = `python -c "import torch; f = '${name}'; torch.save(torch.load(f, weights_only=True), f)"`;
    refuse(name, 'a zip archive', 'another file', `If it is a checkpoint of torch before 1.6: ${convert}`);
  }
  const tail = view(readPart(file, Math.max(0, size - 22 - 65535), Math.min(size, 22 + 65535)));
  let end = tail.byteLength - 22;
  while (end >= 0 && tail.getUint32(end, true) !== 0x06054b50) end--;
  if (end < 0) refuse(name, 'a directory at the end of the archive', 'none: the file is cut');
  const count = tail.getUint16(end + 10, true);
  const bytes = tail.getUint32(end + 12, true);
  const begin = tail.getUint32(end + 16, true);
  if (begin + bytes > size || bytes > MAX_BYTES) refuse(name, 'a directory inside the file', `${bytes} bytes`);
  const directory = readPart(file, begin, bytes);
  const records = new Map<string, Place>();
  for (let at = 0, i = 0; i < count; i++) {
    if (at + 46 > bytes || view(directory).getUint32(at, true) !== 0x02014b50)
      refuse(name, 'a directory of files', 'a damaged one');
    const short = (offset: number) => view(directory).getUint16(at + offset, true);
    const long = (offset: number) => view(directory).getUint32(at + offset, true);
    const path = textOf(directory.subarray(at + 46, at + 46 + short(28)));
    const what = `${name}: ${preview(path)}`;
    if (records.has(path)) refuse(what, 'one file of this name', 'two');
    if (short(8) & 1) refuse(what, 'a file stored as it is', 'an encrypted one');
    if (short(10) !== 0) refuse(what, 'a file stored as it is', `compression method ${short(10)}`);
    const [length, header] = [long(24), long(42)];
    if (header + 30 > size) refuse(what, 'a place inside the archive', 'one beyond its end: the file is cut');
    const local = view(readPart(file, header, 30)); // the extra field here may have another length than the directory's
    const start = header + 30 + local.getUint16(26, true) + local.getUint16(28, true);
    if (start + length > size) refuse(what, 'an end inside the archive', 'one beyond its end: the file is cut');
    records.set(path, { begin: start, length });
    at += 46 + short(28) + short(30) + short(32);
  }
  return records;
}

/** A tensor as the pickle describes it. `offset` counts elements from the start of the storage. */
interface PickledTensor {
  readonly dtype: FileDType;
  readonly shape: number[];
  readonly strides: number[];
  readonly storage: string;
  readonly offset: number;
}
/** The storage classes, and their dtypes. */
const STORAGES = new Map<unknown, FileDType>([
  ['torch FloatStorage', 'F32'],
  ['torch HalfStorage', 'F16'],
  ['torch BFloat16Storage', 'BF16'],
  ['torch CharStorage', 'I8'],
  ['torch ByteStorage', 'U8'],
  ['torch IntStorage', 'I32'],
  ['torch LongStorage', 'I64'],
  ['torch DoubleStorage', 'F64'],
  ['torch ShortStorage', 'I16'],
  ['torch BoolStorage', 'BOOL'],
]);
/** The only functions that a pickle may call. */
const CALLABLE = ['collections OrderedDict', 'torch._utils _rebuild_tensor_v2', 'torch._utils _rebuild_parameter'];
const [DICTIONARY, TENSOR, PARAMETER] = CALLABLE;
const MARK = Symbol('mark');

/** The machine that runs a pickle: its place in the bytes, its stack and its memo. */
function machineOf(bytes: Uint8Array, file: string) {
  const stack: unknown[] = [];
  const memo = new Map<number, unknown>();
  let at = 0;
  const refuse = (what: string): never => {
    throw fault('weights', file, 'a pickle that describes tensors alone', `one that ${what}`, ADVICE);
  };
  const take = (length: number) => {
    at += length;
    return at > bytes.length ? refuse('is cut') : view(bytes.subarray(at - length, at));
  };
  const byte = () => take(1).getUint8(0);
  const uint32 = () => take(4).getUint32(0, true);
  const text = (length: number) => textOf(take(length));
  const line = () => {
    const end = bytes.indexOf(10, at);
    return end < 0 ? refuse('is cut') : text(end + 1 - at).slice(0, -1);
  };
  /** Takes the last values from the stack, in the order in which they came. */
  const pop = (count: number) =>
    stack.length < count ? refuse('takes more than it has') : stack.splice(stack.length - count);
  const popToMark = () => {
    const begin = stack.lastIndexOf(MARK);
    return begin < 0 ? refuse('has no mark') : stack.splice(begin).slice(1);
  };
  const setItems = (items: unknown[]) => {
    const map = stack.at(-1);
    if (!(map instanceof Map)) return refuse('sets items of something else than a dictionary');
    for (let i = 0; i + 1 < items.length; i += 2) map.set(items[i], items[i + 1]);
  };
  const write = (slot: number) => void memo.set(slot, stack.at(-1));
  const recall = (slot: number) =>
    memo.has(slot) ? memo.get(slot) : refuse(`reads memo slot ${slot}, which it never wrote`);
  return { stack, memo, refuse, take, byte, uint32, text, line, pop, popToMark, setItems, write, recall };
}
type Machine = ReturnType<typeof machineOf>;

/** The opcodes that describe tensors. A function's value is pushed, unless it is undefined. */
const OPCODES: Readonly<Record<number, (machine: Machine) => unknown>> = {
  128: (m) => void m.take(1), // PROTO
  40: () => MARK,
  125: () => new Map(), // EMPTY_DICT
  93: () => [], // EMPTY_LIST
  41: () => [], // EMPTY_TUPLE
  116: (m) => m.popToMark(), // TUPLE
  133: (m) => m.pop(1), // TUPLE1
  134: (m) => m.pop(2),
  135: (m) => m.pop(3),
  78: () => null,
  136: () => true,
  137: () => false,
  75: (m) => m.byte(), // BININT1
  77: (m) => m.take(2).getUint16(0, true), // BININT2
  74: (m) => m.take(4).getInt32(0, true), // BININT
  71: (m) => m.take(8).getFloat64(0), // BINFLOAT
  88: (m) => m.text(m.uint32()), // BINUNICODE
  140: (m) => m.text(m.byte()), // SHORT_BINUNICODE
  113: (m) => m.write(m.byte()), // BINPUT
  114: (m) => m.write(m.uint32()), // LONG_BINPUT
  148: (m) => m.write(m.memo.size), // MEMOIZE
  104: (m) => m.recall(m.byte()), // BINGET
  106: (m) => m.recall(m.uint32()), // LONG_BINGET
  115: (m) => m.setItems(m.pop(2)), // SETITEM
  117: (m) => m.setItems(m.popToMark()), // SETITEMS
  99: (m) => allowed([m.line(), m.line()], m), // GLOBAL
  147: (m) => allowed(m.pop(2), m), // STACK_GLOBAL
  149: (m) => void m.take(8), // FRAME
  81: () => undefined, // BINPERSID: the tuple on the stack is a storage
  82: (m) => call(m.pop(2), m), // REDUCE
  98: (m) => void m.pop(1), // BUILD: drops the attributes of the dictionary (torch's _metadata)
};
const STOP = 46;

/** Runs a pickle (protocols 2 to 5) that builds a dictionary of tensors. Refuses every other pickle. */
function unpickle(bytes: Uint8Array, file: string): Map<unknown, unknown> {
  const machine = machineOf(bytes, file);
  for (let count = 0; ; count++) {
    const opcode = machine.byte();
    if (opcode === STOP) break;
    if (count === MAX_OPCODES) refuse(file, `a pickle of at most ${MAX_OPCODES} opcodes`, 'more');
    const run = OPCODES[opcode];
    if (!run) return machine.refuse(`has the opcode 0x${opcode.toString(16)}`);
    const value = run(machine);
    if (value !== undefined) machine.stack.push(value);
  }
  const result = machine.stack.pop();
  return result instanceof Map ? result : refuse(file, 'a dictionary of tensors', preview(result));
}

/**
 * A Python name, as its text: it stands for nothing but what `call` makes of it.
 * @throws BertletError `weights` for one that no tensor needs
 */
function allowed(words: unknown[], machine: Machine): string {
  const name = words.filter((word) => typeof word === 'string').join(' ');
  if (!CALLABLE.includes(name) && !STORAGES.has(name)) machine.refuse(`asks for ${name.slice(0, 100)}`);
  return name;
}

/**
 * Calls a function. `_rebuild_tensor_v2` takes (storage, offset, shape, stride, ...), where storage is torch's
 * persistent id: ('storage', class, key, device, elements).
 */
function call([callee, args]: unknown[], machine: Machine): unknown {
  const [first, offset, shape, strides] = Array.isArray(args) ? args : [];
  if (callee === DICTIONARY && first === undefined) return new Map();
  if (callee === PARAMETER) return first ?? null; // the tensor of the Parameter
  const integers = (value: unknown) =>
    Array.isArray(value) && value.length <= MAX_DIMENSIONS && value.every((n) => Number.isSafeInteger(n) && n >= 0);
  const [kind, type, storage] = Array.isArray(first) ? first : [];
  const dtype = STORAGES.get(type);
  const whole = callee === TENSOR && kind === 'storage' && dtype && typeof storage === 'string' && integers([offset]);
  if (!whole || !integers(shape) || !integers(strides) || shape.length !== strides.length)
    return machine.refuse(
      `calls ${CALLABLE.find((name) => name === callee) ?? 'something else'} in a way that makes no tensor`,
    );
  return { dtype, shape, strides, storage, offset } satisfies PickledTensor;
}
