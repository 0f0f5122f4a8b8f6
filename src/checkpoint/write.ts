/** Writes safetensors files, and computes the size of a file without writing the file. */
import { DTYPE_BYTES, type DType, type HostTensor } from '../runtime.ts';
import { elements } from './safetensors.ts';

export type Entry = readonly [name: string, Pick<HostTensor, 'dtype' | 'shape'>];

/** Sorts tensors as Hugging Face's writer does: widest dtype first, so that every tensor is aligned, then by name. */
function inFileOrder(tensors: Iterable<Entry>): Entry[] {
  return [...tensors].sort(([a, x], [b, y]) => DTYPE_BYTES[y.dtype] - DTYPE_BYTES[x.dtype] || (a < b ? -1 : 1));
}

/** Plan of a file: its first bytes (`head`), the place of each tensor, and its size. */
export interface FilePlan {
  readonly head: Uint8Array;
  readonly places: ReadonlyMap<string, { dtype: DType; begin: number; end: number }>;
  readonly total: number;
}

/**
 * Plans a file with tensors of these dtypes and shapes. The order of `tensors` does not matter. `head` is 8 bytes of the
 * header's length and the header, padded with spaces so that the data begins at a multiple of 8.
 */
export function planSafetensors(tensors: Iterable<Entry>, metadata: Record<string, string> = {}): FilePlan {
  const places: { name: string; dtype: DType; begin: number; end: number }[] = [];
  const entries = Object.keys(metadata).length > 0 ? [`"__metadata__":${JSON.stringify(metadata)}`] : [];
  let end = 0;
  for (const [name, { dtype, shape }] of inFileOrder(tensors)) {
    const begin = end;
    end += elements(shape) * DTYPE_BYTES[dtype];
    places.push({ name, dtype, begin, end });
    entries.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`);
  }
  const text = new TextEncoder().encode(`{${entries.join(',')}}`);
  const head = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(head.length - 8), true);
  head.set(text, 8);
  const { length } = head;
  const placed = places.map(
    ({ name, dtype, begin, end }) => [name, { dtype, begin: length + begin, end: length + end }] as const,
  );
  return { head, places: new Map(placed), total: length + end };
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
export const safetensorsBytes = (tensors: Iterable<Entry>): number => planSafetensors(tensors).total;
