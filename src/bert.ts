/**
 * BERT for extractive question answering (Devlin et al. 2018), written once for all devices on top of `Runtime`.
 *
 *   token ids -> embeddings -> layer 0 -> ... -> layer n - 1 -> qa_outputs -> two logits for each token
 *
 *   a layer:  x -> query | key | value -> attention -> linear -> + x -> layerNorm -> y
 *             y -> linear, GELU -> linear -> + y -> layerNorm -> the next layer's x
 *
 * Tensors have the names of BERT's Hugging Face checkpoint. DistilBERT, ELECTRA and RoBERTa are the same computation:
 * checkpoint/config.ts has their names.
 */
import { inputError } from './errors.ts';
import { array, callback, check, object, preview } from './options.ts';
import {
  checkArray,
  type HostTensor,
  type Linear,
  type LinearWeight,
  type Norm,
  type ReadOptions,
  type Runtime,
  type Scheme,
  type Tables,
  type Tensor,
} from './runtime.ts';

/** `model_type` in config.json. */
export type FamilyName = 'bert' | 'distilbert' | 'electra' | 'roberta';

/** Sizes of a BERT, from its config.json. */
export interface BertConfig {
  /** Whose names the checkpoint's tensors have. Default bert. */
  readonly family?: FamilyName;
  /** Tokens in the vocabulary. */
  readonly vocab: number;
  /** Longest input, in tokens: each position has an embedding. */
  readonly positions: number;
  /** Row of the position table that the first token gets. Default 0; 2 in RoBERTa. */
  readonly firstPosition?: number;
  /** Token types: 0 for the question, 1 for the passage. 0 if there is no table of them: DistilBERT. */
  readonly types: number;
  /** Width of the activations [tokens, hidden]. */
  readonly hidden: number;
  /** Width of the embedding tables, where a linear widens them to `hidden`: ELECTRA small. Default `hidden`. */
  readonly embedding?: number;
  readonly layers: number;
  /** Attention heads; headDim = hidden / heads. */
  readonly heads: number;
  /** Width between the two linears of a layer's feed-forward half. */
  readonly intermediate: number;
  /** Added to the variance in every layerNorm. */
  readonly eps: number;
  /** The linears of the head, by their names in the checkpoint, and their outputs. Default `{ qa_outputs: 2 }`. */
  readonly head?: Readonly<Record<string, number>>;
  /** Whether an int8 checkpoint leaves the head, qa_outputs, in float32. Default false. */
  readonly floatHead?: boolean;
  /** Divisor of logits for `confidence`, so that it is right as often as it says (Guo et al. 2017). Default 1. */
  readonly temperature?: number;
}

/** The head of extractive question answering. */
export const QA_HEAD = { qa_outputs: 2 };

/** One encoder layer on the device. */
interface Layer {
  readonly queryKeyValue: Linear;
  readonly attentionOutput: Linear;
  readonly attentionNorm: Norm;
  readonly intermediate: Linear;
  readonly output: Linear;
  readonly outputNorm: Norm;
}

/** How a tensor of a model is given. I8: a linear's weight, with a scale for each of its rows. */
export interface WeightForm {
  readonly dtype: 'F32' | 'F16' | 'I8';
  readonly shape: readonly number[];
  /** Only for I8. */
  readonly scheme?: Scheme;
}

/** The tensors of a model by their names, in the precision to compute with. All memory is the caller's. */
export interface Weights {
  /** Returns the form of a tensor, without reading it. */
  describe(name: string): WeightForm;
  /**
   * Writes the numbers of a tensor.
   * @param target as many of its dtype
   * @param scale for I8: [out]
   */
  fill(name: string, target: Float32Array | Uint16Array | Int8Array, scale?: Float32Array): void;
}

/** A BERT whose weights are on the runtime's device. */
export class Bert {
  readonly config: BertConfig;
  readonly #runtime: Runtime;
  readonly #tables: Tables;
  readonly #norm: Norm;
  readonly #project: Linear | null;
  readonly #layers: Layer[];
  /** The linears of the head, by their names in the checkpoint: qa_outputs, or those that `openCheckpoint` was asked for. */
  readonly head: Readonly<Record<string, Linear>>;

  /** Uploads the weights. Query, key and value read the same input, so they become one linear [3 hidden, hidden]. */
  constructor(runtime: Runtime, config: BertConfig, weights: Weights) {
    const isRight = object.allows(config) && [runtime?.linearLayer, weights?.describe].every(callback().allows);
    if (!isRight) throw inputError('Bert', 'a Runtime, sizes, Weights', [runtime, config, weights].map(preview));
    this.#runtime = runtime;
    this.config = config;
    const { hidden, embedding = hidden, types } = config;
    const upload = (name: string, first = 0) => {
      const { dtype, shape, data } = readWeights(weights, [name]) as HostTensor<Uint16Array>;
      const [rows = 0, ...columns] = shape; // no columns of a vector, whose `first` is 0
      const rest = data.subarray(first * (columns[0] ?? 0));
      const uploaded = runtime.tensor({ dtype, shape: [rows - first, ...columns], data: rest });
      free(data);
      return uploaded;
    };
    const norm = (name: string): Norm => ({ gamma: upload(`${name}.weight`), beta: upload(`${name}.bias`) });
    const linear = (...names: string[]): Linear => {
      const all = (kind: string) => names.map((name) => `${name}.${kind}`);
      const weight = readWeights(weights, all('weight'));
      const bias = readWeights(weights, all('bias')) as HostTensor<Float32Array>;
      const uploaded = runtime.linearLayer(weight, bias, names.join(' | '));
      free(weight.data);
      return uploaded;
    };
    this.#tables = {
      word: upload('bert.embeddings.word_embeddings.weight'),
      position: upload('bert.embeddings.position_embeddings.weight', config.firstPosition),
      type:
        types > 0
          ? upload('bert.embeddings.token_type_embeddings.weight')
          : runtime.tensor({ shape: [2, embedding], data: new Float32Array(2 * embedding) }), // adds nothing
    };
    this.#norm = norm('bert.embeddings.LayerNorm');
    this.#project = embedding === hidden ? null : linear('bert.embeddings_project');
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
    this.head = Object.fromEntries(Object.keys(config.head ?? QA_HEAD).map((name) => [name, linear(name)]));
  }

  /**
   * Records the embeddings and all layers. Nothing is computed before `Runtime.read`.
   * @param ids token ids [tokens], without padding
   * @param typeIds [tokens], 0 for tokens of the question, 1 for tokens of the passage
   * @param lengths tokens of each sequence, if the ids are a batch of several, one after another
   * @returns the hidden states of the last layer [tokens, hidden], to read or to compute with
   */
  encode(ids: Int32Array, typeIds: Int32Array, lengths?: readonly number[]): Tensor {
    const { heads, eps } = this.config;
    const rt = this.#runtime;
    let x = rt.embedding(ids, typeIds, this.#tables, lengths); // [tokens] -> [tokens, hidden]
    x = rt.layerNorm(x, null, this.#norm, eps); // [tokens, hidden] -> same
    if (this.#project) x = rt.linear(x, this.#project); // [tokens, embedding] -> [tokens, hidden]
    for (const layer of this.#layers) {
      const queryKeyValue = rt.linear(x, layer.queryKeyValue); // [tokens, hidden] -> [tokens, 3 hidden]
      const context = rt.attention(queryKeyValue, heads); // [tokens, 3 hidden] -> [tokens, hidden]
      const attended = rt.linear(context, layer.attentionOutput); // [tokens, hidden] -> [tokens, hidden]
      const y = rt.layerNorm(attended, x, layer.attentionNorm, eps); // of attended + x
      const intermediate = rt.linear(y, layer.intermediate, 'gelu'); // [tokens, hidden] -> [tokens, intermediate]
      const output = rt.linear(intermediate, layer.output); // [tokens, intermediate] -> [tokens, hidden]
      x = rt.layerNorm(output, y, layer.outputNorm, eps); // of output + y
    }
    return x;
  }

  #qaOutputs(): Linear {
    const { qa_outputs: head } = this.head;
    if (head) return head;
    throw inputError('forward', 'the head qa_outputs', Object.keys(this.head).join(', '), 'Use `encode` and `head`.');
  }

  /**
   * Runs the whole model on one sequence. The arguments are those of `encode` and of `Runtime.read`.
   * @returns logits [tokens, 2]: for each token, how well the answer starts there and how well the answer ends there
   */
  async forward(ids: Int32Array, typeIds: Int32Array, options?: ReadOptions): Promise<Float32Array> {
    return this.#runtime.read(this.#runtime.linear(this.encode(ids, typeIds), this.#qaOutputs()), options);
  }

  /**
   * Runs the whole model on several sequences of any lengths in one program, which fills a GPU that one sequence leaves
   * idle. No sequence sees another: its logits are the bits that it has alone.
   * @returns the logits of each sequence, [tokens, 2] as from `forward`
   */
  async forwardBatch(
    ids: readonly Int32Array[],
    typeIds: readonly Int32Array[],
    options?: ReadOptions,
  ): Promise<Float32Array[]> {
    for (const list of [ids, typeIds]) check('forwardBatch', list, array);
    for (const [i, one] of ids.entries()) {
      checkArray(`forwardBatch: ids[${i}]`, one, 'Int32Array');
      checkArray(`forwardBatch: typeIds[${i}]`, typeIds[i]!, 'Int32Array', one.length);
    }
    const joined = (sequences: readonly Int32Array[]) => Int32Array.from(sequences.flatMap((one) => [...one]));
    const lengths = ids.map(({ length }) => length);
    const states = this.encode(joined(ids), joined(typeIds), lengths); // [tokens of all, hidden]
    const logits = this.#runtime.linear(states, this.#qaOutputs()); // [tokens of all, 2]
    const values = await this.#runtime.read(logits, options);
    return logits.sequences.map(({ first, tokens }) => values.subarray(2 * first, 2 * (first + tokens)));
  }
}

const NUMBERS = { F32: Float32Array, F16: Uint16Array, I8: Int8Array } as const;
/** Reads tensors of one form into one array, joined along their first dimension: n of [out, in] -> [n out, in]. */
export function readWeights(weights: Weights, names: readonly string[]): LinearWeight {
  const { dtype, shape, scheme } = weights.describe(names[0]!);
  const [rows = 0, columns = 1] = shape;
  const data = new NUMBERS[dtype](names.length * rows * columns);
  const scale = new Float32Array(dtype === 'I8' ? names.length * rows : 0);
  for (const [i, name] of names.entries()) {
    const [from, to] = [i * rows, (i + 1) * rows];
    weights.fill(name, data.subarray(from * columns, to * columns), scale.subarray(from, to));
  }
  const joined = { dtype, shape: [names.length * rows, ...shape.slice(1)], data };
  return (dtype === 'I8' ? { ...joined, scale, scheme } : joined) as LinearWeight;
}

/** Frees memory now: garbage collection would let tensors pile up. */
export const free = ({ buffer }: ArrayBufferView): unknown => (buffer as ArrayBuffer).transfer(0);
