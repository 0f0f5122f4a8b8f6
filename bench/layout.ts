/** The contents and the size of a checkpoint file in each precision, computed without writing the file. */

import { tensorShapes } from '../src/checkpoint/config.ts';
import { planSafetensors } from '../src/checkpoint/write.ts';
import type { BertConfig, HostTensor, Precision } from '../src/tensor.ts';

type Entry = readonly [name: string, Pick<HostTensor, 'dtype' | 'shape'>];
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
  return [...tensorShapes(config)].flatMap(([name, { fileName, shape, kind }]): Entry[] => {
    const float = precision === 'fp16' || (isInt8 && kind === 'table' && embeddings === 'F16') ? 'F16' : 'F32';
    const linear = kind === 'linear';
    const int8 = isInt8 && (linear || (name.endsWith('.word_embeddings.weight') && embeddings === 'I8'));
    if (!int8) return [[fileName, { dtype: float, shape }]];
    const scales = linear && precision === 'torch' ? [1] : [shape[0]!, 1];
    return [
      [fileName, { dtype: 'I8', shape }],
      [`${fileName}_scale`, { dtype: 'F32', shape: scales }],
    ];
  });
}

/** Size in bytes of a model's safetensors file in this precision. */
export const checkpointBytes = (config: BertConfig, precision: Precision, embeddings?: Embeddings): number =>
  planSafetensors(checkpointLayout(config, precision, embeddings)).total;
