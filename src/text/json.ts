/**
 * Reads a checkpoint's tokenizer as transformers does: from tokenizer.json, or from vocab.txt, or from vocab.json and
 * merges.txt, with what tokenizer_config.json, special_tokens_map.json and added_tokens.json add.
 *
 * A checkpoint names its tokenizer's class. PreTrainedTokenizerFast is what tokenizer.json says. BertTokenizer and
 * RobertaTokenizer are older than that file: they take their options from tokenizer_config.json, and their defaults
 * where it is silent, whatever tokenizer.json says.
 */

import { BertletError } from '../errors.ts';
import { preview } from '../options.ts';
import { ByteLevelBpe } from './bpe.ts';
import type { PairPart, TokenizerOptions } from './tokenizer.ts';
import type { AddedToken } from './vocabulary.ts';

type Json = Record<string, unknown>;
type Merges = readonly (readonly [string, string])[];
/** What a tokenizer is made of. */
type Parts = [vocab: Map<string, number>, options: TokenizerOptions];

/** The fields of tokenizer.json that bertlet reads. */
export interface TokenizerJson {
  model?: Json | null;
  normalizer?: Json | null;
  pre_tokenizer?: Json | null;
  post_processor?: Json | null;
  added_tokens?: Json[] | null;
}

/** The files of a tokenizer, as far as a checkpoint has them. */
export interface TokenizerFiles {
  /** tokenizer.json */
  json?: TokenizerJson | undefined;
  /** vocab.txt or vocab.json */
  vocab?: Map<string, number> | undefined;
  /** merges.txt */
  merges?: Merges | undefined;
  /** tokenizer_config.json */
  config?: Json | undefined;
  /** special_tokens_map.json */
  special?: Json | undefined;
  /** added_tokens.json */
  added?: Json | undefined;
}

/** The vocabulary's file: one of these. */
export const VOCABULARIES = ['tokenizer.json', 'vocab.txt', 'vocab.json'];
/** All files that a tokenizer may have. */
export const TOKENIZER_FILES = [
  ...VOCABULARIES,
  ...['merges.txt', 'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json'],
];

type Kind = 'wordpiece' | 'bpe' | 'file';
/** The classes that bertlet has: those of transformers with the same tokenizer under other names as well. */
export const CLASSES: Readonly<Record<string, Kind>> = {
  BertTokenizer: 'wordpiece',
  DistilBertTokenizer: 'wordpiece',
  ElectraTokenizer: 'wordpiece',
  MobileBertTokenizer: 'wordpiece',
  RobertaTokenizer: 'bpe',
  LongformerTokenizer: 'bpe',
  PreTrainedTokenizer: 'file',
  TokenizersBackend: 'file',
};

/** The names of special tokens where no file has others. */
const NAMES: Record<Kind, Record<string, string>> = {
  wordpiece: {
    unk_token: '[UNK]',
    sep_token: '[SEP]',
    pad_token: '[PAD]',
    cls_token: '[CLS]',
    mask_token: '[MASK]',
  },
  bpe: {
    bos_token: '<s>',
    eos_token: '</s>',
    unk_token: '<unk>',
    sep_token: '</s>',
    pad_token: '<pad>',
    cls_token: '<s>',
    mask_token: '<mask>',
  },
  file: {},
};

const refuse = (message: string, advice = "bertlet has BERT's and RoBERTa's tokenizers only."): never => {
  throw new BertletError('tokenizer', `${message}. ${advice}`);
};
/** A value for a message: an object by its content, which says more than its class. */
const brief = (value: unknown) =>
  typeof value === 'object' && value ? JSON.stringify(value).slice(0, 60) : preview(value);
const expect = (what: string, expected: unknown, got: unknown, file = 'tokenizer.json') => {
  if (expected !== got) refuse(`${file}: expected ${what} ${preview(expected)}, got ${brief(got)}`);
};
const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Reads a vocab.txt: one token on each line. */
export function readVocab(text: string): Map<string, number> {
  const lines = text.replace(/\r?\n$/, '').split(/\r?\n/);
  return new Map(lines.map((token, id) => [token.trimEnd(), id]));
}

/** Reads a merges.txt: two tokens on each line. */
export function readMerges(text: string): Merges {
  const lines = text.split(/\r?\n/).filter((line) => line !== '' && !line.startsWith('#version'));
  return lines.map(mergeOf);
}

function mergeOf(merge: unknown): [string, string] {
  const pair = typeof merge === 'string' ? merge.split(' ') : merge;
  if (Array.isArray(pair) && pair.length === 2 && pair.every((one) => typeof one === 'string')) return pair as never;
  return refuse(`merges: expected two tokens, got ${brief(merge)}`);
}

/** What a tokenizer.json says, without its added tokens. */
interface Filed {
  vocab: Map<string, number>;
  pair?: readonly PairPart[] | undefined;
  wordPiece?: TokenizerOptions;
  bpe?: { merges: Merges; prefixSpace: boolean; trimOffsets: boolean };
}

function fromFile({ model, normalizer, pre_tokenizer, post_processor: processor }: TokenizerJson): Filed {
  if (!isObject(model)) return refuse(`tokenizer.json: expected a model, got ${brief(model)}`);
  const type = model.type ?? (model.merges ? 'BPE' : 'WordPiece'); // files of 2020 do not say
  if (type !== 'WordPiece' && type !== 'BPE')
    refuse(`tokenizer.json: expected model.type "WordPiece" or "BPE", got ${brief(type)}`);
  const vocab = new Map<string, number>();
  if (Array.isArray(model.vocab)) for (const [id, token] of model.vocab.entries()) vocab.set(text(token, 'tokens'), id);
  else if (isObject(model.vocab)) for (const token in model.vocab) vocab.set(token, model.vocab[token] as number);
  const pair = processor ? pairOf(processor, vocab) : undefined;
  if (type === 'BPE') {
    expect('normalizer', null, normalizer ?? null);
    expect('pre_tokenizer.type', 'ByteLevel', pre_tokenizer?.type);
    expect('pre_tokenizer.use_regex', true, pre_tokenizer?.use_regex ?? true);
    for (const key of [
      'dropout',
      'byte_fallback',
      'ignore_merges',
      'continuing_subword_prefix',
      'end_of_word_suffix',
    ]) {
      if (model[key]) refuse(`tokenizer.json: expected no model.${key}, got ${brief(model[key])}`);
    }
    const roberta = processor?.type === 'RobertaProcessing';
    const prefixSpace = pre_tokenizer?.add_prefix_space === true;
    const trimOffsets = roberta && (processor.trim_offsets ?? true) === true;
    if (trimOffsets) expect('add_prefix_space of both processors', prefixSpace, processor?.add_prefix_space);
    const merges = Array.isArray(model.merges) ? model.merges.map(mergeOf) : [];
    return { vocab, pair, bpe: { merges, prefixSpace, trimOffsets } };
  }
  expect('normalizer.type', 'BertNormalizer', normalizer?.type);
  expect('normalizer.clean_text', true, normalizer?.clean_text);
  expect('pre_tokenizer.type', 'BertPreTokenizer', pre_tokenizer?.type);
  const longest = model.max_input_chars_per_word ?? 100;
  if (!Number.isSafeInteger(longest))
    refuse(`tokenizer.json: expected max_input_chars_per_word an integer, got ${brief(longest)}`);
  const wordPiece = {
    lowercase: flag(normalizer!.lowercase, 'normalizer.lowercase', 'tokenizer.json'),
    stripAccents: normalizer!.strip_accents as boolean | null,
    chineseChars: flag(normalizer!.handle_chinese_chars, 'normalizer.handle_chinese_chars', 'tokenizer.json'),
    unknown: text(model.unk_token ?? '[UNK]', 'unk_token'),
    prefix: text(model.continuing_subword_prefix ?? '##', 'continuing_subword_prefix'),
    maxWord: longest as number,
  };
  return { vocab, pair, wordPiece };
}

function text(value: unknown, what: string): string {
  return typeof value === 'string' ? value : refuse(`tokenizer.json: expected ${what} as text, got ${brief(value)}`);
}

function flag(value: unknown, what: string, file: string): boolean {
  return typeof value === 'boolean' ? value : refuse(`${file}: expected ${what} true or false, got ${brief(value)}`);
}

/** How the post-processor of a tokenizer.json joins two texts. */
function pairOf(processor: Json, vocab: ReadonlyMap<string, number>): readonly PairPart[] {
  const { type, cls, sep } = processor as { type: unknown; cls: [string]; sep: [string] };
  if (type === 'BertProcessing') return bertPair(cls?.[0], sep?.[0]);
  if (type === 'RobertaProcessing') return robertaPair(cls?.[0], sep?.[0]);
  expect('post_processor.type', 'TemplateProcessing', type);
  const { pair, special_tokens: specials } = processor as {
    pair?: { SpecialToken?: { id: string; type_id: number }; Sequence?: { id: string; type_id: number } }[];
    special_tokens?: Record<string, { ids: number[]; tokens: string[] }>;
  };
  const parts = (Array.isArray(pair) ? pair : []).flatMap(({ SpecialToken: special, Sequence: text }): PairPart[] => {
    if (text) return [{ sequence: text.id === 'A' ? 0 : 1, type: text.type_id }];
    const { ids = [], tokens = [] } = (special && specials?.[special.id]) || {};
    for (const [i, token] of tokens.entries()) expect(`the id of ${token}`, vocab.get(token) ?? ids[i], ids[i]);
    return tokens.map((token) => ({ token, type: special!.type_id }));
  });
  const order = parts.map((part) => ('token' in part ? '.' : part.sequence)).join('');
  const right = /^\.+0\.+1\.+$/.test(order) && parts.every(({ type }) => type === 0 || type === 1);
  return right ? parts : refuse(`tokenizer.json: expected a pair like [CLS] A [SEP] B [SEP], got ${brief(pair)}`);
}

const bertPair = (cls: string, sep: string): readonly PairPart[] => [
  { token: cls, type: 0 },
  { sequence: 0, type: 0 },
  { token: sep, type: 0 },
  { sequence: 1, type: 1 },
  { token: sep, type: 1 },
];
const robertaPair = (cls: string, sep: string): readonly PairPart[] => [
  { token: cls, type: 0 },
  { sequence: 0, type: 0 },
  { token: sep, type: 0 },
  { token: sep, type: 0 },
  { sequence: 1, type: 0 },
  { token: sep, type: 0 },
];

/** An added token of a file: its content, or an object. */
function addedToken(value: unknown, special: boolean): AddedToken {
  if (typeof value === 'string') return { content: value, special };
  const token = isObject(value) ? value : {};
  const content =
    typeof token.content === 'string' ? token.content : refuse(`added token: expected a content, got ${brief(value)}`);
  const isSpecial = special || token.special === true;
  return {
    content,
    special: isSpecial,
    normalized: typeof token.normalized === 'boolean' ? token.normalized : !isSpecial,
    lstrip: token.lstrip === true,
    rstrip: token.rstrip === true,
    singleWord: token.single_word === true,
  };
}

/** The added tokens of tokenizer.json. */
const addedOf = ({ added_tokens: added }: TokenizerJson): [id: number, token: AddedToken][] =>
  (Array.isArray(added) ? added : []).map((token) => [Number(token.id), addedToken(token, false)]);

/**
 * Gives ids to added tokens that the vocabulary lacks: the next free ones, in order, whatever ids their file says. So
 * does the reference.
 */
function number(vocab: Map<string, number>, tokens: readonly AddedToken[]): void {
  let next = vocab.size;
  for (const { content } of tokens) {
    if (!vocab.has(content)) vocab.set(content, next);
    next = Math.max(next, vocab.get(content)! + 1);
  }
}

/** What a tokenizer.json by itself says. */
export function tokenizerJson(given: string | TokenizerJson): Parts {
  let json: unknown = given;
  try {
    if (typeof given === 'string') json = JSON.parse(given);
  } catch {}
  if (!isObject(json))
    return refuse(`tokenizer.json: expected a JSON object, got ${brief(given)}`, 'Give its text or its content.');
  const { vocab, pair, wordPiece, bpe } = fromFile(json);
  if (!pair) return refuse('tokenizer.json: expected a post_processor, got none');
  const addedTokens = addedOf(json).map(([, token]) => token);
  number(vocab, addedTokens);
  return [vocab, { addedTokens, pair, ...wordPiece, ...(bpe && { model: new ByteLevelBpe(vocab, bpe.merges, bpe) }) }];
}

/**
 * What the files of a checkpoint say.
 * @param className the class of the tokenizer: of tokenizer_config.json, of config.json, or the family's own
 * @throws BertletError `tokenizer` for another tokenizer than BERT's or RoBERTa's, or where versions of transformers
 * read the files in different ways
 */
export function tokenizerOf(files: TokenizerFiles, className: string): Parts {
  const { config = {}, json } = files;
  const kind = Object.hasOwn(CLASSES, className) ? CLASSES[className]! : null;
  if (!kind) return refuse(`tokenizer_class: expected ${Object.keys(CLASSES).join(', ')}, got ${preview(className)}`);
  for (const key of ['word_tokenizer_type', 'auto_map']) expect(key, undefined, config[key], 'tokenizer_config.json');
  if (kind === 'file' && !json) return refuse(`tokenizer.json: expected one for ${className}, got none`);
  const filed: Filed = json ? fromFile(json) : { vocab: files.vocab! };
  const names = namesOf(files, kind);
  const { wordPiece, bpe, pair } = kind === 'file' ? filed : fromConfig(files, className, filed, names);
  if (!pair) return refuse('tokenizer.json: expected a post_processor, got none');
  const addedTokens = addedTokensOf(files, kind, filed.vocab, names);
  number(filed.vocab, addedTokens);
  const longest = config.model_max_length ?? config.max_len;
  const options: TokenizerOptions = {
    ...{ ...wordPiece, pair, addedTokens },
    ...(typeof longest === 'number' && longest >= 1 && { maxTokens: Math.floor(longest) }),
    ...(bpe && { model: new ByteLevelBpe(filed.vocab, bpe.merges, bpe) }),
  };
  return [filed.vocab, options];
}

/** What the class of a tokenizer makes of its options in tokenizer_config.json. */
function fromConfig(
  { config = {}, json, ...files }: TokenizerFiles,
  className: string,
  filed: Filed,
  names: Json,
): Filed {
  const on = (key: string, otherwise: boolean) => flag(config[key] ?? otherwise, key, 'tokenizer_config.json');
  const name = (key: string) => addedToken(names[key], true).content;
  /** Where a file and a class say different things, the older transformers follows the one, the newer the other. */
  const agree = (what: string, ours: unknown, theirs: unknown) => {
    if (!json || JSON.stringify(ours) === JSON.stringify(theirs)) return;
    const advice = 'Set tokenizer_class to PreTrainedTokenizerFast in tokenizer_config.json to follow the file.';
    refuse(`tokenizer.json: expected ${what} ${brief(ours)} of ${className}, got ${brief(theirs)}`, advice);
  };
  if (json) agree('model.type', CLASSES[className] === 'bpe' ? 'BPE' : 'WordPiece', filed.bpe ? 'BPE' : 'WordPiece');
  if (CLASSES[className] === 'bpe') {
    const pair = robertaPair(name('cls_token'), name('sep_token'));
    agree('a pair', pair, filed.pair);
    const merges = filed.bpe?.merges ?? files.merges!;
    const bpe = { merges, prefixSpace: on('add_prefix_space', false), trimOffsets: on('trim_offsets', true) };
    return { ...filed, pair, bpe };
  }
  const pair = bertPair(name('cls_token'), name('sep_token'));
  const own = { unknown: name('unk_token'), prefix: '##', maxWord: 100 };
  agree('a pair', pair, filed.pair);
  for (const key of ['unknown', 'prefix', 'maxWord'] as const) agree(key, own[key], filed.wordPiece?.[key]);
  const wordPiece = {
    ...own,
    lowercase: on('do_lower_case', true),
    stripAccents: config.strip_accents == null ? null : on('strip_accents', false),
    chineseChars: on('tokenize_chinese_chars', true),
  };
  return { ...filed, pair, wordPiece };
}

/** The special tokens by their names: the class's own, of special_tokens_map.json, or of tokenizer_config.json. */
function namesOf({ config = {}, special }: TokenizerFiles, kind: Kind): Json {
  const all = { ...NAMES[kind], ...config, ...(!config.added_tokens_decoder && special) };
  return Object.fromEntries(
    Object.entries(all).filter(
      ([key, value]) => key.endsWith('_token') && (typeof value === 'string' || isObject(value)),
    ),
  );
}

/** The added tokens of all files, in order of their ids, so that those that the vocabulary lacks get the next ones. */
function addedTokensOf({ config = {}, json, ...files }: TokenizerFiles, kind: Kind, vocab: Parts[0], names: Json) {
  // As in transformers 5: the list of special_tokens_map.json counts where there is no other, and marks no token.
  const extra = listOf(config.extra_special_tokens ?? config.additional_special_tokens);
  const marked = [...Object.values(names), ...extra, ...listOf(files.special?.extra_special_tokens)];
  const old = extra.length > 0 ? [] : listOf(files.special?.additional_special_tokens);
  const specials = [...marked, ...old].map((token) => addedToken(token, true));
  const byId = new Map<number, AddedToken>();
  if (isObject(config.added_tokens_decoder)) {
    for (const [id, token] of Object.entries(config.added_tokens_decoder))
      byId.set(Number(id), addedToken(token, false));
  } else {
    for (const [content, id] of Object.entries(files.added ?? {})) {
      const special = specials.slice(0, marked.length).some((token) => token.content === content);
      byId.set(Number(id), { content, special, normalized: !special });
    }
    if (json) for (const [id, token] of addedOf(json)) byId.set(id, token);
  }
  const listed = [...byId].sort(([a], [b]) => a - b);
  const tokens = [...(kind === 'file' ? addedOf(json!) : []), ...listed].map(([, token]) => token);
  const known = new Set(tokens.map(({ content }) => content));
  // A name that the vocabulary lacks is of a token that the model lacks.
  const named = specials.filter(({ content }, i) => i >= Object.keys(names).length || vocab.has(content));
  return [...tokens, ...named.filter(({ content }) => !known.has(content))];
}

/** Special tokens without a name: a list, or an object of names that are not known. */
const listOf = (tokens: unknown): unknown[] =>
  Array.isArray(tokens) ? tokens : isObject(tokens) ? Object.values(tokens) : [];
