/** The shapes that are timed with random weights. */
import type { BertConfig } from '../src/tensor.ts';

const BASE = { positions: 512, types: 2, eps: 1e-12 };
export const SHAPES: Record<string, BertConfig> = {
  'bert-base-cased': { ...BASE, vocab: 28996, hidden: 768, layers: 12, heads: 12, intermediate: 3072 },
  'minilm-l6': { ...BASE, vocab: 30522, hidden: 384, layers: 6, heads: 12, intermediate: 1536 },
};
