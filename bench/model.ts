/** A BERT of a given shape with seeded random weights: what the benchmarks time. */
import { normal } from '../kernels/op.ts';
import type { Backend, LinearWeight } from '../src/backend.ts';
import { Bert, type BertConfig, type Weights } from '../src/bert.ts';
import { tensorShapes } from '../src/checkpoint/config.ts';
import type { Precision } from '../src/checkpoint/load.ts';
import { toFloat16 } from '../src/checkpoint/safetensors.ts';
import { quantizeWeight } from '../src/quantize.ts';

const BASE = { positions: 512, types: 2, eps: 1e-12 };
export const SHAPES: Record<string, BertConfig> = {
  'bert-base-cased': { ...BASE, vocab: 28996, hidden: 768, layers: 12, heads: 12, intermediate: 3072 },
  'minilm-l6': { ...BASE, vocab: 30522, hidden: 384, layers: 6, heads: 12, intermediate: 1536 },
};

/** Seeded random weights of a model, of this standard deviation. One tensor of each shape is made, for all that have it. */
export function randomWeights(config: BertConfig, precision: Precision, size = 0.02): Weights {
  const shapes = tensorShapes(config);
  const made = new Map<string, LinearWeight>();
  return (name) => {
    const { shape, linear } = shapes.get(name)!;
    const mean = name.endsWith('LayerNorm.weight') ? 1 : 0;
    const key = `${shape} ${linear} ${mean}`;
    if (!made.has(key)) {
      const weight = normal(shape, 7, size, mean);
      if (!linear || precision === 'fp32') made.set(key, weight);
      else made.set(key, precision === 'fp16' ? toFloat16(weight) : quantizeWeight(weight, precision));
    }
    return made.get(key)!;
  };
}

/** Seeded ids. */
const randomIds = (tokens: number, { vocab }: BertConfig): Int32Array =>
  Int32Array.from({ length: tokens }, (_, i) => (1000 + i * 7919) % vocab);

/** A model on a backend: its forward of so many seeded ids. */
export function forwardOf(backend: Backend, config: BertConfig, weights: Weights) {
  const bert = new Bert(backend, config, weights);
  return (tokens: number) => bert.forward(randomIds(tokens, config), new Int32Array(tokens));
}
