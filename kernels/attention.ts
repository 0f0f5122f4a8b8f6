/**
 * attention, for each head: `y = softmax(q k^T / sqrt(headDim)) v`, with `softmax(s)_j = exp(s_j - max s) / sum`.
 * qkv [tokens, 3 hidden] = query | key | value, each [tokens, heads, headDim] -> y [tokens, hidden].
 * There is no mask: the sequences of a batch have no padding, and each attends to itself alone. Source: Vaswani et al. 2017, eq. 1.
 */
import { constant, type Float32Tensor, normal, type Op, tensor, U, withValue } from './op.ts';

export interface AttentionInputs {
  qkv: Float32Tensor;
  heads: number;
}

/** Inputs of standard deviation `size`, which gives scores of about size^2. */
const make = (tokens: number, heads: number, headDim: number, size = 1): AttentionInputs => ({
  qkv: normal([tokens, 3 * heads * headDim], tokens + heads, size),
  heads,
});

/** Replaces scores by `exp(s_j - max s) / sum`. */
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
      // Weights of this query, and for each key the sum of |q k| that its score's error is proportional to.
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
        // A device may drop weights so small that they are no normal float32: less than 2^-126 for each token.
        bound[token * hidden + head * headDim + i] = relative * mixed + tokens * 2 ** -126;
      }
    }
    return bound;
  },
  cases: {
    '1 token': () => make(1, 2, 32),
    '2 tokens': () => make(2, 12, 32),
    '17 tokens, heads of 8': () => make(17, 4, 8),
    // The GPU's kernel takes 64 columns of a head at a time.
    '65 tokens, heads of 64': () => make(65, 2, 64),
    '3 tokens, heads of 68': () => make(3, 2, 68),
    '33 tokens, heads of 200': () => make(33, 2, 200),
    '133 tokens': () => make(133, 3, 32),
    '512 tokens': () => make(512, 1, 32),
    'scores of 1e3': () => make(9, 2, 16, 16),
    // All weights are 1 / tokens.
    'equal keys': () => ({ qkv: constant([21, 3 * 32], 1.5), heads: 1 }),
    'one score far above': () => {
      const { qkv, heads } = make(33, 1, 32, 0.1);
      // Key 20 is 5000 times query 0.
      const data = qkv.data.slice();
      for (let i = 0; i < 32; i++) data[20 * 96 + 32 + i] = data[i]! * 5000;
      return { qkv: tensor([...qkv.shape], data), heads };
    },
    // In a query one row becomes NaN, in a key all rows of the head, in a value one column.
    'NaN in one query, one key and one value': () => {
      const { qkv, heads } = make(33, 3, 8);
      const [query, key, value] = [20 * 72, 32 * 72 + 24 + 8, 2 * 72 + 48 + 19];
      return { qkv: [query, key, value].reduce((x, at) => withValue(x, at, Number.NaN), qkv), heads };
    },
  },
  selfTest: ['17 tokens, heads of 8', 'scores of 1e3'],
};
