/**
 * Texts to tokens of one vocabulary. Added tokens, such as [SEP], are found in the text as they are written; a model
 * splits the text between them: WordPiece (wordpiece.ts) or byte-level BPE (bpe.ts). Each token keeps its place
 * [start, end) in the original string, in UTF-16 units: `text.slice(start, end)` is the token's original text, before
 * accents or case were removed.
 *
 * Ids and offsets equal those of the reference, Hugging Face's tokenizers (added_vocabulary.rs).
 */

import { fault } from '../errors.ts';
import * as option from '../options.ts';
import { check, optionsOf, preview, type Table } from '../options.ts';

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

/** A normalized text. Its i-th UTF-16 unit comes from the character at places[i] of the text. */
export interface Normalized {
  text: string;
  places: number[];
}

/** Appends a token to an encoding, from the character at `first` to the one at `last`. */
export type PushToken = (id: number, token: string, first: number, last: number) => void;

/** Splits texts without added tokens into tokens. */
export interface TokenModel {
  /** Normalizes a part of a text that begins at `offset`. */
  normalize(text: string, offset: number): Normalized;
  /** Hands the tokens of a normalized text to `push`, in order. */
  tokenize(text: Normalized, push: PushToken): void;
  /** Moves the ends of a token at [start, end) of `text`. */
  trim?(token: string, start: number, end: number, text: string): [start: number, end: number];
}

/** A token that is found literally, and how. */
export interface AddedToken {
  content: string;
  /** Find it in the normalized text: in an uncased model, in any case. Default false. */
  normalized?: boolean | undefined;
  /** It takes the spaces before it. Default false. */
  lstrip?: boolean | undefined;
  /** It takes the spaces after it. Default false. */
  rstrip?: boolean | undefined;
  /** Find it only where no letter or digit stands beside it. Default false. */
  singleWord?: boolean | undefined;
}

/** Options of `Tokenizer`. */
export interface TokenizerOptions {
  /** Tokens that are found literally. Default: BERT's five special tokens. A string is not normalized. */
  added?: readonly (string | AddedToken)[] | undefined;
  /** How two texts become one input. Default `[CLS] first [SEP] second [SEP]`. */
  pair?: readonly PairPart[] | undefined;
  /** Longest input in tokens. Default: as long as the model's positions. */
  maxTokens?: number | undefined;
}
export const TOKENIZER_OPTIONS = {
  added: option.anything<readonly (string | AddedToken)[]>(),
  pair: option.anything<readonly PairPart[]>(),
  maxTokens: option.integer(1),
} satisfies Table<TokenizerOptions>;
/** The id of each token. Known by its name: another realm has a class of its own. */
export const vocabulary: option.Option<ReadonlyMap<string, number>> = {
  expected: 'a Map of tokens and ids',
  allows: (value) => Object.prototype.toString.call(value) === '[object Map]',
};
const tokenModel: option.Option<TokenModel> = {
  expected: 'a WordPiece or a ByteLevelBpe',
  allows: (value) => typeof (value as TokenModel | null)?.tokenize === 'function',
};
const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];

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
    check('vocab', vocab, vocabulary);
    check('model', model, tokenModel);
    const options = optionsOf('Tokenizer', given, TOKENIZER_OPTIONS);
    this.#vocab = vocab;
    this.#model = model;
    this.#pair = options.pair ?? pairOf('[CLS]', '[SEP]');
    this.vocabSize = sizeOf(vocab);
    this.maxTokens = options.maxTokens ?? Number.POSITIVE_INFINITY;
    const special = this.#pair.flatMap((part) => ('token' in part ? [part.token] : []));
    for (const token of special) expectToken(vocab, token);
    this.specialTokens = special.length;
    const tokens = (options.added ?? SPECIAL).map((one) => (typeof one === 'string' ? { content: one } : one));
    const [literal, normalized] = [new Map<string, AddedToken>(), new Map<string, AddedToken>()];
    // Of tokens that are listed twice the last one counts, as in the reference.
    for (const [content, token] of new Map(tokens.map((one) => [one.content, one]))) {
      if (!vocab.has(content)) continue;
      if (token.normalized) normalized.set(model.normalize(content, 0).text, token);
      else literal.set(content, token);
    }
    this.#splitText = splitter(literal);
    this.#splitNormalized = splitter(normalized);
  }

  /** Splits a text into tokens. Adds no special tokens, but keeps those that are written in the text. */
  encode(text: string): Encoding {
    check('text', text, option.string);
    const encoding: Encoding = { ids: [], tokens: [], offsets: [] };
    const model = this.#model;
    const put = (id: number, token: string, start: number, end: number) => {
      encoding.ids.push(id);
      encoding.tokens.push(token);
      encoding.offsets.push(model.trim ? model.trim(token, start, end, text) : [start, end]);
    };
    const push: PushToken = (id, token, first, last) => put(id, token, first, last + widthAt(text, last));
    for (const [begin, end, added] of this.#splitText(text)) {
      if (added) put(this.#vocab.get(added.content)!, text.slice(begin, end), begin, end);
      else if (begin < end) this.#encodePlain(model.normalize(text.slice(begin, end), begin), push);
    }
    return encoding;
  }

  /** Encodes a normalized text, in which there may be added tokens that are normalized as well. */
  #encodePlain({ text, places }: Normalized, push: PushToken): void {
    for (const [begin, end, added] of this.#splitNormalized(text)) {
      const part = { text: text.slice(begin, end), places: places.slice(begin, end) };
      if (!added) this.#model.tokenize(part, push);
      else push(this.#vocab.get(added.content)!, part.text, part.places[0]!, part.places.at(-1)!);
    }
  }

  /** Encodes `[CLS] question [SEP] context [SEP]` without any limit of length. */
  encodePair(question: string, context: string): PairEncoding {
    return this.pair(this.encode(question), this.encode(context));
  }

  /** Joins two encodings, or parts of encodings, as `[CLS] first [SEP] second [SEP]`. */
  pair(first: Encoding, second: Encoding): PairEncoding {
    const pair: PairEncoding = { ids: [], tokens: [], offsets: [], typeIds: [], sequence: [] };
    const add = (id: number, token: string, offset: [number, number], type: number, sequence: null | 0 | 1) => {
      pair.ids.push(id);
      pair.tokens.push(token);
      pair.offsets.push(offset);
      pair.typeIds.push(type);
      pair.sequence.push(sequence);
    };
    for (const part of this.#pair) {
      if ('token' in part) add(this.#vocab.get(part.token)!, part.token, [0, 0], part.type, null);
      else {
        const { ids, tokens, offsets } = part.sequence === 0 ? first : second;
        for (const [i, id] of ids.entries()) add(id, tokens[i]!, offsets[i]!, part.type, part.sequence);
      }
    }
    return pair;
  }
}

/** A part of a text: [begin, end), and the added token that it is, or null. */
type TextPart = [begin: number, end: number, token: AddedToken | null];
/** Cuts a text at added tokens. */
type Splitter = (text: string) => Iterable<TextPart>;

const MAX_PATTERNS = 2 ** 20; // characters: to compile more takes seconds
const WORD = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u; // \w of Rust's regular expressions
const SPACE = /\p{White_Space}/u; // all are of one UTF-16 unit

/**
 * Makes a function that cuts a text at added tokens: at the leftmost, of those that begin there at the longest.
 * @param patterns what to look for, in the form of the text that is cut
 */
function splitter(patterns: ReadonlyMap<string, AddedToken>): Splitter {
  const longestFirst = [...patterns.keys()].filter((one) => one !== '').sort((a, b) => b.length - a.length);
  if (longestFirst.length === 0) return (text) => [[0, text.length, null]];
  const source = longestFirst.map((pattern) => pattern.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')).join('|');
  if (source.length > MAX_PATTERNS) {
    throw fault('tokenizer', 'added tokens', `at most ${MAX_PATTERNS} characters in all`, source.length);
  }
  const any = new RegExp(source, 'g');
  return function* split(text) {
    let done = 0;
    for (const { 0: found, index } of text.matchAll(any)) {
      const token = patterns.get(found)!;
      let [begin, end] = [index, index + found.length];
      // What is found covers what begins inside of it, even if it does not count. Only its spaces may belong to two.
      if (token.singleWord && touchesWord(text, begin, end)) continue;
      while (token.lstrip && begin > done && SPACE.test(text[begin - 1]!)) begin--;
      if (token.lstrip) begin = Math.max(begin, done);
      while (token.rstrip && end < text.length && SPACE.test(text[end]!)) end++;
      yield [done, begin, null];
      yield [begin, end, token];
      done = end;
    }
    yield [done, text.length, null];
  };
}

/** Whether a letter or a digit stands beside [begin, end) of a text. */
function touchesWord(text: string, begin: number, end: number): boolean {
  // Code points by themselves: V8 of Node 26 does not find one outside the basic plane before `$`.
  const before = [...text.slice(Math.max(0, begin - 2), begin)].at(-1) ?? '';
  const [after = ''] = text.slice(end, end + 2);
  return WORD.test(before) || WORD.test(after);
}

/** UTF-16 units of the character at a place of a text. */
export const widthAt = (text: string, place: number): number => (text.codePointAt(place)! > 0xffff ? 2 : 1);

/** @throws BertletError `tokenizer` if the vocabulary lacks a token that texts need */
export function expectToken(vocab: ReadonlyMap<string, number>, token: string, what = 'the token'): void {
  if (vocab.has(token)) return;
  throw fault('tokenizer', 'vocabulary', `${what} ${preview(token).slice(1, -1)}`, `${vocab.size} others`);
}

/**
 * Returns the largest id + 1.
 * @throws BertletError `tokenizer` unless the ids are integers from 0, each once
 */
export function sizeOf(vocab: ReadonlyMap<string, number>): number {
  const seen = new Set<number>();
  let size = 0;
  for (const [token, id] of vocab) {
    if (!Number.isSafeInteger(id) || id < 0 || seen.has(id)) {
      const got = `${preview(id)} for ${preview(token)}${seen.has(id) ? ', again' : ''}`;
      throw fault('tokenizer', 'vocabulary', 'ids that are integers from 0, each once', got);
    }
    seen.add(id);
    size = Math.max(size, id + 1);
  }
  return size;
}

/** Makes a class of a regular expression from code points in hexadecimal: `7fd 890-8e2`. */
export const rangesOf = (hex: string): string => `[${hex.replace(/\w+/g, '\\u{$&}').replaceAll(' ', '')}]`;
