/** What a checkpoint file of each precision holds, without making it. */

import type { BertConfig } from '../bert.ts';
import type { HostTensor } from '../runtime.ts';
import { tensorShapes, WORD_EMBEDDINGS } from './config.ts';
import type { Precision } from './load.ts';
import { safetensorsBytes } from './write.ts';

type Entry = [name: string, Pick<HostTensor, 'dtype' | 'shape'>];

/**
 * Names, dtypes and shapes of a model's file. In fp16 all is F16. int8 has the `compressed-tensors` names: `X.weight` I8
 * [out, in] and `X.weight_scale` F32, [1] for `torch` and [out, 1] for `accurate`; all that is no linear's weight stays
 * F32, but for the word embeddings where they are asked for in int8, with a scale for each row.
 */
export function checkpointLayout(config: BertConfig, precision: Precision, int8Embeddings = false): Entry[] {
  return [...tensorShapes(config)].flatMap(([name, { shape, linear }]): Entry[] => {
    const float = precision === 'fp16' ? 'F16' : 'F32';
    const int8 = linear ? float === 'F32' && precision !== 'fp32' : int8Embeddings && name === WORD_EMBEDDINGS;
    if (!int8) return [[name, { dtype: float, shape }]];
    const scales = linear && precision === 'torch' ? [1] : [shape[0]!, 1];
    return [
      [name, { dtype: 'I8', shape }],
      [`${name}_scale`, { dtype: 'F32', shape: scales }],
    ];
  });
}

/** Bytes of the safetensors file of a model in this precision. */
export const checkpointBytes = (config: BertConfig, precision: Precision, int8Embeddings = false): number =>
  safetensorsBytes(checkpointLayout(config, precision, int8Embeddings));
