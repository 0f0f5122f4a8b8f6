/** The size of a model, as all programs give it: of the file that `bertlet convert` writes, in MB of 2^20 bytes. */
import { tensorShapes } from '../src/checkpoint/config.ts';
import type { Checkpoint, Precision } from '../src/tensor.ts';
import { checkpointBytes, type Embeddings } from './layout.ts';

/** How an int8 file has the embeddings: as the checkpoint does. */
export function embeddingsOf({ config, tensors }: Checkpoint): Embeddings {
  const tables = [...tensorShapes(config).values()].filter(({ kind }) => kind === 'table');
  const dtypes = tables.map(({ fileName }) => tensors.get(fileName)!.dtype); // the first is that of the word embeddings
  if (dtypes[0] === 'I8') return 'I8';
  return dtypes.every((dtype) => dtype === 'F16') ? 'F16' : 'F32';
}

/** Bytes of the checkpoint's file in this precision. */
export const fileBytes = (checkpoint: Checkpoint, precision: Precision): number =>
  checkpointBytes(checkpoint.config, precision, embeddingsOf(checkpoint));

export const megabytes = (bytes: number, digits = 2): string => `${(bytes / 2 ** 20).toFixed(digits)} MB`;

const NAMES = { F32: 'float32', F16: 'float16', I8: 'int8' };
/** The article's line. In float32 and float16 the embeddings are as all else is. */
export const sizeLine = (dtype: 'fp32' | 'fp16' | 'int8', bytes: number, embeddings: Embeddings): string =>
  `${dtype.toUpperCase()} Model Size: ${megabytes(bytes)}${dtype === 'int8' ? `, embeddings in ${NAMES[embeddings]}` : ''}`;
