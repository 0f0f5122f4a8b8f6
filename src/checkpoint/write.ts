/** Writes safetensors files, and computes the size of a file without writing the file. */
import { DTYPE_BYTES, type DType, type HostTensor } from '../runtime.ts';
import { elements } from './safetensors.ts';

type Entry = Pick<HostTensor, 'dtype' | 'shape'>;

/** Sorts tensors as Hugging Face's writer does: widest dtype first, so that every tensor is aligned, then by name. */
function layout<E extends Entry>(tensors: Iterable<readonly [string, E]>): [string, E][] {
  const width = ({ dtype }: Entry) => DTYPE_BYTES[dtype];
  return [...tensors].sort(([a, x], [b, y]) => width(y) - width(x) || (a < b ? -1 : 1)) as [string, E][];
}

const byteLength = ({ dtype, shape }: { dtype: DType; shape: readonly number[] }) =>
  elements(shape) * DTYPE_BYTES[dtype];

/** The header: 8 bytes of length, then the JSON, padded with spaces so that the data begins at a multiple of 8. */
function header(tensors: [string, Entry][], metadata: Record<string, string>): Uint8Array {
  let end = 0;
  const json = new Map<string, unknown>(Object.keys(metadata).length > 0 ? [['__metadata__', metadata]] : []);
  for (const [name, tensor] of tensors) {
    const begin = end;
    end += byteLength(tensor);
    json.set(name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [begin, end] });
  }
  const entries = [...json].map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`);
  const text = new TextEncoder().encode(`{${entries.join(',')}}`);
  const bytes = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(bytes.length - 8), true);
  bytes.set(text, 8);
  return bytes;
}

/** Plan of a file: its first bytes (`head`), the place of each tensor, and its size. */
export interface FilePlan {
  readonly head: Uint8Array;
  readonly places: ReadonlyMap<string, { dtype: DType; begin: number; end: number }>;
  readonly total: number;
}

/** Plans a file with tensors of these dtypes and shapes. The order of `tensors` does not matter. */
export function planSafetensors(
  tensors: Iterable<readonly [string, Entry]>,
  metadata: Record<string, string> = {},
): FilePlan {
  const ordered = layout(tensors);
  const head = header(ordered, metadata);
  const places = new Map<string, { dtype: DType; begin: number; end: number }>();
  let end = head.length;
  for (const [name, tensor] of ordered) {
    const begin = end;
    end += byteLength(tensor);
    places.set(name, { dtype: tensor.dtype, begin, end });
  }
  return { head, places, total: end };
}

/** Makes a safetensors file in memory. */
export function writeSafetensors(
  tensors: Iterable<readonly [string, HostTensor]>,
  metadata: Record<string, string> = {},
): Uint8Array {
  const all = new Map(tensors);
  const { head, places, total } = planSafetensors(all, metadata);
  const bytes = new Uint8Array(total);
  bytes.set(head);
  for (const [name, { begin }] of places) {
    const { data } = all.get(name)!;
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), begin);
  }
  return bytes;
}

/** Size in bytes of the file that `writeSafetensors` would make from tensors of these dtypes and shapes. */
export const safetensorsBytes = (tensors: Iterable<readonly [string, Entry]>): number => planSafetensors(tensors).total;
