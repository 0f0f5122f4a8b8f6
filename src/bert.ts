/**
 * BERT for extractive question answering (Devlin et al. 2018), written once against `Backend`.
 * Names of tensors are the Hugging Face checkpoint's.
 */
import {
  type Backend,
  BertletError,
  type Linear,
  type Norm,
  type QuantizedTensor,
  type Scheme,
  type Tensor,
  toFloat32,
} from './backend.ts';
import { quantizeWeight } from './quantize.ts';

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

/**
 * Reads config.json.
 * @throws BertletError `config` for another architecture, or for sizes that make no BERT.
 */
export function parseConfig(json: Record<string, unknown>, file = 'config.json'): BertConfig {
  const expect = (key: string, expected: string, ok: (value: unknown) => boolean, absent?: unknown): unknown => {
    const value = json[key] ?? absent;
    if (ok(value)) return value;
    const message = `${file}: expected ${key} to be ${expected}, got ${JSON.stringify(value)}.`;
    throw new BertletError('config', `${message} bertlet runs BERT question answering checkpoints only.`);
  };
  const positive = (value: unknown) => Number.isSafeInteger(value) && (value as number) > 0;
  const size = (key: string) => expect(key, 'a positive integer', positive) as number;
  expect('model_type', '"bert"', (value) => value === 'bert');
  expect('hidden_act', '"gelu" (the exact one)', (value) => value === 'gelu', 'gelu');
  expect('position_embedding_type', '"absolute"', (value) => value === 'absolute', 'absolute');
  const hidden = size('hidden_size');
  return {
    vocab: size('vocab_size'),
    positions: size('max_position_embeddings'),
    types: expect('type_vocab_size', 'an integer of at least 2', (n) => positive(n) && n !== 1, 2) as number,
    hidden,
    layers: size('num_hidden_layers'),
    heads: expect(
      'num_attention_heads',
      `a divisor of hidden_size ${hidden}`,
      (n) => positive(n) && hidden % (n as number) === 0,
    ) as number,
    intermediate: size('intermediate_size'),
    eps: expect('layer_norm_eps', 'a positive number', (n) => typeof n === 'number' && n > 0, 1e-12) as number,
  };
}

/** Every tensor of a checkpoint, by Hugging Face's name: its shape, and whether it is a linear's weight. */
export function tensorShapes(config: BertConfig): Map<string, { shape: number[]; linear: boolean }> {
  const { hidden, intermediate } = config;
  const shapes = new Map<string, { shape: number[]; linear: boolean }>();
  const add = (name: string, ...shape: number[]) => shapes.set(name, { shape, linear: false });
  const norm = (name: string) => [add(`${name}.weight`, hidden), add(`${name}.bias`, hidden)];
  const linear = (name: string, out: number, features: number) => {
    shapes.set(`${name}.weight`, { shape: [out, features], linear: true });
    add(`${name}.bias`, out);
  };
  add('bert.embeddings.word_embeddings.weight', config.vocab, hidden);
  add('bert.embeddings.position_embeddings.weight', config.positions, hidden);
  add('bert.embeddings.token_type_embeddings.weight', config.types, hidden);
  norm('bert.embeddings.LayerNorm');
  for (let i = 0; i < config.layers; i++) {
    const layer = `bert.encoder.layer.${i}`;
    for (const part of ['query', 'key', 'value']) linear(`${layer}.attention.self.${part}`, hidden, hidden);
    linear(`${layer}.attention.output.dense`, hidden, hidden);
    norm(`${layer}.attention.output.LayerNorm`);
    linear(`${layer}.intermediate.dense`, intermediate, hidden);
    linear(`${layer}.output.dense`, hidden, intermediate);
    norm(`${layer}.output.LayerNorm`);
  }
  linear('qa_outputs', 2, hidden);
  return shapes;
}

/** What a checkpoint may hold besides: the pooler is for classification, position_ids is 0, 1, 2, ... */
const UNUSED = /^bert\.(pooler\.dense\.(weight|bias)|embeddings\.position_ids)$/;

/**
 * Compares a checkpoint's names and shapes with the model's.
 * @throws BertletError `weights`, naming all that is missing, unexpected or of a wrong shape.
 */
export function checkTensors(config: BertConfig, tensors: ReadonlyMap<string, { shape: readonly number[] }>): void {
  const expected = tensorShapes(config);
  const problems: string[] = [];
  for (const [name, { shape }] of expected) {
    const got = tensors.get(name)?.shape;
    if (!got) problems.push(`missing ${name} [${shape}]`);
    else if (`${got}` !== `${shape}`) problems.push(`${name}: expected [${shape}], got [${got}]`);
  }
  for (const name of tensors.keys()) if (!expected.has(name) && !UNUSED.test(name)) problems.push(`unexpected ${name}`);
  if (problems.length === 0) return;
  const advice = 'Use a BertForQuestionAnswering checkpoint with its own config.json.';
  throw new BertletError(
    'weights',
    `checkpoint: ${problems.length} tensors differ. ${advice}\n  ${problems.join('\n  ')}`,
  );
}

interface Layer<T> {
  readonly queryKeyValue: Linear<T>;
  readonly attentionOutput: Linear<T>;
  readonly attentionNorm: Norm<T>;
  readonly intermediate: Linear<T>;
  readonly output: Linear<T>;
  readonly outputNorm: Norm<T>;
}

/** How the linears' weights are held: float32, or int8 with one of the two schemes. */
export type Precision = 'fp32' | Scheme;

export class Bert<T> {
  readonly config: BertConfig;
  /** Bytes of all weights in the form in which the backend got them. */
  weightBytes = 0;
  readonly #backend: Backend<T>;
  readonly #tables: { word: T; position: T; type: T };
  readonly #norm: Norm<T>;
  readonly #layers: Layer<T>[];
  readonly #qaOutputs: Linear<T>;

  /**
   * Uploads a checkpoint's weights, quantizing the linears' where asked for.
   * @throws BertletError `weights` where the tensors are not this model's.
   */
  constructor(
    backend: Backend<T>,
    config: BertConfig,
    tensors: ReadonlyMap<string, Tensor>,
    precision: Precision = 'fp32',
  ) {
    checkTensors(config, tensors);
    this.#backend = backend;
    this.config = config;
    const float32 = (name: string): Tensor<Float32Array> => {
      const tensor = tensors.get(name)!;
      return { dtype: 'F32', shape: tensor.shape, data: toFloat32(tensor, name) };
    };
    const upload = (tensor: Tensor<Float32Array> | QuantizedTensor): T => {
      this.weightBytes += tensor.data.byteLength + ('scale' in tensor ? tensor.scale.byteLength : 0);
      return backend.upload(tensor);
    };
    const norm = (name: string): Norm<T> => ({
      gamma: upload(float32(`${name}.weight`)),
      beta: upload(float32(`${name}.bias`)),
    });
    /** One linear of several that read the same input, their outputs side by side; each quantized by itself. */
    const linear = (...names: string[]): Linear<T> => {
      const weight = (name: string) => {
        const values = float32(`${name}.weight`);
        return precision === 'fp32' ? values : quantizeWeight(values, precision);
      };
      return {
        weight: upload(stack(names.map(weight))),
        bias: upload(stack(names.map((name) => float32(`${name}.bias`)))),
      };
    };
    this.#tables = {
      word: upload(float32('bert.embeddings.word_embeddings.weight')),
      position: upload(float32('bert.embeddings.position_embeddings.weight')),
      type: upload(float32('bert.embeddings.token_type_embeddings.weight')),
    };
    this.#norm = norm('bert.embeddings.LayerNorm');
    this.#layers = Array.from({ length: config.layers }, (_, i) => {
      const layer = `bert.encoder.layer.${i}`;
      const self = `${layer}.attention.self`;
      return {
        queryKeyValue: linear(`${self}.query`, `${self}.key`, `${self}.value`),
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
   * One sequence through the model.
   * @param ids token ids [tokens], without padding
   * @param typeIds 0 for the question's tokens, 1 for the passage's
   * @returns logits [tokens, 2]: how well the answer starts, and how well it ends, at each token
   */
  forward(ids: Int32Array, typeIds: Int32Array): Promise<Float32Array> {
    const { heads, eps } = this.config;
    const b = this.#backend;
    let x = b.embedding(ids, typeIds, this.#tables); // [tokens] -> [tokens, hidden]
    x = b.layerNorm(x, null, this.#norm, eps);
    for (const layer of this.#layers) {
      const queryKeyValue = b.linear(x, layer.queryKeyValue); // [tokens, hidden] -> [tokens, 3 hidden]
      const context = b.attention(queryKeyValue, heads); // [tokens, 3 hidden] -> [tokens, hidden]
      const attended = b.linear(context, layer.attentionOutput); // [tokens, hidden] -> [tokens, hidden]
      const y = b.layerNorm(attended, x, layer.attentionNorm, eps);
      const intermediate = b.linear(y, layer.intermediate, 'gelu'); // [tokens, hidden] -> [tokens, intermediate]
      const output = b.linear(intermediate, layer.output); // [tokens, intermediate] -> [tokens, hidden]
      x = b.layerNorm(output, y, layer.outputNorm, eps);
    }
    return b.read(b.linear(x, this.#qaOutputs)); // [tokens, hidden] -> [tokens, 2]
  }
}

/** Joins tensors along their first dimension; one is returned as it is. */
function stack<W extends Tensor<Float32Array> | QuantizedTensor>(parts: W[]): W {
  const first = parts[0]!;
  if (parts.length === 1) return first;
  const shape = [parts.reduce((rows, part) => rows + part.shape[0]!, 0), ...first.shape.slice(1)];
  const joined = { ...first, shape, data: concat(parts.map((part) => part.data)) };
  return 'scale' in first ? { ...joined, scale: concat(parts.map((part) => (part as QuantizedTensor).scale)) } : joined;
}

function concat<A extends Float32Array | Int8Array>(arrays: A[]): A {
  const total = arrays.reduce((sum, { length }) => sum + length, 0);
  const joined = new (arrays[0]!.constructor as new (length: number) => A)(total);
  let at = 0;
  for (const array of arrays) {
    joined.set(array, at);
    at += array.length;
  }
  return joined;
}
