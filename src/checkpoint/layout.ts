/** The contents and the size of a checkpoint file in each precision, computed without writing the file. */

import type { BertConfig } from '../bert.ts';
import { tensorShapes, WORD_EMBEDDINGS } from './config.ts';
import type { Precision } from './precision.ts';
import { type Entry, safetensorsBytes } from './write.ts';

export type Embeddings = 'F32' | 'F16' | 'I8';

/**
 * Names, dtypes and shapes of the tensors in a checkpoint file:
 *
 *   precision   a linear's weight X.weight                               embeddings      all other tensors
 *   fp32        F32 [out, in]                                            F32             F32
 *   fp16        F16 [out, in]                                            F16             F16
 *   torch       I8 [out, in], X.weight_scale F32 [1]                     `embeddings`    F32
 *   accurate    I8 [out, in], X.weight_scale F32 [out, 1]                `embeddings`    F32
 *
 * The names of the scales are those of the library compressed-tensors. I8 is only for the word embeddings [vocab, hidden],
 * which then have scales F32 [vocab, 1].
 * @param embeddings dtype of the embedding tables of an int8 checkpoint
 */
export function checkpointLayout(config: BertConfig, precision: Precision, embeddings: Embeddings = 'F32'): Entry[] {
  const isInt8 = precision !== 'fp32' && precision !== 'fp16';
  return [...tensorShapes(config)].flatMap(([name, { own, shape, linear, table }]): Entry[] => {
    const float = precision === 'fp16' || (isInt8 && table && embeddings === 'F16') ? 'F16' : 'F32';
    const int8 = isInt8 && (linear || (name === WORD_EMBEDDINGS && embeddings === 'I8'));
    if (!int8) return [[own, { dtype: float, shape }]];
    const scales = linear && precision === 'torch' ? [1] : [shape[0]!, 1];
    return [
      [own, { dtype: 'I8', shape }],
      [`${own}_scale`, { dtype: 'F32', shape: scales }],
    ];
  });
}

/** Size in bytes of a model's safetensors file in this precision. */
export const checkpointBytes = (config: BertConfig, precision: Precision, embeddings?: Embeddings): number =>
  safetensorsBytes(checkpointLayout(config, precision, embeddings));
