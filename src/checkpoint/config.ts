/**
 * Checks a checkpoint: config.json must describe a supported model, and the tensors must be those of that model.
 *
 * The families are BERT's computation under other names. `FAMILIES` has what the checkpoints of each call things;
 * everything behind this file knows BERT's names only.
 */
import { type BertConfig, type FamilyName, QA_HEAD } from '../bert.ts';
import { BertletError, fault } from '../errors.ts';
import { integer, type Option, oneOf, preview } from '../options.ts';
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
  /** Replaced in BERT's names one after another, behind the family's own name, they make the names of its tensors. */
  readonly names?: readonly (readonly [bert: string, family: string])[];
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
  bert: { tokenizer: 'BertTokenizer' },
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
      ['encoder.', 'transformer.'],
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
  electra: { embeddingSize: 128, tokenizer: 'BertTokenizer' },
  roberta: { positionsAfterPadding: true, tokenizer: 'RobertaTokenizer' },
};

const KNOWN = Object.keys(FAMILIES).join(', ');
const QUANTIZED = 'Use the checkpoint that was quantized.';
const positive = (max: number): Option<number> => ({
  expected: `a positive number up to ${max}`,
  allows: (value) => typeof value === 'number' && value > 0 && value <= max,
});

/**
 * Reads the sizes of the model from config.json, whose words are those of the model's family.
 * @param anyHead whether the head may be another than question answering's
 * @throws BertletError `config` for another architecture or head, or if a size is missing or impossible
 */
export function parseConfig(json: Record<string, unknown>, file = 'config.json', anyHead = false): BertConfig {
  const words: Partial<Family> = FAMILIES[json.model_type as FamilyName] ?? {};
  const { keys = {}, synonyms = [], embeddingSize, noTypes, eps, positionsAfterPadding } = words;
  /** Reads and checks a value, by BERT's key for it. Errors name the family's key. */
  const read = <V>(key: string, { expected, allows }: Option<V>, absent?: V): NonNullable<V> => {
    const familyKey = keys[key] ?? key;
    const value = json[familyKey] ?? absent;
    if (!allows(value)) throw configError(file, familyKey, expected, value);
    if (synonyms.includes(key) && json[key] !== undefined && json[key] !== value)
      throw configError(file, key, `equal to ${familyKey}, ${value}`, json[key]);
    return value as NonNullable<V>;
  };
  const family = read('model_type', oneOf(Object.keys(FAMILIES) as FamilyName[]));
  // A model with another head has no qa_outputs: it is refused here, before its weights are downloaded.
  const heads = [json.architectures].flat().filter((head) => typeof head === 'string');
  if (!anyHead && heads.length > 0 && !heads.some((head) => head.endsWith('ForQuestionAnswering')))
    throw configError(file, 'architectures', 'a model for question answering', heads.join(', '));
  read('is_decoder', oneOf([false]), false);
  read('hidden_act', oneOf(['gelu', 'gelu_python']), 'gelu'); // two names of the exact one
  read('position_embedding_type', oneOf(['absolute']), 'absolute');
  const floatHead = leavesHeadInFloat(json.quantization_config, file);
  // The largest sizes are far above every model's: what is made from them must fit the memory.
  const hidden = read('hidden_size', integer(1, 2 ** 16));
  const embedding = embeddingSize ? read('embedding_size', integer(1, 2 ** 16), embeddingSize) : hidden;
  const divisor = {
    expected: `a divisor of ${keys.hidden_size ?? 'hidden_size'} ${hidden}`,
    allows: (n: unknown) => integer(1, hidden).allows(n) && hidden % (n as number) === 0,
  };
  const rows = read('max_position_embeddings', integer(1, 2 ** 20));
  const firstPosition = positionsAfterPadding ? read('pad_token_id', integer(0, rows - 2), 1) + 1 : 0;
  return {
    ...(family !== 'bert' && { family }),
    vocab: read('vocab_size', integer(1, 2 ** 24)),
    positions: rows - firstPosition,
    ...(firstPosition > 0 && { firstPosition }),
    types: noTypes ? 0 : read('type_vocab_size', integer(positionsAfterPadding ? 1 : 2, 2 ** 16), 2),
    hidden,
    ...(embedding !== hidden && { embedding }),
    layers: read('num_hidden_layers', integer(1, 1000)),
    heads: read('num_attention_heads', divisor),
    intermediate: read('intermediate_size', integer(1, 2 ** 20)),
    eps: eps ?? read('layer_norm_eps', positive(1), 1e-12),
    ...(floatHead && { floatHead }),
    ...(json.confidence_temperature !== undefined && { temperature: read('confidence_temperature', positive(1000)) }),
  };
}

const configError = (file: string, key: string, expected: string, value: unknown): BertletError => {
  const advice = `bertlet runs question answering checkpoints of ${KNOWN} only.`;
  return fault('config', file, `${key} to be ${expected}`, preview(value), advice);
};

/** compressed-tensors' description of int8 weights with their scales and int8 activations; `dense`: weights are stored in float. */
const INT8: unknown[] = ['compressed-tensors', 'int-quantized', 'naive-quantized', 'dense', 'int', 8, undefined];

/**
 * Whether an int8 checkpoint says that its head is in float.
 * @param config `quantization_config`
 * @throws BertletError `config` for weights in another form than float, or int8 as compressed-tensors has them
 */
function leavesHeadInFloat(config: unknown, file: string): boolean {
  const { quant_method, format, ignore, config_groups } = (config ?? {}) as Record<string, unknown>;
  const groups = Object.values(config_groups ?? {}) as ({ input_activations?: Record<string, unknown> } | null)[];
  const activations = groups.flatMap((group) => [group?.input_activations?.num_bits, group?.input_activations?.type]);
  const other = [quant_method, format, ...activations].find((word) => !INT8.includes(word));
  if (other === undefined) return Array.isArray(ignore) && ignore.includes('qa_outputs');
  const expected = 'weights in float, or int8 weights and activations of compressed-tensors';
  throw fault('config', file, expected, `quantization_config with ${preview(other)}`, QUANTIZED);
}

export const WORD_EMBEDDINGS = 'bert.embeddings.word_embeddings.weight';

/** A tensor of the model. */
export interface TensorShape {
  /** Name in the file. */
  readonly fileName: string;
  readonly shape: number[];
  /** The weight of a linear, which int8 quantizes; an embedding table; or what is always float. */
  readonly kind: 'linear' | 'table' | 'float';
}

/** The shape of every tensor of a checkpoint, by BERT's name for it. */
export function tensorShapes(config: BertConfig): Map<string, TensorShape> {
  const { hidden, intermediate, embedding = hidden, firstPosition = 0 } = config;
  const family = config.family ?? 'bert';
  const { names = [] } = FAMILIES[family];
  const shapes = new Map<string, TensorShape>();
  const add = (name: string, shape: number[], kind: TensorShape['kind']) => {
    const ofFamily = name.replace(/^bert\./, `${family}.`);
    const fileName = names.reduce((all, [bert, own]) => all.replace(bert, own), ofFamily);
    shapes.set(name, { fileName, shape, kind });
  };
  const linear = (name: string, out: number, features: number, kind: TensorShape['kind'] = 'linear') => {
    add(`${name}.weight`, [out, features], kind);
    add(`${name}.bias`, [out], 'float');
  };
  const norm = (name: string, size: number) => {
    for (const part of ['weight', 'bias']) add(`${name}.${part}`, [size], 'float');
  };
  const table = (name: string, rows: number) => add(`bert.embeddings.${name}.weight`, [rows, embedding], 'table');
  table('word_embeddings', config.vocab);
  table('position_embeddings', firstPosition + config.positions);
  if (config.types > 0) table('token_type_embeddings', config.types);
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
  const kind = config.floatHead ? 'float' : 'linear';
  for (const [name, out] of Object.entries(config.head ?? QA_HEAD)) linear(name, out, hidden, kind);
  return shapes;
}

/**
 * Names the tensors of a file as the model does: gamma and beta are what TensorFlow calls weight and bias, and a file
 * may leave out the first part of the names, such as `bert.`. Hugging Face renames them in the same way.
 */
export function renamed<E>(config: BertConfig, tensors: ReadonlyMap<string, E>): Map<string, E> {
  const expected = new Set([...tensorShapes(config).values()].map(({ fileName }) => fileName));
  const named = [...tensors].map(([written, entry]): [string, E] => {
    const name = written.replace(/\.gamma$/, '.weight').replace(/\.beta$/, '.bias');
    const whole = `${config.family ?? 'bert'}.${name}`;
    const ofWeight = whole.replace(/_scale$/, '');
    return [expected.has(ofWeight) && !tensors.has(ofWeight) ? whole : name, entry];
  });
  return new Map(named);
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
type Forms = ReadonlyMap<string, TensorForm>;

/**
 * Compares the names, shapes and dtypes of a checkpoint's tensors with those of the model. A weight may be int8 if a tensor
 * with its scales is there as well (bench/layout.ts). Tensors that the model does not have, such as the pooler, the heads of
 * pretraining and the positions' numbers, are passed over, as Hugging Face does, unless they would change what is computed:
 * more layers than config.json says, and what belongs to a quantized weight.
 * @returns the scheme of an int8 checkpoint, otherwise null
 * @throws BertletError `weights`, naming the tensors that are missing, unexpected, or of a wrong shape or dtype
 */
export function checkTensors(config: BertConfig, tensors: Forms, file: string): Scheme | null {
  const problems: string[] = [];
  const expected = new Set<string>();
  const expect = (name: string, dtypes: readonly string[], ...shapes: number[][]) => {
    const { shape, dtype } = tensors.get(name) ?? {};
    expected.add(name);
    if (!shape) problems.push(`missing ${name} [${shapes[0]}]`);
    else if (!shapes.some((each) => `${each}` === `${shape}`))
      problems.push(`${name}: expected [${shapes.join('] or [')}], got [${`${shape}`.slice(0, 100)}]`);
    else if (!dtypes.includes(dtype!)) problems.push(`${name}: expected F32, F16 or BF16, got ${dtype}`);
  };
  const schemes = new Set<Scheme | null>();
  for (const [name, { fileName, shape, kind }] of tensorShapes(config)) {
    const int8 = tensors.get(fileName)?.dtype === 'I8' && (kind === 'linear' || name === WORD_EMBEDDINGS);
    expect(fileName, int8 ? ['I8'] : FLOATS, shape);
    const scale = `${fileName}_scale`;
    const eachRow = [shape[0]!, 1];
    if (int8) expect(scale, FLOATS, ...(kind === 'linear' ? [[1], eachRow] : [eachRow]));
    const scheme = tensors.get(scale)?.shape.length === 1 ? 'torch' : 'accurate';
    if (kind === 'linear') schemes.add(int8 ? scheme : null);
  }
  const others = [...tensors.keys()].filter((name) => !expected.has(name));
  for (const name of others) {
    const ofWeight = /^(.+\.)(weight|input|output)_\w+$/.exec(name)?.[1];
    const matters = expected.has(name.replace(/\.layer\.\d+\./, '.layer.0.')) || expected.has(`${ofWeight}weight`);
    if (matters) problems.push(`unexpected ${name.slice(0, 100)}`);
  }
  if (problems.length === 0 && schemes.size > 1) problems.push('linears of different dtypes or schemes');
  if (problems.length > 0) throw problemsError(file, problems, others);
  return [...schemes][0] ?? null;
}

/** @param others names of tensors that the model does not have */
function problemsError(file: string, problems: readonly string[], others: readonly string[]): BertletError {
  for (const [names, got, advice] of FOREIGN) {
    if (others.some((name) => names.test(name))) return fault('weights', file, "a model's weights", got, advice);
  }
  const listed = firstOf(problems, 20, '; ');
  const there = others.length > 0 ? ` The file has ${firstOf(others, 5, ', ')}.` : '';
  const advice = 'Use a question answering checkpoint with its own config.json.';
  return new BertletError('weights', `${file}: tensors that differ, ${problems.length}: ${listed}.${there} ${advice}`);
}

/** Joins the first lines of a list, and says how many more there are. */
function firstOf(lines: readonly string[], max: number, separator: string): string {
  const shown = lines.slice(0, max).map((line) => line.slice(0, 300));
  return [...shown, ...(lines.length > max ? [`and ${lines.length - max} more`] : [])].join(separator);
}
