/**
 * BERT for extractive question answering (Devlin et al. 2018), written once against `Runtime`.
 * Names of tensors are the Hugging Face checkpoint's.
 */
import type { HostTensor, Linear, LinearWeight, Norm, Runtime, Tables, Tensor } from './runtime.ts';

/** Sizes of a BERT, from its config.json. */
export interface BertConfig {
  readonly vocab: number;
  readonly positions: number;
  readonly types: number;
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly intermediate: number;
  readonly eps: number;
}

interface Layer {
  readonly queryKeyValue: Linear;
  readonly attentionOutput: Linear;
  readonly attentionNorm: Norm;
  readonly intermediate: Linear;
  readonly output: Linear;
  readonly outputNorm: Norm;
}

/**
 * A tensor of the checkpoint by its name, in the form to compute with: a linear's weight may be int8. It is good until
 * the next is asked for, so that a model is never in memory twice.
 */
export type Weights = (name: string) => LinearWeight;

export class Bert {
  readonly config: BertConfig;
  readonly #runtime: Runtime;
  readonly #tables: Tables;
  readonly #norm: Norm;
  readonly #layers: Layer[];
  readonly #qaOutputs: Linear;

  /** Uploads the weights; those of query, key and value, which read the same input, as one linear. */
  constructor(runtime: Runtime, config: BertConfig, weights: Weights) {
    this.#runtime = runtime;
    this.config = config;
    const upload = (name: string) => runtime.tensor(weights(name) as HostTensor<Float32Array>);
    const norm = (name: string): Norm => ({ gamma: upload(`${name}.weight`), beta: upload(`${name}.bias`) });
    const linear = (...names: string[]): Linear => {
      const all = (kind: string) =>
        stack(
          weights,
          names.map((name) => `${name}.${kind}`),
        );
      const bias = all('bias') as HostTensor<Float32Array>;
      return runtime.linearLayer(all('weight'), bias, names.join(' | '));
    };
    this.#tables = {
      word: upload('bert.embeddings.word_embeddings.weight'),
      position: upload('bert.embeddings.position_embeddings.weight'),
      type: upload('bert.embeddings.token_type_embeddings.weight'),
    };
    this.#norm = norm('bert.embeddings.LayerNorm');
    this.#layers = Array.from({ length: config.layers }, (_, i) => {
      const layer = `bert.encoder.layer.${i}`;
      return {
        queryKeyValue: linear(...['query', 'key', 'value'].map((part) => `${layer}.attention.self.${part}`)),
        attentionOutput: linear(`${layer}.attention.output.dense`),
        attentionNorm: norm(`${layer}.attention.output.LayerNorm`),
        intermediate: linear(`${layer}.intermediate.dense`),
        output: linear(`${layer}.output.dense`),
        outputNorm: norm(`${layer}.output.LayerNorm`),
      };
    });
    this.#qaOutputs = linear('qa_outputs');
  }

  /**
   * One sequence through the embeddings and all layers.
   * @param ids token ids [tokens], without padding
   * @param typeIds [tokens], 0 for the question's tokens, 1 for the passage's
   * @returns the last layer's hidden states [tokens, hidden], to be read or computed with
   */
  encode(ids: Int32Array, typeIds: Int32Array): Tensor {
    const { heads, eps } = this.config;
    const rt = this.#runtime;
    let x = rt.embedding(ids, typeIds, this.#tables); // [tokens] -> [tokens, hidden]
    x = rt.layerNorm(x, null, this.#norm, eps);
    for (const layer of this.#layers) {
      const queryKeyValue = rt.linear(x, layer.queryKeyValue); // [tokens, hidden] -> [tokens, 3 hidden]
      const context = rt.attention(queryKeyValue, heads); // [tokens, 3 hidden] -> [tokens, hidden]
      const attended = rt.linear(context, layer.attentionOutput); // [tokens, hidden] -> [tokens, hidden]
      const y = rt.layerNorm(attended, x, layer.attentionNorm, eps);
      const intermediate = rt.linear(y, layer.intermediate, 'gelu'); // [tokens, hidden] -> [tokens, intermediate]
      const output = rt.linear(intermediate, layer.output); // [tokens, intermediate] -> [tokens, hidden]
      x = rt.layerNorm(output, y, layer.outputNorm, eps);
    }
    return x;
  }

  /**
   * One sequence through the whole model; arguments as of `encode`.
   * @returns logits [tokens, 2]: how well the answer starts, and how well it ends, at each token
   */
  forward(ids: Int32Array, typeIds: Int32Array): Promise<Float32Array> {
    return this.#runtime.read(this.#runtime.linear(this.encode(ids, typeIds), this.#qaOutputs)); // -> [tokens, 2]
  }
}

/** Tensors of one shape, joined along their first dimension; a single matrix is returned as it is. */
function stack(weights: Weights, names: string[]): LinearWeight {
  const first = weights(names[0]!);
  if (names.length === 1 && first.shape.length === 2) return first; // a bias must outlast its weight
  const many = <A extends LinearWeight['data']>(one: A) =>
    new (one.constructor as new (length: number) => A)(one.length * names.length);
  const shape = [first.shape[0]! * names.length, ...first.shape.slice(1)];
  const joined = { ...first, shape, data: many(first.data), ...('scale' in first && { scale: many(first.scale) }) };
  for (const [i, name] of names.entries()) {
    const part = i === 0 ? first : weights(name);
    joined.data.set(part.data, i * part.data.length);
    if ('scale' in part) joined.scale!.set(part.scale, i * part.scale.length);
  }
  return joined as LinearWeight;
}
