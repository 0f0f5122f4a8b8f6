/**
 * Texts to tokens of one vocabulary. Added tokens, such as [SEP], are found in the text as they are written; a model
 * splits the text between them: WordPiece (wordpiece.ts) or byte-level BPE (bpe.ts). Each token keeps its place
 * [start, end) in the original string, in UTF-16 units: `text.slice(start, end)` is the token's original text, before
 * accents or case were removed.
 *
 * Ids and offsets equal those of the reference, Hugging Face's tokenizers (added_vocabulary.rs).
 */

import { fault, inputError } from '../errors.ts';
import * as option from '../options.ts';

/** The tokens of one text, as three parallel arrays. */
export interface Encoding {
  ids: number[];
  /** The vocabulary's words for them; of an added token, the text that it was found as. */
  tokens: string[];
  /** [start, end) of each token in the text, in UTF-16 units; [0, 0] for [CLS] and [SEP]. */
  offsets: [start: number, end: number][];
}

/** `[CLS] question [SEP] context [SEP]`, with the special tokens of the model. */
export interface PairEncoding extends Encoding {
  /** BERT: 0 up to and including the first [SEP], then 1. All 0 for RoBERTa, and where the tokenizer gives no types. */
  typeIds: number[];
  /** The text that each token and its offsets belong to: 0 question, 1 context, null for [CLS] and [SEP]. */
  sequence: (null | 0 | 1)[];
}

/** A part of a pair: one of the two texts, or a special token. `type`: the token type of all its tokens. */
export type PairPart = { readonly type: number } & ({ readonly sequence: 0 | 1 } | { readonly token: string });

/** A normalized text, and for each of its UTF-16 units the place of the character that it comes from. */
export type Normalized = readonly [text: string, places: readonly number[]];

/** Appends a token to an encoding, from the character at `first` to the one at `last`. */
export type PushToken = (id: number, token: string, first: number, last: number) => void;

/** Splits texts without added tokens into tokens. */
export interface TokenModel {
  /** Normalizes a part of a text that begins at `offset`. */
  normalize(text: string, offset: number): Normalized;
  /** Hands the tokens of a normalized text to `push`, in order. */
  tokenize(text: Normalized, push: PushToken): void;
  /** Finds places where a text may be cut in two that have the same tokens. */
  readonly cuts: RegExp;
  /** Moves the ends of a token at [start, end) of `text`. */
  trim?(token: string, start: number, end: number, text: string): [start: number, end: number];
}

const ADDED_TOKEN = {
  content: option.required(option.string),
  /** Find it in the normalized text: in an uncased model, in any case. Default false. */
  normalized: option.boolean,
  /** Takes the spaces before it. Default false. */
  lstrip: option.boolean,
  /** Takes the spaces after it. Default false. */
  rstrip: option.boolean,
  /** Find it only where no letter or digit stands beside it. Default false. */
  singleWord: option.boolean,
};
/** A token that is found literally, and how. */
export type AddedToken = option.GivenOf<typeof ADDED_TOKEN>;

export const TOKENIZER_OPTIONS = {
  /** Tokens that are found literally. Default: BERT's five special tokens. A string is not normalized. */
  added: option.anything<readonly (string | AddedToken)[]>(),
  /** How two texts become one input. Default `[CLS] first [SEP] second [SEP]`. */
  pair: option.anything<readonly PairPart[]>(),
  /** Longest input in tokens. Default: as long as the model's positions. */
  maxTokens: option.integer(1),
};
/** Options of `Tokenizer`. */
export type TokenizerOptions = option.GivenOf<typeof TOKENIZER_OPTIONS>;
const PART = 4096; // UTF-16 units: a few milliseconds

/** The pair `cls first sep second sep` of BERT, or that of RoBERTa, which has a second separator and one type. */
export const pairOf = (cls: string, sep: string, isRoberta = false): readonly PairPart[] => [
  { token: cls, type: 0 },
  { sequence: 0, type: 0 },
  { token: sep, type: 0 },
  ...(isRoberta ? [{ token: sep, type: 0 }] : []),
  { sequence: 1, type: isRoberta ? 0 : 1 },
  { token: sep, type: isRoberta ? 0 : 1 },
];

/** Splits texts into tokens of one vocabulary. */
export class Tokenizer {
  readonly #vocab: ReadonlyMap<string, number>;
  readonly #model: TokenModel;
  readonly #splitText: Splitter;
  readonly #splitNormalized: Splitter;
  /** Whether no added token has a space, where texts are cut. */
  readonly #isCuttable: boolean;
  readonly #pair: readonly PairPart[];
  /** Largest id of the vocabulary + 1. */
  readonly vocabSize: number;
  /** Longest input in tokens, or Infinity. */
  readonly maxTokens: number;
  /** Special tokens of a pair. */
  readonly specialTokens: number;

  /**
   * @param vocab the id of each token, added tokens among them: integers from 0, each once
   * @param model splits the text between added tokens: a `WordPiece` or a `ByteLevelBpe`
   * @throws BertletError `tokenizer` if an id is wrong or a special token is missing; `input` for an unknown option
   */
  constructor(vocab: ReadonlyMap<string, number>, model: TokenModel, given: TokenizerOptions = {}) {
    if (typeof model?.tokenize !== 'function')
      throw inputError('model', 'a WordPiece or a ByteLevelBpe', option.preview(model));
    const options = option.optionsOf('Tokenizer', given, TOKENIZER_OPTIONS);
    this.#vocab = vocab;
    this.#model = model;
    this.#pair = options.pair ?? pairOf('[CLS]', '[SEP]');
    this.maxTokens = options.maxTokens ?? Number.POSITIVE_INFINITY;
    const special = this.#pair.flatMap((part) => ('token' in part ? [part.token] : []));
    for (const token of special) expectToken(vocab, token);
    this.specialTokens = special.length;
    this.vocabSize = sizeOf(vocab);
    const added = (options.added ?? ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']).map((one) => {
      return option.optionsOf('added token', typeof one === 'string' ? { content: one } : one, ADDED_TOKEN);
    });
    // Of tokens that are listed twice the last one counts, as in the reference.
    const last = [...new Map(added.map((token) => [token.content, token])).values()];
    const known = last.filter(({ content }) => vocab.has(content));
    const formOf = (content: string) => model.normalize(content, 0)[0];
    this.#splitText = splitter(known.filter((token) => !token.normalized));
    this.#splitNormalized = splitter(
      known.filter((token) => token.normalized),
      formOf,
    );
    this.#isCuttable = !added.some(({ content, rstrip }) => rstrip || SPACE.test(content));
  }

  /** Splits a text into tokens. Adds no special tokens, but keeps those that are written in the text. */
  encode(text: string): Encoding {
    return this.#encodePart(text, 0, text?.length);
  }

  /** The tokens of one part of a text after the other: what `encode` returns, for long texts in many short turns. */
  *encodeParts(text: string): Generator<Encoding> {
    const { cuts } = this.#model;
    let from = 0;
    do {
      cuts.lastIndex = from + PART;
      const to = (this.#isCuttable && cuts.lastIndex < text?.length && cuts.exec(text)?.index) || text?.length;
      yield this.#encodePart(text, from, to);
      from = to;
    } while (from < text.length);
  }

  #encodePart(text: string, from: number, to: number): Encoding {
    option.check('text', text, option.string);
    const encoding: Encoding = { ids: [], tokens: [], offsets: [] };
    const push: PushToken = (id, token, first, last) => {
      const end = last + widthAt(text, last);
      encoding.ids.push(id);
      encoding.tokens.push(token);
      encoding.offsets.push(this.#model.trim?.(token, first, end, text) ?? [first, end]);
    };
    const part = text.slice(from, to);
    for (const [begin, end, added] of this.#splitText(part)) {
      if (added) push(this.#vocab.get(added.content)!, part.slice(begin, end), from + begin, from + end - 1);
      else if (begin < end) this.#encodePlain(this.#model.normalize(part.slice(begin, end), from + begin), push);
    }
    return encoding;
  }

  /** Encodes a normalized text, in which there may be added tokens that are normalized as well. */
  #encodePlain([text, places]: Normalized, push: PushToken): void {
    for (const [begin, end, added] of this.#splitNormalized(text)) {
      if (!added) this.#model.tokenize([text.slice(begin, end), places.slice(begin, end)], push);
      else push(this.#vocab.get(added.content)!, text.slice(begin, end), places[begin]!, places[end - 1]!);
    }
  }

  /** Encodes `[CLS] question [SEP] context [SEP]` without any limit of length. */
  encodePair(question: string, context: string): PairEncoding {
    return this.pair(this.encode(question), this.encode(context));
  }

  /** Joins two encodings, or parts of encodings, as `[CLS] first [SEP] second [SEP]`. */
  pair(first: Encoding, second: Encoding): PairEncoding {
    for (const one of [first, second]) option.check('pair: ids', one?.ids, option.array);
    const parts = this.#pair.map((part) => {
      const sequence = 'sequence' in part ? part.sequence : null;
      const special = 'token' in part ? part.token : '';
      const one: Encoding = { ids: [this.#vocab.get(special)!], tokens: [special], offsets: [[0, 0]] };
      return { ...(sequence === null ? one : [first, second][sequence]!), type: part.type, sequence };
    });
    return {
      ids: parts.flatMap(({ ids }) => ids),
      tokens: parts.flatMap(({ tokens }) => tokens),
      offsets: parts.flatMap(({ offsets }) => offsets),
      typeIds: parts.flatMap(({ ids, type }) => ids.map(() => type)),
      sequence: parts.flatMap(({ ids, sequence }) => ids.map(() => sequence)),
    };
  }
}

/** Cuts a text at added tokens. A part is [begin, end) of it, and the added token that it is, or null. */
type Splitter = (text: string) => Iterable<[begin: number, end: number, token: AddedToken | null]>;

const MAX_TOKEN = 1000; // characters of an added token
const MAX_PATTERN = 2 ** 20; // characters of a regular expression: to compile more takes seconds
const WORD = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u; // \w of Rust's regular expressions
const SPACE = /\p{White_Space}/u; // all are of one UTF-16 unit

/**
 * Makes a function that cuts a text at added tokens: at the leftmost, of those that begin there at the longest.
 * @param formOf what the content of a token becomes in the text that is cut
 */
function splitter(tokens: readonly AddedToken[], formOf = (content: string) => content): Splitter {
  const byForm = new Map(tokens.map((token) => [formOf(token.content), token]));
  const longestFirst = [...byForm.keys()].filter((form) => form !== '').sort((a, b) => b.length - a.length);
  const source = longestFirst.map((form) => form.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')).join('|') || '(?!)';
  if (source.length > MAX_PATTERN || longestFirst.some((form) => form.length > MAX_TOKEN)) {
    throw fault('tokenizer', 'added tokens', `at most ${MAX_TOKEN} characters each, ${MAX_PATTERN} in all`, 'more');
  }
  const any = new RegExp(source, 'g');
  return function* split(text) {
    let done = 0;
    for (const { 0: found, index } of text.matchAll(any)) {
      const token = byForm.get(found)!;
      let [begin, end] = [index, index + found.length];
      // What is found covers what begins inside of it, even if it does not count. Only its spaces may belong to two.
      if (token.singleWord && touchesWord(text, begin, end)) continue;
      while (token.lstrip && begin > done && SPACE.test(text[begin - 1]!)) begin--;
      if (token.lstrip) begin = Math.max(begin, done);
      while (token.rstrip && end < text.length && SPACE.test(text[end]!)) end++;
      yield [done, begin, null];
      if (begin < end) yield [begin, end, token]; // the spaces of the one before may be all that it is
      done = end;
    }
    yield [done, text.length, null];
  };
}

/** Whether a letter or a digit stands beside [begin, end) of a text. */
function touchesWord(text: string, begin: number, end: number): boolean {
  // Code points by themselves: V8 of Node 26 does not find one outside the basic plane before `$`.
  const [before, after] = [[...text.slice(Math.max(0, begin - 2), begin)], [...text.slice(end, end + 2)]];
  return WORD.test(before.at(-1) ?? '') || WORD.test(after[0] ?? '');
}

/** UTF-16 units of the character at a place of a text. */
export const widthAt = (text: string, place: number): number => (text.codePointAt(place)! > 0xffff ? 2 : 1);

/** @throws BertletError `tokenizer` if the vocabulary lacks a token that texts need; `input` if it is no Map */
export function expectToken(vocab: ReadonlyMap<string, number>, token: string, what = 'the token'): void {
  if (typeof vocab?.get !== 'function') throw inputError('vocab', 'a Map of tokens and ids', option.preview(vocab));
  if (vocab.has(token)) return;
  throw fault('tokenizer', 'vocabulary', `${what} ${option.preview(token).slice(1, -1)}`, `${vocab.size} others`);
}

/**
 * Returns the largest id + 1.
 * @throws BertletError `tokenizer` unless the ids are integers from 0, each once
 */
function sizeOf(vocab: ReadonlyMap<string, number>): number {
  const ids = new Set(vocab.values());
  const wrong = [...ids].filter((id) => !option.integer(0).allows(id)).map(option.preview);
  if (wrong.length > 0 || ids.size < vocab.size) {
    const got = wrong[0] ?? `${ids.size} ids for ${vocab.size} tokens`;
    throw fault('tokenizer', 'vocabulary', 'ids that are integers from 0, each once', got);
  }
  return [...ids].reduce((size, id) => Math.max(size, id + 1), 0);
}

/** Makes a class of a regular expression from code points in hexadecimal: `7fd 890-8e2`. */
export const rangesOf = (hex: string): string => `[${hex.replace(/\w+/g, '\\u{$&}').replaceAll(' ', '')}]`;
