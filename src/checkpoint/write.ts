/** Writes safetensors, and tells how large a file would be without writing it. */
import { DTYPE_BYTES, type DType, type Tensor } from '../backend.ts';
import { elements } from './safetensors.ts';

type Entry = Pick<Tensor, 'dtype' | 'shape'>;

/** Widest dtype first, then by name: what Hugging Face's writer does, so that every tensor is aligned. */
function layout<E extends Entry>(tensors: Iterable<readonly [string, E]>): [string, E][] {
  const width = ({ dtype }: Entry) => DTYPE_BYTES[dtype];
  return [...tensors].sort(([a, x], [b, y]) => width(y) - width(x) || (a < b ? -1 : 1)) as [string, E][];
}

const byteLength = ({ dtype, shape }: { dtype: DType; shape: readonly number[] }) =>
  elements(shape) * DTYPE_BYTES[dtype];

/** The 8 bytes of length and the JSON, padded with spaces so that the data begins at a multiple of 8. */
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

/** A safetensors file in memory. The same tensors give the same bytes, whatever their order. */
export function writeSafetensors(
  tensors: Iterable<readonly [string, Tensor]>,
  metadata: Record<string, string> = {},
): Uint8Array {
  const ordered = layout(tensors);
  const head = header(ordered, metadata);
  const bytes = new Uint8Array(head.length + ordered.reduce((sum, [, tensor]) => sum + byteLength(tensor), 0));
  bytes.set(head);
  let at = head.length;
  for (const [, { data }] of ordered) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}

/** Size in bytes of the file that `writeSafetensors` would make of tensors of these dtypes and shapes. */
export function safetensorsBytes(tensors: Iterable<readonly [string, Entry]>): number {
  const ordered = layout(tensors);
  return header(ordered, {}).length + ordered.reduce((sum, [, tensor]) => sum + byteLength(tensor), 0);
}
