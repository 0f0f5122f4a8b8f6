/**
 * Checks a checkpoint: config.json must describe a supported model, and the tensors must be those of that model.
 *
 * The families are BERT's computation under other names. `FAMILIES` has what the checkpoints of each call things;
 * everything behind this file knows BERT's names only.
 */
import type { BertConfig, FamilyName } from '../bert.ts';
import { BertletError, fault } from '../errors.ts';
import { preview } from '../options.ts';
import type { Scheme } from '../runtime.ts';
import type { TensorForm } from './safetensors.ts';

/** The words of a family's checkpoints, and what its models lack. */
interface Family {
  /** Keys of config.json that are not BERT's. */
  readonly keys?: Readonly<Record<string, string>>;
  /** BERT's keys that transformers takes for the family's own, too: the one that comes last in config.json counts. */
  readonly synonyms?: readonly string[];
  /** Default of `embedding_size`, where the tables may be narrower than the layers. */
  readonly embeddingSize?: number;
  /** Replaced in BERT's names one after another, they make the names of the family's tensors. */
  readonly names: readonly (readonly [bert: string, family: string])[];
  /** Whether there are token types. DistilBERT has none. */
  readonly noTypes?: boolean;
  /** The eps of every layerNorm, whatever config.json says. */
  readonly eps?: number;
  /** Whether positions are counted from the padding's id + 1, as in fairseq, where padding has a position. */
  readonly positionsAfterPadding?: boolean;
  /** The class of its tokenizer where no file names another. */
  readonly tokenizer: string;
}

/** The families by their `model_type` in config.json. */
export const FAMILIES: Readonly<Record<FamilyName, Family>> = {
  bert: { names: [], tokenizer: 'BertTokenizer' },
  distilbert: {
    keys: {
      hidden_size: 'dim',
      num_hidden_layers: 'n_layers',
      num_attention_heads: 'n_heads',
      intermediate_size: 'hidden_dim',
      hidden_act: 'activation',
    },
    synonyms: ['hidden_size', 'num_hidden_layers', 'num_attention_heads'],
    names: [
      ['bert.encoder.', 'distilbert.transformer.'],
      ['bert.embeddings.', 'distilbert.embeddings.'],
      ['attention.self.query', 'attention.q_lin'],
      ['attention.self.key', 'attention.k_lin'],
      ['attention.self.value', 'attention.v_lin'],
      ['attention.output.dense', 'attention.out_lin'],
      ['attention.output.LayerNorm', 'sa_layer_norm'],
      ['intermediate.dense', 'ffn.lin1'],
      ['output.dense', 'ffn.lin2'],
      ['output.LayerNorm', 'output_layer_norm'],
    ],
    noTypes: true,
    eps: 1e-12,
    tokenizer: 'BertTokenizer',
  },
  electra: { embeddingSize: 128, names: [['bert.', 'electra.']], tokenizer: 'BertTokenizer' },
  roberta: { names: [['bert.', 'roberta.']], positionsAfterPadding: true, tokenizer: 'RobertaTokenizer' },
};

/** The name in a family's checkpoints of the tensor that BERT calls `name`. */
const fileNameOf = (name: string, family: FamilyName = 'bert'): string =>
  FAMILIES[family].names.reduce((all, [bert, own]) => all.replace(bert, own), name);

const KNOWN = Object.keys(FAMILIES).join(', ');
// The largest sizes that are believed, far above every model's: what is made from them must fit the memory.
const MAX_SIZE = 2 ** 16;
const MAX_VOCAB = 2 ** 24;
const MAX_POSITIONS = 2 ** 20;
const MAX_LAYERS = 1000;
/** transformers' two names of the exact GELU. */
const EXACT_GELU: unknown[] = ['gelu', 'gelu_python'];
const HEAD = 'qa_outputs';
const QUANTIZED = 'Use the checkpoint that was quantized.';

/**
 * Reads the sizes of the model from config.json, whose words are those of the model's family.
 * @throws BertletError `config` for another architecture or head, or if a size is missing or impossible
 */
export function parseConfig(json: Record<string, unknown>, file = 'config.json'): BertConfig {
  const { model_type: type, architectures } = json;
  if (typeof type !== 'string' || !Object.hasOwn(FAMILIES, type)) throw configError(file, 'model_type', KNOWN, type);
  const name = type as FamilyName;
  const { keys = {}, embeddingSize, noTypes, eps, positionsAfterPadding = false } = FAMILIES[name];
  const { expect, size } = valuesOf(json, FAMILIES[name], file);
  // Refused before the weights are downloaded: a model with another head has no qa_outputs.
  const heads = Array.isArray(architectures) ? architectures.filter((head) => typeof head === 'string') : [];
  if (heads.length > 0 && !heads.some((head) => head.endsWith('ForQuestionAnswering')))
    throw configError(file, 'architectures', 'a model for question answering', heads.join(', '));
  expect('is_decoder', 'false', (value) => value === false, false);
  expect('hidden_act', '"gelu" or "gelu_python" (the exact one)', (value) => EXACT_GELU.includes(value), 'gelu');
  expect('position_embedding_type', '"absolute"', (value) => value === 'absolute', 'absolute');
  const floatHead = leavesHeadInFloat(json.quantization_config, file);
  const hidden = size('hidden_size', 1, MAX_SIZE);
  const embedding = embeddingSize ? size('embedding_size', 1, MAX_SIZE, embeddingSize) : hidden;
  const divides = (n: unknown) => isInteger(n, 1, hidden) && hidden % (n as number) === 0;
  const rows = size('max_position_embeddings', 1, MAX_POSITIONS);
  const firstPosition = positionsAfterPadding ? size('pad_token_id', 0, rows - 2, 1) + 1 : 0;
  const isEps = (n: unknown) => typeof n === 'number' && n > 0 && n <= 1;
  return {
    ...(name !== 'bert' && { family: name }),
    vocab: size('vocab_size', 1, MAX_VOCAB),
    positions: rows - firstPosition,
    ...(firstPosition > 0 && { firstPosition }),
    types: noTypes ? 0 : size('type_vocab_size', positionsAfterPadding ? 1 : 2, MAX_SIZE, 2),
    hidden,
    ...(embedding !== hidden && { embedding }),
    layers: size('num_hidden_layers', 1, MAX_LAYERS),
    heads: expect(
      'num_attention_heads',
      `a divisor of ${keys.hidden_size ?? 'hidden_size'} ${hidden}`,
      divides,
    ) as number,
    intermediate: size('intermediate_size', 1, 16 * MAX_SIZE),
    eps: eps ?? (expect('layer_norm_eps', 'a positive number up to 1', isEps, 1e-12) as number),
    ...(floatHead && { floatHead }),
  };
}

const configError = (file: string, key: string, expected: string, value: unknown): BertletError => {
  const advice = `bertlet runs question answering checkpoints of ${KNOWN} only.`;
  return fault('config', file, `${key} to be ${expected}`, preview(value), advice);
};

const isInteger = (n: unknown, min: number, max: number): boolean =>
  Number.isSafeInteger(n) && (n as number) >= min && (n as number) <= max;

/** Checks the values of config.json, by BERT's keys. Errors name the family's. */
function valuesOf(json: Record<string, unknown>, { keys = {}, synonyms = [] }: Family, file: string) {
  const expect = (key: string, expected: string, ok: (value: unknown) => boolean, absent?: unknown): unknown => {
    const familyKey = keys[key] ?? key;
    const value = json[familyKey] ?? absent;
    if (!ok(value)) throw configError(file, familyKey, expected, value);
    if (synonyms.includes(key) && json[key] !== undefined && json[key] !== value)
      throw configError(file, key, `as ${familyKey}, ${value}`, json[key]);
    return value;
  };
  const size = (key: string, min: number, max: number, absent?: number) =>
    expect(key, `an integer from ${min} to ${max}`, (value) => isInteger(value, min, max), absent) as number;
  return { expect, size };
}

/** Names that compressed-tensors has for int8 weights with their scales, and for weights in float (`dense`). */
const FORMATS: unknown[] = ['int-quantized', 'naive-quantized', 'dense', undefined];

/**
 * Whether an int8 checkpoint says that its head is in float.
 * @param config `quantization_config`
 * @throws BertletError `config` for weights in another form than float, or int8 as compressed-tensors has them
 */
function leavesHeadInFloat(config: unknown, file: string): boolean {
  if (config === undefined || config === null) return false;
  const { quant_method: method, format, ignore } = config as Record<string, unknown>;
  if (method !== 'compressed-tensors' || !FORMATS.includes(format)) {
    const expected = 'weights in float, or in int8 of compressed-tensors (int-quantized)';
    const got = `quantization_config of ${preview(method)}${format === undefined ? '' : `, ${preview(format)}`}`;
    throw fault('config', file, expected, got, QUANTIZED);
  }
  return Array.isArray(ignore) && ignore.includes(HEAD);
}

export const WORD_EMBEDDINGS = 'bert.embeddings.word_embeddings.weight';

/** A tensor of the model. */
export interface TensorShape {
  /** Its name in the file. */
  readonly own: string;
  readonly shape: number[];
  /** Whether it is the weight of a linear, which int8 quantizes. */
  readonly linear: boolean;
  /** Whether it is an embedding table. */
  readonly table: boolean;
}

/** The shape of every tensor of a checkpoint, by BERT's name for it. */
export function tensorShapes(config: BertConfig): Map<string, TensorShape> {
  const { hidden, intermediate, embedding = hidden, firstPosition = 0, floatHead = false } = config;
  const shapes = new Map<string, TensorShape>();
  const add = (name: string, shape: number[], kind?: 'linear' | 'table') =>
    shapes.set(name, {
      own: fileNameOf(name, config.family),
      shape,
      linear: kind === 'linear',
      table: kind === 'table',
    });
  const norm = (name: string, size: number) => [add(`${name}.weight`, [size]), add(`${name}.bias`, [size])];
  const linear = (name: string, out: number, features: number) => {
    add(`${name}.weight`, [out, features], name === HEAD && floatHead ? undefined : 'linear');
    add(`${name}.bias`, [out]);
  };
  add(WORD_EMBEDDINGS, [config.vocab, embedding], 'table');
  add('bert.embeddings.position_embeddings.weight', [firstPosition + config.positions, embedding], 'table');
  if (config.types > 0) add('bert.embeddings.token_type_embeddings.weight', [config.types, embedding], 'table');
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
  linear(HEAD, 2, hidden);
  return shapes;
}

/**
 * Names the tensors of a file as the model does: gamma and beta are what TensorFlow calls weight and bias, and a file
 * may leave out the first part of the names, such as `bert.`. Hugging Face renames them in the same way.
 */
export function renamed<E extends TensorForm>(config: BertConfig, tensors: ReadonlyMap<string, E>): Map<string, E> {
  const all = [...tensorShapes(config).values()].map(({ own }) => own);
  const expected = all.filter((name) => !name.startsWith(HEAD));
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

/** Names of tensors in files of other kinds, and how to make a checkpoint of them. */
const FOREIGN: readonly [names: RegExp, got: string, advice: string][] = [
  [/\.(lora|ia3|hada|lokr|oft)_\w+/, 'an adapter', 'Merge it into its model first: `merge_and_unload()` of peft.'],
  [/\.SCB$|\.weight\.(absmax|quant_map|quant_state)/, 'weights quantized by bitsandbytes', QUANTIZED],
  [/\.weight_packed$/, 'weights packed by compressed-tensors (pack-quantized)', QUANTIZED],
  [/\.(qweight|qzeros)$/, 'weights quantized by GPTQ or AWQ', QUANTIZED],
  [/^module\./, 'names that begin with `module.` (DataParallel)', 'Save its `.module` instead.'],
  [/^_orig_mod\./, 'names that begin with `_orig_mod.` (torch.compile)', 'Save its `._orig_mod` instead.'],
];
const FLOATS = ['F32', 'F16', 'BF16', 'F64'];
const MAX_PROBLEMS = 20; // in one message
const MAX_NAMES = 5; // of tensors that are there, where others are missing

/**
 * Compares the names, shapes and dtypes of a checkpoint's tensors with those of the model. A weight may be int8 if a tensor
 * with its scales is there as well (layout.ts). Tensors that the model does not have, such as the pooler, the heads of
 * pretraining and the positions' numbers, are passed over, as Hugging Face does, unless they would change what is computed:
 * more layers than config.json says, and what belongs to a quantized weight.
 * @returns the scheme of an int8 checkpoint, otherwise null
 * @throws BertletError `weights`, naming the tensors that are missing, unexpected, or of a wrong shape or dtype
 */
export function checkTensors(
  config: BertConfig,
  tensors: ReadonlyMap<string, TensorForm>,
  file = 'checkpoint',
): Scheme | null {
  const model = new Map([...tensorShapes(config).values()].map(({ own, ...rest }) => [own, rest]));
  const table = fileNameOf(WORD_EMBEDDINGS, config.family);
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
  const others = [...tensors.keys()].filter((name) => !expected.has(name));
  for (const name of others) {
    const ofLayer = model.has(name.replace(/\.layer\.\d+\./, '.layer.0.'));
    const ofWeight = /^(.+\.)(weight|input|output)_\w+$/.exec(name);
    const matters = ofLayer || (ofWeight && model.has(`${ofWeight[1]}weight`));
    if (matters) problems.push(`unexpected ${name.slice(0, 100)}`);
  }
  if (problems.length === 0 && schemes.size > 1) problems.push('linears of different dtypes or schemes');
  if (problems.length === 0) return [...schemes][0] ?? null;
  throw problemsError(file, problems, others);
}

/** @param others names of tensors that the model does not have */
function problemsError(file: string, problems: readonly string[], others: readonly string[]): BertletError {
  for (const [names, got, advice] of FOREIGN) {
    if (others.some((name) => names.test(name))) return fault('weights', file, "a model's weights", got, advice);
  }
  const advice = 'Use a question answering checkpoint with its own config.json.';
  const more = problems.length > MAX_PROBLEMS ? [`and ${problems.length - MAX_PROBLEMS} more`] : [];
  const listed = [...problems.slice(0, MAX_PROBLEMS), ...more].join('; ');
  const shown = others.slice(0, MAX_NAMES).map((name) => name.slice(0, 100));
  const there = shown.length > 0 ? ` The file has ${shown.join(', ')}${others.length > MAX_NAMES ? ', ...' : ''}.` : '';
  return new BertletError('weights', `${file}: ${problems.length} tensors differ: ${listed}.${there} ${advice}`);
}
