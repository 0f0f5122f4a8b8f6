/** What a checkpoint file of each precision holds, without making it. */
import type { Tensor } from '../backend.ts';
import type { BertConfig } from '../bert.ts';
import { tensorShapes } from './config.ts';
import type { Precision } from './load.ts';
import { safetensorsBytes } from './write.ts';

/**
 * Names, dtypes and shapes of a model's file. int8 has the `compressed-tensors` names: `X.weight` I8 [out, in] and
 * `X.weight_scale` F32, [1] for `torch` and [out, 1] for `accurate`; all that is no linear's weight stays F32.
 */
export function checkpointLayout(
  config: BertConfig,
  precision: Precision,
): [string, Pick<Tensor, 'dtype' | 'shape'>][] {
  return [...tensorShapes(config)].flatMap(([name, { shape, linear }]): [string, Pick<Tensor, 'dtype' | 'shape'>][] =>
    precision === 'fp32' || precision === 'fp16' || !linear
      ? [[name, { dtype: precision === 'fp16' && linear ? 'F16' : 'F32', shape }]]
      : [
          [name, { dtype: 'I8', shape }],
          [`${name}_scale`, { dtype: 'F32', shape: precision === 'torch' ? [1] : [shape[0]!, 1] }],
        ],
  );
}

/** Bytes of the safetensors file of a model in this precision. */
export const checkpointBytes = (config: BertConfig, precision: Precision): number =>
  safetensorsBytes(checkpointLayout(config, precision));
