/**
 * attention, for each head: `y = softmax(q k^T / sqrt(headDim)) v`, with `softmax(s)_j = exp(s_j - max s) / sum`.
 * qkv [tokens, 3 hidden] = query | key | value, each [tokens, heads, headDim] -> y [tokens, hidden].
 * There is no mask: the sequences of a batch have no padding, and each attends to itself alone. Source: Vaswani et al. 2017, eq. 1.
 */
import { type Float32Tensor, normal, type Op, U } from './op.ts';
import { softmaxOf } from './softmax.ts';

export interface AttentionInputs {
  qkv: Float32Tensor;
  heads: number;
}

/** Inputs of standard deviation `size`, which gives scores of about size^2. */
export const makeAttention = (tokens: number, heads: number, headDim: number, size = 1): AttentionInputs => ({
  qkv: normal([tokens, 3 * heads * headDim], tokens + heads, size),
  heads,
});

export const attention: Op<AttentionInputs> = {
  name: 'attention',
  run: (runtime, { qkv, heads }) => runtime.attention(runtime.tensor(qkv), heads),
  /**
   * A score errs by e = (headDim + 2) U sum |q k| / sqrt(headDim); the score's distance to the maximum errs by U times
   * the distance more. exp turns this error into a relative error and adds about 4 U of its own. The denominator
   * doubles both. Last comes the error of the sum over tokens.
   */
  bound({ qkv: { shape, data }, heads }) {
    const [tokens, hidden] = [shape[0]!, shape[1]! / 3];
    const headDim = hidden / heads;
    const bound = new Float64Array(tokens * hidden);
    for (let row = 0; row < tokens * heads; row++) {
      const [token, head] = [Math.floor(row / heads), row % heads];
      const at = (other: number, part: number) => other * 3 * hidden + part * hidden + head * headDim;
      // Scores of this query, and for each key the sum of |q k| that its score's error is proportional to.
      const sizes = new Float64Array(tokens);
      const scores = Float64Array.from({ length: tokens }, (_, other) => {
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
      const weights = softmaxOf(scores);
      for (let i = 0; i < headDim; i++) {
        const mixed = weights.reduce((sum, w, other) => sum + w * Math.abs(data[at(other, 2) + i]!), 0);
        // A device may drop weights so small that they are no normal float32: less than 2^-126 for each token.
        bound[token * hidden + head * headDim + i] = relative * mixed + tokens * 2 ** -126;
      }
    }
    return bound;
  },
  selfTest: {
    '17 tokens, heads of 8': () => makeAttention(17, 4, 8),
    'scores of 1e3': () => makeAttention(9, 2, 16, 16),
  },
};
