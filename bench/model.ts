/** A BERT of a given shape with seeded random weights on the CPU backend: what the benchmarks time. */
import { normal } from '../kernels/op.ts';
import type { Backend, LinearWeight } from '../src/backend.ts';
import { type CpuOptions, startCpu } from '../src/backends/startCpu.ts';
import { Bert, type BertConfig } from '../src/bert.ts';
import { tensorShapes } from '../src/checkpoint/config.ts';
import { quantizeWeight } from '../src/quantize.ts';

const BASE = { positions: 512, types: 2, eps: 1e-12 };
export const SHAPES: Record<string, BertConfig> = {
  'bert-base-cased': { ...BASE, vocab: 28996, hidden: 768, layers: 12, heads: 12, intermediate: 3072 },
  'minilm-l6': { ...BASE, vocab: 30522, hidden: 384, layers: 6, heads: 12, intermediate: 1536 },
};

export async function randomBert(config: BertConfig, dtype: 'fp32' | 'int8', options: CpuOptions) {
  const { backend, kernels } = await startCpu(options);
  const shapes = tensorShapes(config);
  const made = new Map<string, LinearWeight>(); // one matrix of each shape is enough: each is uploaded anew
  const bert = new Bert(backend as Backend, config, (name) => {
    const { shape, linear } = shapes.get(name)!;
    const key = `${shape} ${linear}`;
    if (!made.has(key)) {
      const weight = normal(shape, 7, 0.02);
      made.set(key, linear && dtype === 'int8' ? quantizeWeight(weight, 'torch') : weight);
    }
    return made.get(key)!;
  });
  const forward = (tokens: number) => {
    const ids = Int32Array.from({ length: tokens }, (_, i) => 1000 + ((i * 7919) % 27000));
    return bert.forward(ids, new Int32Array(tokens));
  };
  return { backend, kernels, forward };
}
