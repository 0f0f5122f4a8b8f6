/** Checks a checkpoint: config.json must describe a supported BERT, and the tensors must be those of that BERT. */

import type { BertConfig } from '../bert.ts';
import { BertletError } from '../errors.ts';
import type { HostTensor, Scheme } from '../runtime.ts';

/**
 * Reads the sizes of the model from config.json.
 * @throws BertletError `config` for another architecture, or if a size is missing or impossible
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

export const WORD_EMBEDDINGS = 'bert.embeddings.word_embeddings.weight';

/** The shape of every tensor of a checkpoint, by the tensor's Hugging Face name. `linear`: a linear's weight. */
export function tensorShapes(config: BertConfig): Map<string, { shape: number[]; linear: boolean }> {
  const { hidden, intermediate } = config;
  const shapes = new Map<string, { shape: number[]; linear: boolean }>();
  const add = (name: string, ...shape: number[]) => shapes.set(name, { shape, linear: false });
  const norm = (name: string) => [add(`${name}.weight`, hidden), add(`${name}.bias`, hidden)];
  const linear = (name: string, out: number, features: number) => {
    shapes.set(`${name}.weight`, { shape: [out, features], linear: true });
    add(`${name}.bias`, out);
  };
  add(WORD_EMBEDDINGS, config.vocab, hidden);
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

/**
 * Tensors that a checkpoint may hold but question answering does not use. The pooler is for classification, `cls` holds
 * the heads of pretraining, and position_ids is the constant 0, 1, 2, ...
 */
const UNUSED = /^(bert\.(pooler\.dense\.(weight|bias)|embeddings\.position_ids)|cls\..*)$/;

/**
 * Compares the names and shapes of a checkpoint's tensors with those of the model. A weight may be int8 if a tensor
 * with its scales is there as well (layout.ts).
 * @returns the scheme of an int8 checkpoint, otherwise null
 * @throws BertletError `weights`, naming every tensor that is missing, unexpected or of a wrong shape
 */
export function checkTensors(
  config: BertConfig,
  tensors: ReadonlyMap<string, Pick<HostTensor, 'dtype' | 'shape'>>,
): Scheme | null {
  const expected = new Map([...tensorShapes(config)].map(([name, { shape }]) => [name, [`${shape}`]]));
  const schemes = new Set<Scheme | null>();
  for (const [name, { shape, linear }] of tensorShapes(config)) {
    const int8 = tensors.get(name)?.dtype === 'I8' && (linear || name === WORD_EMBEDDINGS);
    if (int8) expected.set(`${name}_scale`, [...(linear ? ['1'] : []), `${shape[0]},1`]);
    if (linear) schemes.add(int8 ? (tensors.get(`${name}_scale`)?.shape.length === 1 ? 'torch' : 'accurate') : null);
  }
  const problems: string[] = [];
  for (const [name, shapes] of expected) {
    const got = tensors.get(name)?.shape;
    if (!got) problems.push(`missing ${name} [${shapes[0]}]`);
    else if (!shapes.includes(`${got}`)) problems.push(`${name}: expected [${shapes.join('] or [')}], got [${got}]`);
  }
  for (const name of tensors.keys()) if (!expected.has(name) && !UNUSED.test(name)) problems.push(`unexpected ${name}`);
  if (problems.length === 0 && schemes.size > 1) problems.push('linears of different dtypes or schemes');
  if (problems.length === 0) return [...schemes][0]!;
  const advice = 'Use a BertForQuestionAnswering checkpoint with its own config.json.';
  throw new BertletError(
    'weights',
    `checkpoint: ${problems.length} tensors differ. ${advice}\n  ${problems.join('\n  ')}`,
  );
}
