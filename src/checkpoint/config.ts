/** Checks a checkpoint: config.json must describe a supported model, and the tensors must be those of that model. */

import type { BertConfig } from '../bert.ts';
import { BertletError } from '../errors.ts';
import { preview } from '../options.ts';
import type { Scheme } from '../runtime.ts';
import { FAMILIES, type FamilyName, familyOf, ownName } from './families.ts';
import type { TensorEntry } from './safetensors.ts';

const KNOWN = Object.keys(FAMILIES).join(', ');
/** The largest sizes that are believed, far above every model's: what is made from them must fit the memory. */
const MOST: Record<string, number> = {
  ...{ vocab_size: 2 ** 24, max_position_embeddings: 2 ** 20, type_vocab_size: 2 ** 16, num_hidden_layers: 1000 },
  ...{ hidden_size: 2 ** 16, intermediate_size: 2 ** 20, num_attention_heads: 2 ** 16, embedding_size: 2 ** 16 },
};

/**
 * Reads the sizes of the model from config.json, whose words are those of the model's family (families.ts).
 * @throws BertletError `config` for another architecture or head, or if a size is missing or impossible
 */
export function parseConfig(json: Record<string, unknown>, file = 'config.json'): BertConfig {
  const refuse = (key: string, expected: string, value: unknown): never => {
    const message = `${file}: expected ${key} to be ${expected}, got ${preview(value)}.`;
    throw new BertletError('config', `${message} bertlet runs question answering checkpoints of ${KNOWN} only.`);
  };
  const type = json.model_type;
  if (typeof type !== 'string' || !Object.hasOwn(FAMILIES, type)) refuse('model_type', KNOWN, type);
  const family = type as FamilyName;
  const { keys = {}, embeddingSize, noTypes = false, positionsAfterPadding = false } = familyOf(family);
  const expect = (key: string, expected: string, ok: (value: unknown) => boolean, absent?: unknown): unknown => {
    const own = keys[key] ?? key;
    const value = json[own] ?? absent;
    return ok(value) ? value : refuse(own, expected, value);
  };
  // Refused before the weights are downloaded: a model with another head has no qa_outputs.
  const heads = Array.isArray(json.architectures) ? json.architectures.filter((head) => typeof head === 'string') : [];
  if (heads.length > 0 && !heads.some((head) => head.endsWith('ForQuestionAnswering'))) {
    refuse('architectures', 'a model for question answering', heads.join(', '));
  }
  const positive = (value: unknown) => Number.isSafeInteger(value) && (value as number) > 0;
  const size = (key: string, absent?: number) => expect(key, 'a positive integer', positive, absent) as number;
  expect('is_decoder', 'false', (value) => value === false, false);
  expect('hidden_act', '"gelu" (the exact one)', (value) => value === 'gelu', 'gelu');
  expect('position_embedding_type', '"absolute"', (value) => value === 'absolute', 'absolute');
  for (const [key, most] of Object.entries(MOST))
    expect(key, `at most ${most}`, (n) => typeof n !== 'number' || n <= most);
  const hidden = size('hidden_size');
  const embedding = embeddingSize ? size('embedding_size', embeddingSize) : hidden;
  const rows = size('max_position_embeddings');
  const isPadding = (id: unknown) => Number.isSafeInteger(id) && (id as number) >= 0 && (id as number) < rows - 1;
  const firstPosition = positionsAfterPadding
    ? (expect('pad_token_id', `an integer from 0 to ${rows - 2}`, isPadding, 1) as number) + 1
    : 0;
  const leastTypes = positionsAfterPadding ? 1 : 2;
  const enough = (n: unknown) => positive(n) && (n as number) >= leastTypes;
  return {
    ...(family !== 'bert' && { family }),
    vocab: size('vocab_size'),
    positions: rows - firstPosition,
    ...(firstPosition > 0 && { firstPosition }),
    types: noTypes ? 0 : (expect('type_vocab_size', `an integer of at least ${leastTypes}`, enough, 2) as number),
    hidden,
    ...(embedding !== hidden && { embedding }),
    layers: size('num_hidden_layers'),
    heads: expect(
      'num_attention_heads',
      `a divisor of ${keys.hidden_size ?? 'hidden_size'} ${hidden}`,
      (n) => positive(n) && hidden % (n as number) === 0,
    ) as number,
    intermediate: size('intermediate_size'),
    eps: expect(
      'layer_norm_eps',
      'a positive number below 0.1',
      (n) => typeof n === 'number' && n > 0 && n < 0.1,
      1e-12,
    ) as number,
  };
}

export const WORD_EMBEDDINGS = 'bert.embeddings.word_embeddings.weight';

/** What the file has of a tensor. `own`: its name there; `linear`: it is a linear's weight. */
export interface TensorShape {
  readonly own: string;
  readonly shape: number[];
  readonly linear: boolean;
}

/** The shape of every tensor of a checkpoint, by BERT's name for it. */
export function tensorShapes(config: BertConfig): Map<string, TensorShape> {
  const { hidden, intermediate, embedding = hidden, firstPosition = 0 } = config;
  const shapes = new Map<string, TensorShape>();
  const add = (name: string, shape: number[], linear = false) =>
    shapes.set(name, { own: ownName(name, config.family), shape, linear });
  const norm = (name: string, size: number) => [add(`${name}.weight`, [size]), add(`${name}.bias`, [size])];
  const linear = (name: string, out: number, features: number) => {
    add(`${name}.weight`, [out, features], true);
    add(`${name}.bias`, [out]);
  };
  add(WORD_EMBEDDINGS, [config.vocab, embedding]);
  add('bert.embeddings.position_embeddings.weight', [firstPosition + config.positions, embedding]);
  if (config.types > 0) add('bert.embeddings.token_type_embeddings.weight', [config.types, embedding]);
  norm('bert.embeddings.LayerNorm', embedding);
  if (embedding !== hidden) linear('bert.embeddings_project', hidden, embedding);
  for (let i = 0; i < config.layers; i++) {
    const layer = `bert.encoder.layer.${i}`;
    for (const part of ['query', 'key', 'value']) linear(`${layer}.attention.self.${part}`, hidden, hidden);
    linear(`${layer}.attention.output.dense`, hidden, hidden);
    norm(`${layer}.attention.output.LayerNorm`, hidden);
    linear(`${layer}.intermediate.dense`, intermediate, hidden);
    linear(`${layer}.output.dense`, hidden, intermediate);
    norm(`${layer}.output.LayerNorm`, hidden);
  }
  linear('qa_outputs', 2, hidden);
  return shapes;
}

/**
/**
 * The tensors of a file by the model's own names: gamma and beta are what TensorFlow calls weight and bias, and a file
 * may leave out the first part of the names, such as `bert.`. Hugging Face renames them in the same way.
 */
export function renamed<E extends TensorEntry>(config: BertConfig, tensors: ReadonlyMap<string, E>): Map<string, E> {
  const all = [...tensorShapes(config).values()].map(({ own }) => own);
  const expected = all.filter((name) => !name.startsWith('qa_outputs.'));
  const whole = new Map(expected.map((name) => [name.slice(name.indexOf('.') + 1), name]));
  const found = new Map<string, E>();
  for (const [written, entry] of tensors) {
    const name = written.replace(/\.gamma$/, '.weight').replace(/\.beta$/, '.bias');
    const full = whole.get(name.replace(/_scale$/, ''));
    const prefix = full && !tensors.has(full) ? full.slice(0, full.indexOf('.') + 1) : '';
    found.set(prefix + name, entry);
  }
  return found;
}

const FLOATS = ['F32', 'F16', 'BF16', 'F64'];
const MOST_SHOWN = 20; // problems in one message

/**
 * Compares the names, shapes and dtypes of a checkpoint's tensors with those of the model. A weight may be int8 if a tensor
 * with its scales is there as well (layout.ts). Tensors that the model does not have, such as the pooler, the heads of
 * pretraining and the positions' numbers, are passed over, as Hugging Face does, unless they would change what is computed:
 * more layers than config.json says, and what belongs to a quantized weight.
 * @returns the scheme of an int8 checkpoint, otherwise null
 * @throws BertletError `weights`, naming the tensors that are missing, unexpected, or of a wrong shape or dtype
 */
export function checkTensors(config: BertConfig, tensors: ReadonlyMap<string, TensorEntry>): Scheme | null {
  const model = new Map([...tensorShapes(config).values()].map(({ own, ...rest }) => [own, rest]));
  const table = ownName(WORD_EMBEDDINGS, config.family);
  const expected = new Map([...model].map(([name, { shape }]) => [name, [`${shape}`]]));
  const schemes = new Set<Scheme | null>();
  const int8 = new Set<string>();
  for (const [name, { shape, linear }] of model) {
    const quantized = tensors.get(name)?.dtype === 'I8' && (linear || name === table);
    if (quantized) int8.add(name);
    if (quantized) expected.set(`${name}_scale`, [...(linear ? ['1'] : []), `${shape[0]},1`]);
    if (linear)
      schemes.add(quantized ? (tensors.get(`${name}_scale`)?.shape.length === 1 ? 'torch' : 'accurate') : null);
  }
  const problems: string[] = [];
  for (const [name, shapes] of expected) {
    const { shape, dtype } = tensors.get(name) ?? {};
    if (!shape) problems.push(`missing ${name} [${shapes[0]}]`);
    else if (!shapes.includes(`${shape}`))
      problems.push(`${name}: expected [${shapes.join('] or [')}], got [${`${shape}`.slice(0, 100)}]`);
    else if (!int8.has(name) && !FLOATS.includes(dtype!))
      problems.push(`${name}: expected F32, F16 or BF16, got ${dtype}`);
  }
  for (const name of tensors.keys()) {
    const ofLayer = model.has(name.replace(/\.layer\.\d+\./, '.layer.0.'));
    const ofWeight = /^(.+\.)(weight|input|output)_\w+$/.exec(name);
    const matters = ofLayer || (ofWeight && model.has(`${ofWeight[1]}weight`));
    if (!expected.has(name) && matters) problems.push(`unexpected ${name.slice(0, 100)}`);
  }
  if (problems.length === 0 && schemes.size > 1) problems.push('linears of different dtypes or schemes');
  if (problems.length === 0) return [...schemes][0]!;
  const advice = 'Use a question answering checkpoint with its own config.json.';
  const more = problems.length > MOST_SHOWN ? [`and ${problems.length - MOST_SHOWN} more`] : [];
  const listed = [...problems.slice(0, MOST_SHOWN), ...more].join('; ');
  throw new BertletError('weights', `checkpoint: ${problems.length} tensors differ: ${listed}. ${advice}`);
}
