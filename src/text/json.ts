/**
 * Makes a tokenizer from its files, as transformers does. The older forms, vocab.txt or vocab.json with merges.txt, become a
 * tokenizer.json first, and one reader reads that. tokenizer_config.json, special_tokens_map.json and added_tokens.json say
 * the rest.
 *
 * A checkpoint names its tokenizer's class. PreTrainedTokenizerFast is what tokenizer.json says. BertTokenizer and
 * RobertaTokenizer are older than that file: they take their options from tokenizer_config.json, and their defaults
 * where it is silent, whatever tokenizer.json says.
 */

import { BertletError, fault, messageOf } from '../errors.ts';
import * as option from '../options.ts';
import { check, optionsOf, preview } from '../options.ts';
import { type BpeOptions, ByteLevelBpe, type Merges } from './bpe.ts';
import * as core from './tokenizer.ts';
import { type AddedToken, type PairPart, pairOf, type TokenizerOptions } from './tokenizer.ts';
import { WORD_PIECE_OPTIONS, WordPiece, type WordPieceOptions } from './wordpiece.ts';

type Json = Record<string, unknown>;
type Vocabulary = ReadonlyMap<string, number>;

/** The fields of tokenizer.json that bertlet reads. */
export interface TokenizerJson {
  version?: unknown;
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
  /** The text of vocab.txt, or the content of vocab.json. */
  vocab?: string | Json;
  /** The text of merges.txt. */
  merges?: string;
  /** tokenizer_config.json */
  config?: Json;
  /** special_tokens_map.json, which counts where tokenizer_config.json has no added_tokens_decoder */
  special?: Json | undefined;
  /** added_tokens.json; the same is true of it */
  added?: Json | undefined;
}

/** The classes that bertlet has, without `Fast` at their ends: those of the same tokenizer under other names as well. */
const WORD_PIECE_CLASSES = ['BertTokenizer', 'DistilBertTokenizer', 'ElectraTokenizer', 'MobileBertTokenizer'];
export const BYTE_LEVEL_CLASSES = ['RobertaTokenizer', 'LongformerTokenizer'];
/** Classes that are what tokenizer.json says. */
const FILE_CLASSES = ['PreTrainedTokenizer', 'TokenizersBackend'];
const CLASSES = [...WORD_PIECE_CLASSES, ...BYTE_LEVEL_CLASSES, ...FILE_CLASSES];
/** Classes that give a model no token types, where tokenizer_config.json does not name what they give. */
const WITHOUT_TYPES = ['DistilBertTokenizer', ...FILE_CLASSES];

/** The names of special tokens where no file has others. */
const WORD_PIECE_NAMES = {
  unk_token: '[UNK]',
  sep_token: '[SEP]',
  pad_token: '[PAD]',
  cls_token: '[CLS]',
  mask_token: '[MASK]',
};
const BYTE_LEVEL_NAMES = {
  bos_token: '<s>',
  eos_token: '</s>',
  unk_token: '<unk>',
  sep_token: '</s>',
  pad_token: '<pad>',
  cls_token: '<s>',
  mask_token: '<mask>',
};

const FILE = 'tokenizer.json';
const CONFIG = 'tokenizer_config.json';
const OURS = "bertlet has BERT's and RoBERTa's tokenizers only.";

/** Throws the error for a value. An object is shown by its content, which says more than its class. */
function refuse(what: string, expected: string, got: unknown, advice = OURS): never {
  const shown = typeof got === 'object' && got !== null ? JSON.stringify(got).slice(0, 60) : preview(got);
  throw fault('tokenizer', what, expected, shown, advice);
}
const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
function expectEqual(what: string, expected: unknown, got: unknown): void {
  if (got !== expected) refuse(FILE, `${what} ${preview(expected)}`, got);
}
const stringOf = (what: string, value: unknown): string =>
  typeof value === 'string' ? value : refuse(FILE, `${what} as text`, value);
const flagOf = (what: string, value: unknown, file = FILE): boolean =>
  typeof value === 'boolean' ? value : refuse(file, `${what} true or false`, value);

/** Brings the older files into the form of tokenizer.json, as far as they go: their class says the rest. */
export function fromOldFiles(vocab: string | Json = '', merges?: string): TokenizerJson {
  const lines = (text: string) => text.replace(/\r?\n$/, '').split(/\r?\n/);
  if (merges !== undefined) {
    const pairs = lines(merges).filter((line) => line !== '' && !line.startsWith('#version'));
    return { model: { type: 'BPE', vocab, merges: pairs }, pre_tokenizer: { type: 'ByteLevel' } };
  }
  const tokens = typeof vocab === 'string' ? lines(vocab).map((line) => line.trimEnd()) : vocab;
  return {
    model: { type: 'WordPiece', vocab: tokens },
    normalizer: { type: 'BertNormalizer', clean_text: true, lowercase: true, handle_chinese_chars: true },
    pre_tokenizer: { type: 'BertPreTokenizer' },
  };
}

/** The vocabulary of the model of a tokenizer.json: an object, or a list of tokens in the order of their ids. */
function vocabularyOf({ model }: TokenizerJson): Vocabulary {
  const tokens = model?.vocab;
  if (Array.isArray(tokens)) return new Map(tokens.map((token, id) => [stringOf('tokens', token), id]));
  return new Map(Object.entries((tokens ?? {}) as Record<string, number>));
}

/** The merges of the model of a tokenizer.json: pairs, or two tokens with a space between them. */
const mergesOf = ({ model }: TokenizerJson): Merges =>
  ((model?.merges ?? []) as string[]).map((merge) => (typeof merge === 'string' ? merge.split(' ') : merge) as never);

/** How a tokenizer.json splits texts and joins them. */
interface Description {
  readonly type: 'WordPiece' | 'BPE';
  readonly options: WordPieceOptions & BpeOptions;
  readonly pair: readonly PairPart[] | undefined;
}

function describe(json: TokenizerJson, all: Vocabulary): Description {
  const { version = '1.0', model, post_processor: processor } = json;
  expectEqual('version', '1.0', version);
  if (!isObject(model)) return refuse(FILE, 'a model', model);
  const type = model.type ?? (model.merges ? 'BPE' : 'WordPiece'); // files of 2020 do not say
  const pair = isObject(processor) ? pairOfFile(processor, all) : undefined;
  if (type === 'BPE') return { type, pair, options: bytePairOptions(json, model) };
  if (type === 'WordPiece') return { type, pair, options: wordPieceOptions(json, model) };
  return refuse(FILE, 'model.type "WordPiece" or "BPE"', type);
}

function wordPieceOptions({ normalizer, pre_tokenizer: words }: TokenizerJson, model: Json): WordPieceOptions {
  expectEqual('normalizer.type', 'BertNormalizer', normalizer?.type);
  expectEqual('normalizer.clean_text', true, normalizer?.clean_text);
  expectEqual('pre_tokenizer.type', 'BertPreTokenizer', words?.type);
  const { unk_token = '[UNK]', continuing_subword_prefix = '##', max_input_chars_per_word: maxWord = 100 } = model;
  const flag = (key: string) => flagOf(`normalizer.${key}`, normalizer?.[key]);
  return {
    unknown: stringOf('unk_token', unk_token),
    prefix: stringOf('continuing_subword_prefix', continuing_subword_prefix),
    maxWord: maxWord as number,
    lowercase: flag('lowercase'),
    stripAccents: normalizer?.strip_accents == null ? null : flag('strip_accents'),
    chineseChars: flag('handle_chinese_chars'),
  };
}

function bytePairOptions(json: TokenizerJson, model: Json): BpeOptions {
  const { normalizer, pre_tokenizer: words, post_processor: processor } = json;
  expectEqual('normalizer', null, normalizer ?? null);
  expectEqual('pre_tokenizer.type', 'ByteLevel', words?.type);
  expectEqual('pre_tokenizer.use_regex', true, words?.use_regex ?? true);
  const others = ['dropout', 'byte_fallback', 'ignore_merges', 'continuing_subword_prefix', 'end_of_word_suffix'];
  for (const key of others) if (model[key]) refuse(FILE, `no model.${key}`, model[key]);
  const prefixSpace = flagOf('pre_tokenizer.add_prefix_space', words?.add_prefix_space ?? false);
  const trimOffsets = processor?.type === 'RobertaProcessing' && processor.trim_offsets !== false;
  if (trimOffsets) expectEqual('add_prefix_space of both processors', prefixSpace, processor.add_prefix_space);
  return { prefixSpace, trimOffsets };
}

/** How the post-processor of a tokenizer.json joins two texts. */
function pairOfFile(processor: Json, vocab: Vocabulary): readonly PairPart[] {
  const checked = (token: unknown, id: unknown): string => {
    expectEqual(`the id of ${preview(token)}`, vocab.get(token as string) ?? id, id);
    return stringOf('special tokens', token);
  };
  const { type } = processor;
  if (type === 'BertProcessing' || type === 'RobertaProcessing') {
    const { cls, sep } = processor as { cls: [string, number]; sep: [string, number] };
    return pairOf(checked(...cls), checked(...sep), type === 'RobertaProcessing');
  }
  expectEqual('post_processor.type', 'TemplateProcessing', type);
  type Part = Record<'SpecialToken' | 'Sequence', { id: string; type_id: number } | undefined>;
  type Specials = Record<string, { ids: number[]; tokens: string[] }>;
  const { pair, special_tokens: specials } = processor as { pair: Part[]; special_tokens: Specials };
  const parts = pair.flatMap(({ SpecialToken: special, Sequence: text }): PairPart[] => {
    if (text) return [{ sequence: text.id === 'A' ? 0 : 1, type: text.type_id }];
    const { ids, tokens } = specials[special!.id]!;
    return tokens.map((token, i) => ({ token: checked(token, ids[i]), type: special!.type_id }));
  });
  const order = parts.map((part) => ('token' in part ? '.' : part.sequence)).join('');
  const isPair = /^\.+0\.+1\.+$/.test(order) && parts.every((part) => part.type === 0 || part.type === 1);
  return isPair ? parts : refuse(FILE, 'a pair like [CLS] A [SEP] B [SEP]', pair);
}

/** Describes the tokenizer of a class that is older than tokenizer.json: its options are in tokenizer_config.json. */
function describeClass(className: string, config: Json, names: Json): Description {
  const on = (key: string, otherwise: boolean) => flagOf(key, config[key] ?? otherwise, CONFIG);
  const name = (key: string) => addedToken(names[key], true).content;
  const isByteLevel = BYTE_LEVEL_CLASSES.includes(className);
  const pair = pairOf(name('cls_token'), name('sep_token'), isByteLevel);
  if (isByteLevel) {
    const options = { prefixSpace: on('add_prefix_space', false), trimOffsets: on('trim_offsets', true) };
    return { type: 'BPE', pair, options };
  }
  const options = {
    unknown: name('unk_token'),
    prefix: '##',
    maxWord: 100,
    lowercase: on('do_lower_case', true),
    stripAccents: config.strip_accents == null ? null : on('strip_accents', false),
    chineseChars: on('tokenize_chinese_chars', true),
  };
  return { type: 'WordPiece', pair, options };
}

/**
 * Compares what a class does with what its file says, but for the options that the class has in tokenizer_config.json.
 * @throws BertletError `tokenizer` where they differ: transformers 4 follows the file, transformers 5 the class
 */
function expectSame(className: string, own: Description, file: Description): void {
  const inWords = ({ type, pair = [], options: { unknown, prefix, maxWord } }: Description): Json => ({
    'model.type': type,
    'a pair': pair.map((part) => `${'token' in part ? part.token : 'AB'[part.sequence]}:${part.type}`).join(' '),
    ...(type === 'WordPiece' && { unknown, prefix, maxWord }),
  });
  const [ours, theirs] = [inWords(own), inWords(file)];
  for (const key in ours) {
    if (ours[key] === theirs[key]) continue;
    const advice = `To follow the file, set tokenizer_class to PreTrainedTokenizerFast, and model_input_names, in ${CONFIG}.`;
    refuse(FILE, `${key} ${preview(ours[key])} of ${className}`, theirs[key], advice);
  }
}

/** Reads an added token of a file: its content, or an object. */
function addedToken(value: unknown, isName: boolean): AddedToken {
  const token: Json = isObject(value) ? value : { content: value };
  const flag = (key: string, otherwise = false) => flagOf(`${key} of an added token`, token[key] ?? otherwise);
  return {
    content: stringOf('the content of an added token', token.content),
    normalized: flag('normalized', !(isName || flag('special'))),
    lstrip: flag('lstrip'),
    rstrip: flag('rstrip'),
    singleWord: flag('single_word'),
  };
}

/** The values of an object, or a list. */
const listOf = (values: unknown): unknown[] =>
  isObject(values) ? Object.values(values) : ((values ?? []) as unknown[]);

/** The special tokens by their names: of special_tokens_map.json, of tokenizer_config.json, or the class's own. */
function namesOf({ config, special }: TokenizerFiles, className: string): Json {
  const own = BYTE_LEVEL_CLASSES.includes(className) ? BYTE_LEVEL_NAMES : WORD_PIECE_NAMES;
  const all = { ...(!FILE_CLASSES.includes(className) && own), ...config, ...special };
  const isName = ([key, token]: [string, unknown]) =>
    key.endsWith('_token') && (typeof token === 'string' || isObject(token));
  return Object.fromEntries(Object.entries(all).filter(isName));
}

/** The added tokens of all files, in the order of their ids, so that those that the vocabulary lacks get the next ones. */
function addedTokensOf(
  { config = {}, json, special, added }: TokenizerFiles,
  names: Json,
  className: string,
  vocab: Vocabulary,
) {
  const named = Object.values(names).map((name) => addedToken(name, true));
  // As in transformers 5: the list of special_tokens_map.json counts where there is no other, and marks no token.
  const extra = listOf(config.extra_special_tokens ?? config.additional_special_tokens);
  const marked = [
    ...named,
    ...[...extra, ...listOf(special?.extra_special_tokens)].map((token) => addedToken(token, true)),
  ];
  const old =
    extra.length > 0 ? [] : listOf(special?.additional_special_tokens).map((token) => addedToken(token, true));
  const own = json?.added_tokens ?? [];
  const older = Object.entries(added ?? {}).map(([content, id]) => {
    return [id, { content, special: marked.some((token) => token.content === content) }];
  });
  const byId = config.added_tokens_decoder ?? Object.fromEntries([...older, ...own.map((token) => [token.id, token])]);
  const first = FILE_CLASSES.includes(className) ? own : [];
  const listed = [...first, ...Object.values(byId)].map((token) => addedToken(token, false));
  const known = new Set(listed.map(({ content }) => content));
  // Skip named tokens that are not in the vocabulary: the model has no row for them.
  const isMissing = (token: AddedToken) => named.includes(token) && !vocab.has(token.content);
  return [...listed, ...[...marked, ...old].filter((token) => !known.has(token.content) && !isMissing(token))];
}

/** Gives ids to added tokens that the vocabulary lacks: the next free ones, in order, whatever ids their file says. */
function numbered(vocab: Vocabulary, tokens: readonly AddedToken[]): Vocabulary {
  const all = new Map(vocab);
  let next = vocab.size;
  for (const { content } of tokens) {
    if (content === '') continue;
    if (!all.has(content)) all.set(content, next);
    next = Math.max(next, all.get(content)! + 1);
  }
  return all;
}

/** Whether a tokenizer gives its model token types. A model with types computes with zeros where none are given. */
function givesTypes(names: unknown, className: string, isSame: boolean): boolean {
  if (Array.isArray(names)) return names.includes('token_type_ids');
  if (names !== undefined) refuse(CONFIG, 'model_input_names to be a list', names);
  if (className === 'PreTrainedTokenizer' && !isSame) {
    const advice =
      'transformers 4 gives such a model token types, transformers 5 does not: name token_type_ids, or leave it out.';
    refuse(CONFIG, 'model_input_names of PreTrainedTokenizerFast', names, advice);
  }
  return !WITHOUT_TYPES.includes(className);
}

/** A tokenizer, and what makes it from files. */
export class Tokenizer extends core.Tokenizer {
  /**
   * Makes a tokenizer from a vocab.txt.
   * @param vocabText one token on each line; the token's id is the line number, counted from 0
   * @throws BertletError `tokenizer` if [UNK], [CLS] or [SEP] is missing; `input` for an unknown option
   */
  static fromVocab(vocabText: string, given: WordPieceOptions & TokenizerOptions = {}): Tokenizer {
    check('vocabText', vocabText, option.string);
    const options = optionsOf('Tokenizer', given, { ...WORD_PIECE_OPTIONS, ...core.TOKENIZER_OPTIONS });
    const { added, pair, maxTokens, ...pieces } = options;
    const vocab = vocabularyOf(fromOldFiles(vocabText));
    return new Tokenizer(vocab, new WordPiece(vocab, pieces), { added, pair, maxTokens });
  }

  /**
   * Makes the tokenizer that a tokenizer.json describes, with nothing but that file.
   * @param given the file's text, or the object that it holds
   * @throws BertletError `tokenizer` if the file has another tokenizer than BERT's or RoBERTa's
   */
  static fromJson(given: string | TokenizerJson): Tokenizer {
    let json: unknown = given;
    try {
      if (typeof given === 'string') json = JSON.parse(given);
    } catch {}
    if (!isObject(json)) return refuse(FILE, 'a JSON object', given, 'Give its text or its content.');
    return tokenizerOf({ json, config: { model_input_names: ['token_type_ids'] } }, 'PreTrainedTokenizer', true);
  }
}

/**
 * Makes the tokenizer of a checkpoint.
 * @param className its class: of tokenizer_config.json, of config.json, or the family's own
 * @param modelHasTypes whether the model computes with token types
 * @throws BertletError `tokenizer` for another tokenizer than BERT's or RoBERTa's, or where versions of transformers
 * read the files in different ways
 */
export function tokenizerOf(files: TokenizerFiles, className: string, modelHasTypes: boolean): Tokenizer {
  try {
    return read(files, className, modelHasTypes);
  } catch (cause) {
    // Any other is of a value that no tokenizer has there.
    if (cause instanceof BertletError && cause.code === 'tokenizer') throw cause;
    const got = `another (${messageOf(cause)})`;
    throw fault('tokenizer', FILE, 'a tokenizer as Hugging Face saves it', got, 'Save it anew.', cause);
  }
}

/** What would need another tokenizer. */
const UNKNOWN = ['word_tokenizer_type', 'auto_map', 'split_special_tokens', 'model_specific_special_tokens'];

function read(files: TokenizerFiles, className: string, modelHasTypes: boolean): Tokenizer {
  const { json = fromOldFiles(files.vocab, files.merges), config = {} } = files;
  const followsFile = FILE_CLASSES.includes(className);
  if (!CLASSES.includes(className)) refuse('tokenizer_class', CLASSES.join(', '), className);
  for (const key of UNKNOWN) if (config[key]) refuse(CONFIG, `no ${key}`, config[key]);
  if (followsFile && !files.json) refuse(FILE, `one for ${className}`, files.json);
  const vocab = vocabularyOf(json);
  const names = namesOf(files, className);
  const added = addedTokensOf(files, names, className, vocab);
  const all = numbered(vocab, added);
  const file = describe(json, all);
  const made = followsFile ? file : describeClass(className, config, names);
  if (files.json && !followsFile) expectSame(className, made, file);
  const { prefixSpace = false } = file.options;
  if (className === 'PreTrainedTokenizer' && prefixSpace !== (config.add_prefix_space ?? false)) {
    const advice = 'transformers 4 takes what it says, or else false; transformers 5 takes what tokenizer.json says.';
    refuse(CONFIG, `add_prefix_space ${prefixSpace}`, config.add_prefix_space, advice);
  }
  const { type, options, pair = refuse(FILE, 'a post_processor', null) } = made;
  const isUntyped = pair.every((part) => part.type === 0);
  const typed = givesTypes(config.model_input_names, className, isUntyped || !modelHasTypes);
  const longest = config.model_max_length ?? config.max_len;
  const isLength = typeof longest === 'number' && longest >= 1 && longest < 2 ** 31;
  const model = type === 'BPE' ? new ByteLevelBpe(vocab, mergesOf(json), options) : new WordPiece(vocab, options);
  return new Tokenizer(all, model, {
    added,
    pair: typed ? pair : pair.map((part) => ({ ...part, type: 0 })),
    maxTokens: isLength ? Math.floor(longest) : undefined,
  });
}
