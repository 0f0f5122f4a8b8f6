/**
 * Attention written out from its parts, for one head, beside the fused op: `softmax(q k^T / sqrt(headDim)) v` (Vaswani et al.
 * 2017, eq. 1). `npx node examples/attention.ts`
 */
import { openRuntime } from 'bertlet/tensor';

const [tokens, headDim] = [5, 8];
const random = (rows: number) => Float32Array.from({ length: rows * headDim }, (_, i) => Math.sin(i * i + rows));

await using rt = await openRuntime('cpu', { threads: 1 });
const [query, key, value] = [1, 2, 3].map((seed) => {
  return { shape: [tokens, headDim], data: random(tokens).map((x) => x * seed) }; // [tokens, headDim]
});
const [q, k, v] = [rt.tensor(query!), rt.tensor(key!), rt.tensor(value!)];
const scale = rt.tensor({ shape: [1, tokens], data: new Float32Array(tokens).fill(1 / Math.sqrt(headDim)) });

const scores = rt.mul(rt.matmul(q, rt.transpose(k)), scale); // [tokens, tokens], how much each token looks at each
const weights = rt.softmax(scores); // [tokens, tokens], each row adds up to 1
const written = rt.matmul(weights, v); // [tokens, tokens] x [tokens, headDim] -> [tokens, headDim]

const stacked = new Float32Array(tokens * 3 * headDim); // query | key | value, as the fused op takes them
for (const [part, { data }] of [query!, key!, value!].entries()) {
  for (let t = 0; t < tokens; t++) {
    stacked.set(data.subarray(t * headDim, (t + 1) * headDim), (3 * t + part) * headDim);
  }
}
const fused = rt.attention(rt.tensor({ shape: [tokens, 3 * headDim], data: stacked }), 1);

const [a, b] = await rt.read(written, fused);
export const difference = a!.reduce((most, x, i) => Math.max(most, Math.abs(x - b![i]!)), 0);
console.log(`largest difference between the parts and the fused op: ${difference.toExponential(1)}`);
