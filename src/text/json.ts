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
import { check, isObject, optionsOf, preview, string } from '../options.ts';
import { type BpeOptions, ByteLevelBpe, type Merges } from './bpe.ts';
import type { AddedToken, PairPart, TokenizerOptions } from './tokenizer.ts';
import { pairOf, TOKENIZER_OPTIONS, Tokenizer as TokenizerOfModel } from './tokenizer.ts';
import { WORD_PIECE_OPTIONS, WordPiece, type WordPieceOptions } from './wordpiece.ts';

type Json = Record<string, unknown>;
type Vocabulary = ReadonlyMap<string, number>;

/** The content of a tokenizer.json, as far as bertlet reads it. */
export type TokenizerJson = {
  [section in 'model' | 'normalizer' | 'pre_tokenizer' | 'post_processor']?: Json | null;
} & {
  added_tokens?: Json[] | null;
};

/**
 * The files of a tokenizer, as far as a checkpoint has them: tokenizer.json as a text or as its content; the text of vocab.txt
 * or the content of vocab.json; the text of merges.txt; tokenizer_config.json; and special_tokens_map.json and
 * added_tokens.json, which count where tokenizer_config.json has no added_tokens_decoder.
 */
export type TokenizerFiles = { json?: string | TokenizerJson | undefined; vocab?: string | Json; merges?: string } & {
  [file in 'config' | 'special' | 'added']?: Json | undefined;
};

/** The classes that bertlet has, without `Fast` at their ends: those of the same tokenizer under other names as well. */
const WORD_PIECE_CLASSES = ['BertTokenizer', 'DistilBertTokenizer', 'ElectraTokenizer', 'MobileBertTokenizer'];
export const BYTE_LEVEL_CLASSES = ['RobertaTokenizer', 'LongformerTokenizer'];
/** Classes that are what tokenizer.json says. */
const FILE_CLASSES = ['PreTrainedTokenizer', 'TokenizersBackend'];
const CLASSES = [...WORD_PIECE_CLASSES, ...BYTE_LEVEL_CLASSES, ...FILE_CLASSES];
/** Classes that give a model no token types, where tokenizer_config.json does not name what they give. */
const WITHOUT_TYPES = ['DistilBertTokenizer', ...FILE_CLASSES];
/** Keys of tokenizer_config.json that ask for another tokenizer. */
const UNKNOWN = ['word_tokenizer_type', 'auto_map', 'split_special_tokens', 'model_specific_special_tokens'];

/** The names of special tokens, in their order, and what they are where no file says. */
const NAMES = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'];
const BERT = [null, null, '[UNK]', '[SEP]', '[PAD]', '[CLS]', '[MASK]'];
const ROBERTA = ['<s>', '</s>', '<unk>', '</s>', '<pad>', '<s>', '<mask>'];

const FILE = 'tokenizer.json';
const CONFIG = 'tokenizer_config.json';
const OURS = "bertlet has BERT's and RoBERTa's tokenizers only.";

/** Throws the error for a value. An object is shown by its content, which says more than its class. */
function refuse(what: string, expected: string, got: unknown, advice = OURS): never {
  const isContent = typeof got === 'object' && got !== null;
  throw fault('tokenizer', what, expected, isContent ? JSON.stringify(got).slice(0, 60) : preview(got), advice);
}
const expectEqual = (what: string, expected: unknown, got: unknown): boolean =>
  got === expected || refuse(FILE, `${what} ${preview(expected)}`, got);
/** The values of an object, or a list. */
const listOf = (values: unknown) => (isObject(values) ? Object.values(values) : (values ?? [])) as unknown[];

/** Brings the older files into the form of tokenizer.json, which is their model alone: their class says the rest. */
function fromOldFiles(vocab: string | Json = '', merges?: string): TokenizerJson {
  const lines = (text: string) => text.replace(/\r?\n$/, '').split(/\r?\n/);
  if (merges === undefined) return { model: { vocab: lines(vocab as string).map((line) => line.trimEnd()) } };
  return { model: { vocab, merges: lines(merges).filter((line) => line !== '' && !line.startsWith('#version')) } };
}

/** The vocabulary of a tokenizer.json: an object, or a list of tokens in the order of their ids. */
function vocabularyOf({ model }: TokenizerJson): Vocabulary {
  const tokens = (model?.vocab ?? {}) as string[] | Record<string, number>;
  return new Map(Array.isArray(tokens) ? tokens.map((token, id) => [token, id]) : Object.entries(tokens));
}

/** How a tokenizer.json splits texts and joins them: the options of its model, which checks them, and the pair. */
interface Description extends WordPieceOptions, BpeOptions {
  readonly type: 'WordPiece' | 'BPE';
  readonly pair: readonly PairPart[] | undefined;
}

function describe({ model, normalizer, pre_tokenizer, post_processor }: TokenizerJson, all: Vocabulary): Description {
  if (!isObject(model)) return refuse(FILE, 'a model', model);
  const type = model.type ?? (model.merges ? 'BPE' : 'WordPiece'); // files of 2020 do not say
  const pair = isObject(post_processor) ? pairOfFile(post_processor, all) : undefined;
  if (type === 'BPE') {
    expectEqual('normalizer', null, normalizer ?? null);
    expectEqual('pre_tokenizer.type', 'ByteLevel', pre_tokenizer?.type);
    expectEqual('pre_tokenizer.use_regex', true, pre_tokenizer?.use_regex ?? true);
    const others = ['dropout', 'byte_fallback', 'ignore_merges', 'continuing_subword_prefix', 'end_of_word_suffix'];
    for (const key of others) if (model[key]) refuse(FILE, `no model.${key}`, model[key]);
    const prefixSpace = pre_tokenizer?.add_prefix_space as boolean;
    const trimOffsets = post_processor?.type === 'RobertaProcessing' && post_processor.trim_offsets !== false;
    if (trimOffsets) expectEqual('add_prefix_space of both', prefixSpace, post_processor.add_prefix_space);
    return { type, pair, prefixSpace, trimOffsets };
  }
  if (type !== 'WordPiece') return refuse(FILE, 'model.type "WordPiece" or "BPE"', type);
  expectEqual('normalizer.type', 'BertNormalizer', normalizer?.type);
  expectEqual('normalizer.clean_text', true, normalizer?.clean_text);
  expectEqual('pre_tokenizer.type', 'BertPreTokenizer', pre_tokenizer?.type);
  const { unk_token: unknown = '[UNK]', continuing_subword_prefix: prefix = '##' } = model;
  const { max_input_chars_per_word: maxWord = 100 } = model;
  const { lowercase, strip_accents: stripAccents, handle_chinese_chars: chineseChars } = normalizer!;
  return { type, pair, unknown, prefix, maxWord, lowercase, stripAccents, chineseChars } as Description;
}

/** How the post-processor of a tokenizer.json joins two texts. */
function pairOfFile(processor: Json, vocab: Vocabulary): readonly PairPart[] {
  const checked = (token: unknown, id: unknown): string => {
    expectEqual(`the id of ${preview(token)}`, vocab.get(token as string) ?? id, id);
    return token as string;
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
    expectEqual(`tokens of ${preview(special!.id)}, as many as its ids,`, ids.length, tokens.length);
    return tokens.map((token, i) => ({ token: checked(token, ids[i]), type: special!.type_id }));
  });
  const order = parts.map((part) => ('token' in part ? '.' : part.sequence)).join('');
  const isPair = /^\.+0\.+1\.+$/.test(order) && parts.every((part) => part.type === 0 || part.type === 1);
  return isPair ? parts : refuse(FILE, 'a pair like [CLS] A [SEP] B [SEP]', pair);
}

/** Describes the tokenizer of a class that is older than tokenizer.json: its options are in tokenizer_config.json. */
function describeClass(className: string, config: Json, names: Json): Description {
  const name = (key: string) => addedToken(names[key], true).content;
  const isByteLevel = BYTE_LEVEL_CLASSES.includes(className);
  const pair = pairOf(name('cls_token'), name('sep_token'), isByteLevel);
  if (isByteLevel) {
    const { add_prefix_space: prefixSpace, trim_offsets: trimOffsets } = config;
    return { type: 'BPE', pair, prefixSpace, trimOffsets } as Description;
  }
  const pieces = { unknown: name('unk_token'), prefix: '##', maxWord: 100 };
  const { do_lower_case: lowercase, strip_accents: stripAccents, tokenize_chinese_chars: chineseChars } = config;
  return { type: 'WordPiece', pair, ...pieces, lowercase, stripAccents, chineseChars } as Description;
}

/** @throws BertletError `tokenizer` where a class does not do what its file says: transformers 4 follows the file */
function expectSame(className: string, own: Description, file: Description): void {
  for (const key of ['type', 'pair', 'unknown', 'prefix', 'maxWord'] as const) {
    const [ours, theirs] = [JSON.stringify(own[key]), JSON.stringify(file[key])];
    const advice = `To follow the file, set tokenizer_class to PreTrainedTokenizerFast in ${CONFIG}.`;
    if (ours !== theirs) refuse(FILE, `${key} ${ours?.slice(0, 200)} of ${className}`, file[key], advice);
  }
}

/** An added token of a file: its content, or an object. The tokenizer checks it. */
function addedToken(value: unknown, isName: boolean): AddedToken {
  const token: Json = isObject(value) ? value : { content: value };
  const { content, special, lstrip, rstrip, single_word: singleWord, normalized = !(isName || special) } = token;
  return { content, normalized, lstrip, rstrip, singleWord } as AddedToken;
}

/** The special tokens by their names. An object is one where it says so, or in special_tokens_map.json. */
function namesOf(config: Json, special: Json, defaults: readonly (string | null)[]): Json {
  const own = Object.fromEntries(NAMES.map((name, i) => [name, defaults[i]]));
  const isName = ([key, token]: [string, unknown]) =>
    key.endsWith('_token') && (typeof token === 'string' || (isObject(token) && (key in special || '__type' in token)));
  return Object.fromEntries(Object.entries({ ...own, ...config }).filter(isName));
}

/**
 * The added tokens of all files, in the order of their ids, so that those that the vocabulary lacks get the next ones.
 * @param own those of tokenizer.json, and `first` if they come before all others
 * @param named those that have a name
 */
function addedTokensOf(files: TokenizerFiles, own: Json[], first: Json[], named: AddedToken[]): AddedToken[] {
  const { config = {}, special = {}, added = {} } = files;
  const asName = (token: unknown) => addedToken(token, true);
  // As in transformers 5: the list of special_tokens_map.json counts where there is no other, and marks no token.
  const lists = [config.extra_special_tokens, config.additional_special_tokens].map(listOf);
  const extra = lists.find(({ length }) => length > 0) ?? [];
  const marked = [...named, ...extra.concat(listOf(special.extra_special_tokens)).map(asName)];
  const old = listOf(extra.length > 0 ? [] : special.additional_special_tokens).map(asName);
  const isMarked = (content: string) => marked.some((token) => token.content === content);
  const older = Object.entries(added).map(([content, id]) => [id, { content, special: isMarked(content) }]);
  const byId = config.added_tokens_decoder ?? Object.fromEntries([...older, ...own.map((token) => [token.id, token])]);
  for (const id of Object.keys(byId)) if (!/^(0|[1-9]\d{0,7})$/.test(id)) refuse('added tokens', 'ids', id);
  const listed = [...first, ...Object.values(byId as Json)].map((token) => addedToken(token, false));
  const known = new Set(listed.map(({ content }) => content));
  return [...listed, ...[...marked, ...old].filter(({ content }) => !known.has(content))];
}

/**
 * Gives ids to added tokens that the vocabulary lacks: the next free ones, in order, whatever ids their file says. Those with
 * a name are left out where the model has no row for them.
 */
function numbered(vocab: Vocabulary, tokens: AddedToken[], named: AddedToken[], rows: number): Vocabulary {
  const all = new Map(vocab);
  let next = vocab.size;
  for (const token of tokens) {
    const { content } = token;
    if (content !== '' && !all.has(content) && !(next >= rows && named.includes(token))) all.set(content, next);
    next = Math.max(next, (all.get(content) ?? -1) + 1);
  }
  return all;
}

/** Whether a tokenizer gives its model token types. A model with types computes with zeros where none are given. */
function givesTypes(names: unknown, className: string, matters: boolean): boolean {
  if (Array.isArray(names)) return names.includes('token_type_ids');
  const advice = 'By itself the class gives token types in transformers 4 and none in transformers 5.';
  const isUnknown = className === 'PreTrainedTokenizer' && matters;
  if (names !== undefined || isUnknown) refuse(CONFIG, `model_input_names of ${className} as a list`, names, advice);
  return !WITHOUT_TYPES.includes(className);
}

/** A tokenizer, and what makes it from files. */
export class Tokenizer extends TokenizerOfModel {
  /**
   * Makes a tokenizer from a vocab.txt.
   * @param vocabText one token on each line; the token's id is the line number, counted from 0
   * @throws BertletError `tokenizer` if [UNK], [CLS] or [SEP] is missing; `input` for an unknown option
   */
  static fromVocab(vocabText: string, given: WordPieceOptions & TokenizerOptions = {}): Tokenizer {
    check('vocabText', vocabText, string);
    const all = { ...WORD_PIECE_OPTIONS, ...TOKENIZER_OPTIONS };
    const { added, pair, maxTokens, ...pieces } = optionsOf('Tokenizer', given, all);
    const vocab = vocabularyOf(fromOldFiles(vocabText));
    return new Tokenizer(vocab, new WordPiece(vocab, pieces), { added, pair, maxTokens });
  }

  /**
   * Makes the tokenizer that a tokenizer.json describes, with nothing but that file.
   * @param given the file's text, or the object that it holds
   * @throws BertletError `tokenizer` if the file has another tokenizer than BERT's or RoBERTa's
   */
  static fromJson(given: string | TokenizerJson): Tokenizer {
    return tokenizerOf({ json: given, config: { model_input_names: ['token_type_ids'] } }, 'TokenizersBackend');
  }
}

/**
 * Makes the tokenizer of a checkpoint.
 * @param className its class: of tokenizer_config.json, of config.json, or the family's own
 * @param size how many token types and rows of word embeddings the model has. Default: as many as the files have
 * @throws BertletError `tokenizer` for another tokenizer than BERT's or RoBERTa's, or where versions of transformers
 * read the files in different ways
 */
export function tokenizerOf(files: TokenizerFiles, className: string, size = { types: 2, vocab: Infinity }): Tokenizer {
  try {
    const { special = {}, json: given = fromOldFiles(files.vocab, files.merges) } = files;
    const config = { ...files.config, ...special }; // as in transformers 5, whatever is in it
    const json: TokenizerJson = typeof given === 'string' ? JSON.parse(given) : given;
    const followsFile = FILE_CLASSES.includes(className);
    if (!CLASSES.includes(className)) refuse('tokenizer_class', CLASSES.join(', '), className);
    for (const key of UNKNOWN) if (config[key]) refuse(CONFIG, `no ${key}`, config[key]);
    if (followsFile && !files.json) refuse(FILE, `a file for ${className}`, 'none');
    const defaults = followsFile ? [] : BYTE_LEVEL_CLASSES.includes(className) ? ROBERTA : BERT;
    const names = namesOf(config, special, defaults);
    const vocab = vocabularyOf(json);
    const named = Object.values(names).map((name) => addedToken(name, true));
    const listed = json.added_tokens ?? [];
    const added = addedTokensOf(files, listed, followsFile ? listed : [], named);
    const all = numbered(vocab, added, named, size.vocab);
    const own = followsFile ? null : describeClass(className, config, names);
    const file = files.json || !own ? describe(json, all) : own;
    if (own) expectSame(className, own, file);
    const { type, pair = refuse(FILE, 'a post_processor', json.post_processor), ...options } = own ?? file;
    if (className === 'PreTrainedTokenizer' && (options.prefixSpace ?? false) !== (config.add_prefix_space ?? false)) {
      const advice = 'transformers 4 takes it from here, transformers 5 from tokenizer.json.';
      refuse(CONFIG, `add_prefix_space ${options.prefixSpace}`, config.add_prefix_space, advice);
    }
    const typed = givesTypes(config.model_input_names, className, size.types > 0 && pair.some((part) => part.type > 0));
    const merges = listOf(json.model?.merges).map((merge) => (typeof merge === 'string' ? merge.split(' ') : merge));
    const longest = Number(config.model_max_length ?? config.max_len);
    const model = type === 'BPE' ? new ByteLevelBpe(vocab, merges as Merges, options) : new WordPiece(vocab, options);
    return new Tokenizer(all, model, {
      added,
      pair: typed ? pair : pair.map((part) => ({ ...part, type: 0 })),
      maxTokens: longest >= 1 && longest < 2 ** 31 ? Math.floor(longest) : undefined,
    });
  } catch (cause) {
    if (cause instanceof BertletError && cause.code === 'tokenizer') throw cause; // others are of values that are wrong
    const got = `others (${messageOf(cause)})`;
    throw fault('tokenizer', 'tokenizer', 'files as Hugging Face saves them', got, 'Save them anew.', cause);
  }
}
