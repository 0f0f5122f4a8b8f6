/** The contents and the size of a checkpoint file in each precision, computed without writing the file. */

import type { BertConfig } from '../bert.ts';
import type { HostTensor } from '../runtime.ts';
import { tensorShapes, WORD_EMBEDDINGS } from './config.ts';
import type { Precision } from './load.ts';
import { safetensorsBytes } from './write.ts';

type Entry = [name: string, Pick<HostTensor, 'dtype' | 'shape'>];

/**
 * Names, dtypes and shapes of the tensors in a checkpoint file:
 *
 *   precision   a linear's weight X.weight                               all other tensors
 *   fp32        F32 [out, in]                                            F32
 *   fp16        F16 [out, in]                                            F16
 *   torch       I8 [out, in], X.weight_scale F32 [1]                     F32
 *   accurate    I8 [out, in], X.weight_scale F32 [out, 1]                F32
 *
 * The names of the scales are those of the library compressed-tensors. With `int8Embeddings`, the word embeddings are
 * I8 [vocab, hidden] with scales F32 [vocab, 1] in both int8 precisions.
 */
export function checkpointLayout(config: BertConfig, precision: Precision, int8Embeddings = false): Entry[] {
  return [...tensorShapes(config)].flatMap(([name, { own, shape, linear }]): Entry[] => {
    const float = precision === 'fp16' ? 'F16' : 'F32';
    const int8 = linear ? float === 'F32' && precision !== 'fp32' : int8Embeddings && name === WORD_EMBEDDINGS;
    if (!int8) return [[own, { dtype: float, shape }]];
    const scales = linear && precision === 'torch' ? [1] : [shape[0]!, 1];
    return [
      [own, { dtype: 'I8', shape }],
      [`${own}_scale`, { dtype: 'F32', shape: scales }],
    ];
  });
}

/** Size in bytes of a model's safetensors file in this precision. */
export const checkpointBytes = (config: BertConfig, precision: Precision, int8Embeddings = false): number =>
  safetensorsBytes(checkpointLayout(config, precision, int8Embeddings));
