/** Writes safetensors files, or plans one that is written in parts. */
import { check, object, string } from '../options.ts';
import { DTYPE_BYTES, type DType, type HostTensor } from '../runtime.ts';
import { elements, hostTensor } from './safetensors.ts';

type Entry = readonly [name: string, Pick<HostTensor, 'dtype' | 'shape'>];
type Tensors = ReadonlyMap<string, HostTensor> | readonly (readonly [name: string, HostTensor])[];

/**
 * Plans a file with tensors of these dtypes and shapes. Their order does not matter: they are sorted as Hugging Face's
 * writer does, widest dtype first, so that every tensor is aligned, then by name. `head` is 8 bytes of the header's length
 * and the header, padded with spaces so that the data begins at a multiple of 8; places count from the end of `head`.
 */
export function planSafetensors(tensors: Iterable<Entry>, metadata: Record<string, string> = {}) {
  const width = ({ dtype }: Entry[1]) => DTYPE_BYTES[dtype];
  const sorted = [...tensors].sort(([a, x], [b, y]) => width(y) - width(x) || (a < b ? -1 : 1));
  const places = new Map<string, { dtype: DType; begin: number; end: number }>();
  const json = Object.keys(metadata).length > 0 ? [`"__metadata__":${JSON.stringify(metadata)}`] : [];
  let end = 0;
  for (const [name, { dtype, shape }] of sorted) {
    const begin = end;
    end += elements(shape) * DTYPE_BYTES[dtype];
    places.set(name, { dtype, begin, end });
    json.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`);
  }
  const text = new TextEncoder().encode(`{${json.join(',')}}`);
  const head = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(head.length - 8), true);
  head.set(text, 8);
  return { head, places, total: head.length + end };
}

/** Makes a safetensors file in memory. */
export function writeSafetensors(tensors: Tensors, metadata: Record<string, string> = {}): Uint8Array<ArrayBuffer> {
  const list = typeof tensors?.entries === 'function' ? [...tensors] : [null];
  for (const one of list) {
    check('the name of a tensor', one?.[0], string);
    check(`tensor ${one![0]}`, one![1], hostTensor);
  }
  check('metadata', metadata, object);
  for (const text of Object.values(metadata)) check('metadata', text, string);
  const all = new Map(tensors);
  const { head, places, total } = planSafetensors(all, metadata);
  const bytes = new Uint8Array(total);
  bytes.set(head);
  for (const [name, { begin }] of places) {
    const { data } = all.get(name)!;
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), head.length + begin);
  }
  return bytes;
}
