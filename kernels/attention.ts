/**
 * attention: for each head, `y = softmax(q k^T / sqrt(headDim)) v`, with `softmax(s)_j = exp(s_j - max s) / sum`
 * qkv [tokens, 3 hidden] = query | key | value, each [tokens, heads, headDim] -> [tokens, hidden].
 * Source: Vaswani et al. 2017, eq. 1. No mask: one sequence at a time, no padding.
 */
import { constant, type Float32Tensor, normal, type Op, tensor, U } from './op.ts';

export interface AttentionInputs {
  qkv: Float32Tensor;
  heads: number;
}

/** Standard deviation `size` gives scores of about size^2. */
const make = (tokens: number, heads: number, headDim: number, size = 1): AttentionInputs => ({
  qkv: normal([tokens, 3 * heads * headDim], tokens + heads, size),
  heads,
});

/** `exp(s_j - max s) / sum` in place. */
function softmax(scores: Float32Array): void {
  const max = scores.reduce((a, b) => Math.max(a, b));
  for (let j = 0; j < scores.length; j++) scores[j] = Math.exp(scores[j]! - max);
  const sum = scores.reduce((a, b) => a + b);
  for (let j = 0; j < scores.length; j++) scores[j]! /= sum;
}

export const attention: Op<AttentionInputs> = {
  name: 'attention',
  run: (runtime, { qkv, heads }) => runtime.attention(runtime.tensor(qkv), heads),
  /**
   * A score errs by e = (headDim + 2) U sum |q k| / sqrt(headDim), its distance to the maximum by U of itself more.
   * exp turns that into a relative error, its own is some 4 U, the denominator doubles both; then a sum over tokens.
   */
  bound({ qkv: { shape, data }, heads }) {
    const [tokens, hidden] = [shape[0]!, shape[1]! / 3];
    const headDim = hidden / heads;
    const bound = new Float64Array(tokens * hidden);
    for (let row = 0; row < tokens * heads; row++) {
      const [token, head] = [Math.floor(row / heads), row % heads];
      const at = (other: number, part: number) => other * 3 * hidden + part * hidden + head * headDim;
      const sizes = new Float64Array(tokens);
      const weights = Float32Array.from({ length: tokens }, (_, other) => {
        let dot = 0;
        for (let i = 0; i < headDim; i++) {
          const product = data[at(token, 0) + i]! * data[at(other, 1) + i]!;
          dot += product / Math.sqrt(headDim);
          sizes[other]! += Math.abs(product) / Math.sqrt(headDim);
        }
        return dot;
      });
      const score = (headDim + 4) * U * sizes.reduce((a, b) => Math.max(a, b));
      const relative = Math.expm1(2 * score) + (2 * tokens + 10) * U;
      softmax(weights);
      for (let i = 0; i < headDim; i++) {
        const mixed = weights.reduce((sum, w, other) => sum + w * Math.abs(data[at(other, 2) + i]!), 0);
        // exp underflows in float32 below 2^-149: what a fast one may drop.
        bound[token * hidden + head * headDim + i] = relative * mixed + tokens * 2 ** -126;
      }
    }
    return bound;
  },
  cases: {
    '1 token': () => make(1, 2, 32),
    '2 tokens': () => make(2, 12, 32),
    '17 tokens, heads of 8': () => make(17, 4, 8),
    '65 tokens, heads of 64': () => make(65, 2, 64),
    '133 tokens': () => make(133, 3, 32),
    '512 tokens': () => make(512, 1, 32),
    'scores of 1e3': () => make(9, 2, 16, 16),
    'equal keys': () => ({ qkv: constant([21, 3 * 32], 1.5), heads: 1 }),
    'one score far above': () => {
      const { qkv, heads } = make(33, 1, 32, 0.1);
      const data = qkv.data.slice();
      for (let i = 0; i < 32; i++) data[20 * 96 + 32 + i] = data[i]! * 5000;
      return { qkv: tensor([...qkv.shape], data), heads };
    },
  },
};
