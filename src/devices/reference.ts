/**
 * The reference device: the definition of every op, as plain loops over typed arrays. It is there to be read, and to
 * check the fast devices against.
 *
 * Sums are in float64. Values that PyTorch keeps in a float32 tensor (scores, probabilities, the mean of a row) are
 * rounded to float32: the quantizer of the next linear can turn a difference in the last bit into a whole int8 step.
 */
import { matmulInt8, quantizeActivations } from '../quantize.ts';
import {
  type Activation,
  type Device,
  type HostTensor,
  type LinearWeight,
  type QuantizedTensor,
  refuseFloat16,
  type Step,
  type Tensor,
} from '../runtime.ts';

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

const ACTIVATIONS: Readonly<Record<Activation, (x: number) => number>> = {
  gelu,
  relu: (x) => Math.max(x, 0), // NaN stays
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
};

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
function linearFloat32(x: Float32Array, weight: Float32Array, features: number, bias: Float32Array): Float32Array {
  const [tokens, out] = [x.length / features, bias.length];
  const y = new Float32Array(tokens * out);
  for (let row = 0; row < tokens; row++) {
    const values = x.subarray(row * features, (row + 1) * features);
    for (let column = 0; column < out; column++) {
      const weights = weight.subarray(column * features, (column + 1) * features);
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
function linearInt8(x: HostTensor<Float32Array>, weight: QuantizedTensor, bias: Float32Array): Float32Array {
  const out = weight.shape[0]!;
  if (!x.data.every(Number.isFinite)) return new Float32Array(x.shape[0]! * out).fill(Number.NaN); // no range, no result
  const quantized = quantizeActivations(x, weight.scheme);
  return Float32Array.from(matmulInt8(quantized, weight), (accumulator, i) => {
    const [row, column] = [Math.floor(i / out), i % out];
    const scale = fround(quantized.scale[row]! * weight.scale[column]!);
    return fround(accumulator) * scale + bias[column]!;
  });
}

/** The results of an op on each sequence of `x` by itself, one after another. `values`: x's numbers. */
function eachSequence(
  x: Tensor,
  values: Float32Array,
  op: (values: Float32Array, tokens: number) => Float32Array,
): Float32Array {
  const columns = x.shape[1];
  const parts = x.sequences.map(({ first, tokens }) => {
    return op(values.subarray(first * columns, (first + tokens) * columns), tokens);
  });
  return parts.length === 1 ? parts[0]! : Float32Array.from(parts.flatMap((part) => Array.from(part)));
}

/** The sum of one row of each table: `y[i] = sum_t table_t[indices_t[i]]`: [n] of each table -> [n, columns] */
function rows(columns: number, indices: readonly Int32Array[], tables: Float32Array[]): Float32Array {
  const y = new Float32Array(indices[0]!.length * columns);
  for (let at = 0; at < y.length; at++) {
    const [row, column] = [Math.floor(at / columns), at % columns];
    let sum = -0; // the only number that changes none when it is added
    for (const [t, table] of tables.entries()) sum += table[indices[t]![row]! * columns + column]!;
    y[at] = sum;
  }
  return y;
}

/** `x + other` or `x other`; `other` may be one row for all. Or a function of each element. */
function elementwise(how: 'add' | 'mul' | Activation, x: Float32Array, other?: Float32Array): Float32Array {
  if (how === 'add') return x.map((value, i) => value + other![i % other!.length]!);
  if (how === 'mul') return x.map((value, i) => value * other![i % other!.length]!);
  return x.map(ACTIVATIONS[how]);
}

/** The mean of the rows: [rows, columns] -> [columns] */
function mean(rows: number, columns: number, x: Float32Array): Float32Array {
  const sums = new Float64Array(columns);
  for (let at = 0; at < x.length; at++) sums[at % columns]! += x[at]!;
  return Float32Array.from(sums, (sum) => sum / rows);
}

/** `y[j, i] = x[i, j]`: [rows, columns] -> [columns, rows] */
function transpose(columns: number, x: Float32Array): Float32Array {
  const rows = x.length / columns;
  return x.map((_, at) => x[(at % rows) * columns + Math.floor(at / rows)]!);
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

  free(): void {} // garbage collection does

  /** Copies a linear layer. The reference needs no packing. */
  uploadLinear(weight: LinearWeight, bias: Float32Array, name: string) {
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
    const [x, other] = values as [Float32Array, Float32Array];
    const [input] = step.reads as [Tensor];
    switch (step.op) {
      case 'rows':
        return rows(columns, step.indices, values);
      case 'layerNorm':
        return layerNorm(columns, step.eps, values);
      case 'elementwise':
        return elementwise(step.how, x, other);
      case 'attention':
        return eachSequence(input, x, (qkv, tokens) => attention(tokens, columns, step.heads, qkv));
      case 'softmax': {
        const y = x.slice();
        for (let at = 0; at < y.length; at += columns) softmax(y.subarray(at, at + columns));
        return y;
      }
      case 'mean':
        return eachSequence(input, x, (values, tokens) => mean(tokens, columns, values));
      case 'transpose':
        return transpose(input.shape[1], x);
      case 'matmul':
        return linearFloat32(x, transpose(columns, other), input.shape[1], new Float32Array(columns));
      case 'linear': {
        const { weight, bias } = step.linear.buffer as ReturnType<ReferenceDevice['uploadLinear']>;
        const { features } = step.linear;
        const y = eachSequence(input, x, (data, tokens) =>
          'scale' in weight
            ? linearInt8({ dtype: 'F32', shape: [tokens, features], data }, weight, bias)
            : linearFloat32(data, weight.data as Float32Array, features, bias),
        );
        return step.activation ? elementwise(step.activation, y) : y;
      }
    }
  }

  async dispose(): Promise<void> {}
}
