/** What config.json must say, and which tensors a checkpoint of it must hold. */
import { BertletError } from '../backend.ts';
import type { BertConfig } from '../bert.ts';

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
