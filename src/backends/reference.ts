/**
 * The reference backend: the definition of every op, as plain loops over typed arrays, for reading and for measuring the
 * fast backends against. Sums are in float64; what PyTorch keeps as a float32 tensor (scores, probabilities, a row's
 * mean) is rounded to float32, because the quantizers that follow turn a difference of one last bit into a whole step.
 */
import type { Backend, LinearWeight, Norm, QuantizedTensor, Tables, Tensor } from '../backend.ts';
import { inputError } from '../backend.ts';
import { matmulInt8, quantizeActivations } from '../quantize.ts';

type Float32Tensor = Tensor<Float32Array>;
/** As it was handed over: there is nothing to prepare. */
type Linear = { readonly weight: LinearWeight; readonly bias: Float32Tensor };

const { fround } = Math;
const tensor = (shape: number[], data: Float32Array): Float32Tensor => ({ dtype: 'F32', shape, data });

/** Throws unless sizes that must be equal are. */
function sameSize(op: string, what: string, expected: number, got: number): void {
  if (expected !== got) throw inputError(op, `${what} of ${expected}`, got);
}

/**
 * Error function. `erf(x) = 2/sqrt(pi) exp(-x^2) sum_n 2^n x^(2n+1) / (1 * 3 * ... * (2n+1))`, Abramowitz & Stegun
 * 7.1.6: all terms have one sign, so nothing cancels. Beyond 6, 1 - erf(x) < 2.2e-17 is below float64's rounding.
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

/** Gaussian error linear unit, `x * Phi(x) = x/2 (1 + erf(x / sqrt 2))` (Hendrycks & Gimpel 2016, eq. 1; BERT's). */
export const gelu = (x: number): number => 0.5 * x * (1 + erf(x * Math.SQRT1_2));

/** `exp(x_i - max x) / sum_j exp(x_j - max x)`, in place; the maximum is taken out so that nothing overflows. */
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

/** float32: [tokens, in] x [out, in] -> [tokens, out] */
function linearFloat32(x: Float32Tensor, weight: Float32Tensor, bias: Float32Array): Float32Array {
  const [tokens, features, out] = [x.shape[0]!, x.shape[1]!, weight.shape[0]!];
  const y = new Float32Array(tokens * out);
  for (let row = 0; row < tokens; row++) {
    for (let column = 0; column < out; column++) {
      let sum = 0;
      const [xAt, wAt] = [row * features, column * features];
      for (let k = 0; k < features; k++) sum += x.data[xAt + k]! * weight.data[wAt + k]!;
      y[row * out + column] = sum + bias[column]!;
    }
  }
  return y;
}

/** int8: quantize the input, multiply integers, and scale back as fbgemm does: the scales' product and the accumulator
 * are rounded to float32, then one fused multiply-add (their product is exact in float64). */
function linearInt8(x: Float32Tensor, weight: QuantizedTensor, bias: Float32Array): Float32Array {
  const out = weight.shape[0]!;
  const quantized = quantizeActivations(x, weight.scheme);
  return Float32Array.from(matmulInt8(quantized, weight), (accumulator, i) => {
    const [row, column] = [Math.floor(i / out), i % out];
    const scale = fround(quantized.scale[row]! * weight.scale[column]!);
    return fround(accumulator) * scale + bias[column]!;
  });
}

export class ReferenceBackend implements Backend<Float32Tensor, Linear> {
  upload(tensor: Float32Tensor): Float32Tensor {
    return { ...tensor, data: tensor.data.slice() };
  }

  uploadLinear(weight: LinearWeight, bias: Float32Tensor): Linear {
    return { weight: { ...weight, data: weight.data.slice() } as LinearWeight, bias: this.upload(bias) };
  }

  embedding(ids: Int32Array, typeIds: Int32Array, tables: Tables<Float32Tensor>): Float32Tensor {
    const hidden = tables.word.shape[1]!;
    const [word, position, type] = [tables.word.data, tables.position.data, tables.type.data];
    sameSize('embedding', 'typeIds', ids.length, typeIds.length);
    const y = new Float32Array(ids.length * hidden);
    for (let token = 0; token < ids.length; token++) {
      const [wordAt, typeAt, at] = [ids[token]! * hidden, typeIds[token]! * hidden, token * hidden];
      for (let i = 0; i < hidden; i++) y[at + i] = word[wordAt + i]! + type[typeAt + i]! + position[at + i]!;
    }
    return tensor([ids.length, hidden], y);
  }

  layerNorm(
    x: Float32Tensor,
    residual: Float32Tensor | null,
    { gamma, beta }: Norm<Float32Tensor>,
    eps: number,
  ): Float32Tensor {
    const [tokens, hidden] = [x.shape[0]!, x.shape[1]!];
    sameSize('layerNorm', 'gamma', hidden, gamma.data.length);
    sameSize('layerNorm', 'residual', x.data.length, residual?.data.length ?? x.data.length);
    const y = new Float32Array(tokens * hidden);
    for (let token = 0; token < tokens; token++) {
      const at = token * hidden;
      const row = Float32Array.from({ length: hidden }, (_, i) => x.data[at + i]! + (residual?.data[at + i] ?? 0));
      const mean = row.reduce((sum, value) => sum + value, 0) / hidden;
      const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / hidden;
      const inverse = fround(1 / Math.sqrt(variance + eps));
      for (let i = 0; i < hidden; i++) {
        const normal = fround(fround(row[i]! - fround(mean)) * inverse);
        y[at + i] = normal * gamma.data[i]! + beta.data[i]!;
      }
    }
    return tensor([tokens, hidden], y);
  }

  linear(x: Float32Tensor, { weight, bias }: Linear, activation?: 'gelu'): Float32Tensor {
    sameSize(`linear [${x.shape}] x [${weight.shape}]`, 'input features', weight.shape[1]!, x.shape[1]!);
    sameSize(`linear [${x.shape}] x [${weight.shape}]`, 'bias', weight.shape[0]!, bias.data.length);
    const y =
      'scale' in weight ? linearInt8(x, weight, bias.data) : linearFloat32(x, weight as Float32Tensor, bias.data);
    return tensor([x.shape[0]!, weight.shape[0]!], activation === 'gelu' ? y.map(gelu) : y);
  }

  attention(qkv: Float32Tensor, heads: number): Float32Tensor {
    const [tokens, hidden] = [qkv.shape[0]!, qkv.shape[1]! / 3];
    const headDim = hidden / heads;
    if (headDim % 1 !== 0) throw inputError('attention', `3 x hidden columns for ${heads} heads`, qkv.shape[1]);
    const y = new Float32Array(tokens * hidden);
    const scores = new Float32Array(tokens);
    const scale = fround(1 / Math.sqrt(headDim));
    for (let head = 0; head < heads; head++) {
      const [query, key, value] = [0, 1, 2].map((part) => part * hidden + head * headDim) as [number, number, number];
      for (let from = 0; from < tokens; from++) {
        for (let to = 0; to < tokens; to++) {
          let dot = 0;
          const [q, k] = [from * 3 * hidden + query, to * 3 * hidden + key];
          for (let i = 0; i < headDim; i++) dot += qkv.data[q + i]! * qkv.data[k + i]!;
          scores[to] = fround(dot) * scale;
        }
        softmax(scores); // how much token `from` takes of the value of each token `to`
        for (let i = 0; i < headDim; i++) {
          let mix = 0;
          for (let to = 0; to < tokens; to++) mix += scores[to]! * qkv.data[to * 3 * hidden + value + i]!;
          y[from * hidden + head * headDim + i] = mix;
        }
      }
    }
    return tensor([tokens, hidden], y);
  }

  async read(x: Float32Tensor): Promise<Float32Array> {
    return x.data;
  }

  async dispose(): Promise<void> {}
}
