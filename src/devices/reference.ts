/**
 * The reference device: the definition of every op, as plain loops over typed arrays. It is there to be read, and to
 * check the fast devices against.
 *
 * Sums are in float64. Values that PyTorch keeps in a float32 tensor (scores, probabilities, the mean of a row) are
 * rounded to float32: the quantizer of the next linear can turn a difference in the last bit into a whole int8 step.
 */
import { matmulInt8, quantizeActivations } from '../quantize.ts';
import {
  type Device,
  type HostTensor,
  type LinearWeight,
  type QuantizedTensor,
  refuseFloat16,
  type Step,
  type Tensor,
} from '../runtime.ts';

type Matrix = HostTensor<Float32Array>;

/** A linear layer. The reference needs no packing: it keeps a copy of what was uploaded. */
interface Linear {
  readonly weight: LinearWeight;
  readonly bias: Float32Array;
}
const { fround } = Math;

/**
 * The error function, `erf(x) = 2/sqrt(pi) exp(-x^2) sum_n 2^n x^(2n+1) / (1 * 3 * ... * (2n+1))` (Abramowitz & Stegun
 * 7.1.6). All terms have the same sign, so nothing cancels. For x > 6 the result is 1: 1 - erf(x) < 2.2e-17 is below
 * the rounding of float64.
 */
export function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** Gaussian error linear unit, exact: `x * Phi(x) = x/2 (1 + erf(x / sqrt 2))` (Hendrycks & Gimpel 2016, eq. 1). */
export const gelu = (x: number): number => 0.5 * x * (1 + erf(x * Math.SQRT1_2));

/** `exp(x_i - max x) / sum_j exp(x_j - max x)`, in place. Subtracting the maximum keeps exp from overflowing. */
export function softmax(x: Float32Array): Float32Array {
  const max = x.reduce((a, b) => Math.max(a, b));
  let sum = 0;
  for (let i = 0; i < x.length; i++) {
    x[i] = Math.exp(fround(x[i]! - max));
    sum += x[i]!;
  }
  for (let i = 0; i < x.length; i++) x[i]! /= fround(sum);
  return x;
}

/** `x weight^T + bias` in float32: [tokens, in] x [out, in] -> [tokens, out] */
function linearFloat32(x: Matrix, weight: Matrix, bias: Float32Array): Float32Array {
  const [tokens, features, out] = [x.shape[0]!, x.shape[1]!, weight.shape[0]!];
  const y = new Float32Array(tokens * out);
  for (let row = 0; row < tokens; row++) {
    const values = x.data.subarray(row * features, (row + 1) * features);
    for (let column = 0; column < out; column++) {
      const weights = weight.data.subarray(column * features, (column + 1) * features);
      let sum = 0;
      for (let k = 0; k < features; k++) sum += values[k]! * weights[k]!;
      y[row * out + column] = sum + bias[column]!;
    }
  }
  return y;
}

/**
 * `x weight^T + bias` in int8: [tokens, in] x [out, in] -> [tokens, out]. Quantizes x, multiplies integers, and scales
 * the result back as fbgemm does: the product of the scales and the accumulator are rounded to float32 each, then one
 * fused multiply-add follows (here in float64, where the product of two float32 numbers is exact).
 */
function linearInt8(x: Matrix, weight: QuantizedTensor, bias: Float32Array): Float32Array {
  const out = weight.shape[0]!;
  if (!x.data.every(Number.isFinite)) return new Float32Array(x.shape[0]! * out).fill(Number.NaN); // no range, no result
  const quantized = quantizeActivations(x, weight.scheme);
  return Float32Array.from(matmulInt8(quantized, weight), (accumulator, i) => {
    const [row, column] = [Math.floor(i / out), i % out];
    const scale = fround(quantized.scale[row]! * weight.scale[column]!);
    return fround(accumulator) * scale + bias[column]!;
  });
}

/**
 * The op of each sequence of a batch on its own.
 * @param x rows of all sequences, [tokens, columns of x]
 * @returns the rows of all results, one after another, [tokens, columns of y]
 */
function eachSequence<A extends Float32Array | Int32Array>(
  made: Tensor,
  x: A,
  op: (x: A, tokens: number, first: number) => Float32Array,
): Float32Array {
  const [rows, columns] = made.shape;
  if (made.lengths.length === 1) return op(x, rows, 0);
  const y = new Float32Array(rows * columns);
  const width = x.length / rows;
  for (const { first, tokens } of made.sequences) {
    y.set(op(x.subarray(first * width, (first + tokens) * width) as A, tokens, first), first * columns);
  }
  return y;
}

/** `word[ids] + type[typeIds] + position[0..tokens)`: [tokens] -> [tokens, hidden] */
function embedding(ids: Int32Array, typeIds: Int32Array, hidden: number, tables: Float32Array[]): Float32Array {
  const [word, position, type] = tables as [Float32Array, Float32Array, Float32Array];
  const y = new Float32Array(ids.length * hidden);
  for (let token = 0; token < ids.length; token++) {
    const [wordAt, typeAt, at] = [ids[token]! * hidden, typeIds[token]! * hidden, token * hidden];
    for (let i = 0; i < hidden; i++) y[at + i] = word[wordAt + i]! + type[typeAt + i]! + position[at + i]!;
  }
  return y;
}

/** `(v - mean) / sqrt(variance + eps) * gamma + beta` of each row v of `x + residual`: [tokens, hidden] -> same */
function layerNorm(hidden: number, eps: number, values: Float32Array[]): Float32Array {
  const [x, gamma, beta, residual] = values as [Float32Array, Float32Array, Float32Array, Float32Array?];
  const y = new Float32Array(x.length);
  for (let at = 0; at < x.length; at += hidden) {
    const row = Float32Array.from({ length: hidden }, (_, i) => x[at + i]! + (residual?.[at + i] ?? 0));
    const mean = row.reduce((sum, value) => sum + value, 0) / hidden;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / hidden;
    const inverse = fround(1 / Math.sqrt(variance + eps));
    for (let i = 0; i < hidden; i++) {
      const normal = fround(fround(row[i]! - fround(mean)) * inverse);
      y[at + i] = normal * gamma[i]! + beta[i]!;
    }
  }
  return y;
}

/** `softmax(q k^T / sqrt(headDim)) v` for each head: query | key | value [tokens, 3 hidden] -> [tokens, hidden] */
function attention(tokens: number, hidden: number, heads: number, qkv: Float32Array): Float32Array {
  const headDim = hidden / heads;
  const y = new Float32Array(tokens * hidden);
  const scores = new Float32Array(tokens);
  const scale = fround(1 / Math.sqrt(headDim));
  for (let head = 0; head < heads; head++) {
    const [query, key, value] = [0, 1, 2].map((part) => part * hidden + head * headDim) as [number, number, number];
    for (let from = 0; from < tokens; from++) {
      for (let to = 0; to < tokens; to++) {
        let dot = 0;
        const [q, k] = [from * 3 * hidden + query, to * 3 * hidden + key];
        for (let i = 0; i < headDim; i++) dot += qkv[q + i]! * qkv[k + i]!;
        scores[to] = fround(dot) * scale;
      }
      softmax(scores); // scores[to] is now the weight of token `to` in the result of token `from`
      for (let i = 0; i < headDim; i++) {
        let mix = 0;
        for (let to = 0; to < tokens; to++) mix += scores[to]! * qkv[to * 3 * hidden + value + i]!;
        y[from * hidden + head * headDim + i] = mix;
      }
    }
  }
  return y;
}

/** Runs a program step by step, each op in the obvious way. */
export class ReferenceDevice implements Device {
  upload(_rows: number, _columns: number, data: Float32Array): Float32Array {
    return new Float32Array(data);
  }

  uploadLinear(weight: LinearWeight, bias: Float32Array, name: string): Linear {
    refuseFloat16(name, weight);
    return { weight: { ...weight, data: weight.data.slice() } as LinearWeight, bias: bias.slice() };
  }

  async run(steps: readonly Step[], results: readonly Tensor[]): Promise<Float32Array[]> {
    const made = new Map<Tensor, Float32Array>();
    const numbersOf = (x: Tensor) => made.get(x) ?? (x.buffer as Float32Array);
    for (const step of steps) made.set(step.y, this.#compute(step, step.reads.map(numbersOf)));
    return results.map((x) => numbersOf(x).slice());
  }

  #compute(step: Step, values: Float32Array[]): Float32Array {
    const [, columns] = step.y.shape;
    const [x] = values as [Float32Array];
    if (step.op === 'layerNorm') return layerNorm(columns, step.eps, values);
    if (step.op === 'embedding') {
      return eachSequence(step.y, step.ids, (ids, tokens, first) =>
        embedding(ids, step.typeIds.subarray(first, first + tokens), columns, values),
      );
    }
    if (step.op === 'attention')
      return eachSequence(step.y, x, (qkv, tokens) => attention(tokens, columns, step.heads, qkv));
    const { weight, bias } = step.linear.buffer as Linear;
    const y = eachSequence(step.y, x, (data, tokens) => {
      const rows: Matrix = { dtype: 'F32', shape: [tokens, step.linear.features], data };
      return 'scale' in weight ? linearInt8(rows, weight, bias) : linearFloat32(rows, weight as Matrix, bias);
    });
    return step.gelu ? y.map(gelu) : y;
  }

  async dispose(): Promise<void> {}
}
