/** A BERT of a given shape with seeded random weights: what the benchmarks time. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { normal } from '../kernels/op.ts';
import { tensorShapes } from '../src/checkpoint/config.ts';
import type { Precision } from '../src/tensor.ts';
import {
  Bert,
  type BertConfig,
  type Device,
  type HostTensor,
  type LinearWeight,
  quantizeWeight,
  Runtime,
  toFloat16,
  type WeightForm,
  type Weights,
  writeSafetensors,
} from '../src/tensor.ts';

/**
 * The largest weight of a linear in standard deviations: the median of the 36 linears in the embedded checkpoint's layers
 * (5.2 to 10.3). It decides how small int8 makes the others in `torch`, and that how fast the grouped product is. The
 * largest of a row, which decides in `accurate`, is 3.4 there, much as of normal numbers.
 */
const LARGEST = 7.1;

/**
 * Seeded random tensors of a model, of this standard deviation, the largest of each linear `LARGEST` of it. One tensor of
 * each shape is made, for all that have it.
 */
function randomTensors(config: BertConfig, precision: Precision, size = 0.02): (name: string) => LinearWeight {
  const shapes = tensorShapes(config);
  const made = new Map<string, LinearWeight>();
  return (name) => {
    const { shape, kind } = shapes.get(name)!;
    const linear = kind === 'linear';
    const mean = name.endsWith('LayerNorm.weight') ? 1 : 0;
    const key = `${shape} ${linear} ${mean}`;
    if (!made.has(key)) {
      const weight = normal(shape, 7, size, mean);
      if (linear) weight.data[0] = LARGEST * size;
      if (!linear || precision === 'fp32') made.set(key, weight);
      else made.set(key, precision === 'fp16' ? toFloat16(weight) : quantizeWeight(weight, precision));
    }
    return made.get(key)!;
  };
}

/** The weights that are those tensors. */
export function randomWeights(config: BertConfig, precision: Precision, size?: number): Weights {
  const tensorOf = randomTensors(config, precision, size);
  return {
    describe: (name) => tensorOf(name) as WeightForm,
    fill: (name, target, scale) => {
      const tensor = tensorOf(name);
      target.set(tensor.data);
      if ('scale' in tensor) scale!.set(tensor.scale);
    },
  };
}

/** Seeded ids. */
export const randomIds = (tokens: number, { vocab }: BertConfig): Int32Array =>
  Int32Array.from({ length: tokens }, (_, i) => (1000 + i * 7919) % vocab);

/** A model on a device: its forward of so many seeded ids. */
export function forwardOf(device: Device, config: BertConfig, weights: Weights) {
  const bert = new Bert(new Runtime(device), config, weights);
  return (tokens: number) => bert.forward(randomIds(tokens, config), new Int32Array(tokens));
}

/**
 * A checkpoint of this shape in a temporary folder, in float32, with a made-up vocabulary of its size. `remove` deletes
 * it, and so does the end of this process.
 */
export function randomCheckpoint(config: BertConfig): { folder: string; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'bertlet-'));
  const remove = () => {
    process.off('exit', remove);
    rmSync(folder, { recursive: true, force: true });
  };
  process.once('exit', remove);
  const tensorOf = randomTensors(config, 'fp32');
  const tensors = [...tensorShapes(config).keys()].map((name) => [name, tensorOf(name) as HostTensor] as const);
  writeFileSync(join(folder, 'model.safetensors'), writeSafetensors(tensors));
  const { vocab, hidden, layers, heads, intermediate, positions, types, eps } = config;
  const json = {
    ...{ model_type: 'bert', vocab_size: vocab, hidden_size: hidden, num_hidden_layers: layers },
    ...{ num_attention_heads: heads, intermediate_size: intermediate, max_position_embeddings: positions },
    ...{ type_vocab_size: types, layer_norm_eps: eps },
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(json));
  const special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
  const words = Array.from({ length: vocab }, (_, i) => special[i] ?? `word${i}`);
  writeFileSync(join(folder, 'vocab.txt'), words.join('\n'));
  writeFileSync(join(folder, 'tokenizer_config.json'), '{"do_lower_case":false}');
  return { folder, remove };
}
