/**
 * BERT's tokenizer. Cleans and normalizes the text, splits the text into words at spaces and punctuation, and splits
 * each word into the longest pieces that the vocabulary has (WordPiece). Each token keeps its place [start, end) in the
 * original string, in UTF-16 units: `text.slice(start, end)` is the token's original text, before accents or case were
 * removed.
 *
 * Ids and offsets equal those of the reference, Hugging Face's fast BertTokenizer (huggingface/tokenizers:
 * normalizers/bert.rs, pre_tokenizers/bert.rs, models/wordpiece), the tokenizer that checkpoints are trained with.
 */

import { BertletError, inputError } from '../errors.ts';
import { anything, boolean, integer, optionsOf, preview, string, type Table } from '../options.ts';
import { readVocab, type TokenizerJson, tokenizerJson } from './json.ts';
import { type AddedToken, cutter, inOrder, joined, sizeOf } from './vocabulary.ts';

export interface TokenizerOptions {
  /** Lowercase the text (an uncased checkpoint). Default true, as `do_lower_case` in Hugging Face. */
  lowercase?: boolean | undefined;
  /** Remove accents. Default: the value of `lowercase`. */
  stripAccents?: boolean | null | undefined;
  /** Make each Chinese character a word. Default true. */
  chineseChars?: boolean | undefined;
  /** Tokens that are matched literally. Default: BERT's five special tokens. A string is not normalized. */
  addedTokens?: (string | AddedToken)[] | undefined;
  /** The token of a word that has no split into pieces. Default [UNK]. */
  unknown?: string | undefined;
  /** What pieces begin with that do not begin a word. Default `##`. */
  prefix?: string | undefined;
  /** Longest word in characters; a longer one is unknown. Default 100. */
  maxWord?: number | undefined;
  /** How two texts become one input. Default `[CLS] first [SEP] second [SEP]`. */
  pair?: readonly PairPart[] | undefined;
  /** Longest input in tokens. Default: as long as the model's positions. */
  maxTokens?: number | undefined;
  /** Another way to split than WordPiece: RoBERTa's. The options of WordPiece are then not used. */
  model?: TokenModel | undefined;
}

/** A part of a pair: one of the two texts, or a special token. `type`: the token type of all its tokens. */
export type PairPart = { readonly type: number } & ({ readonly sequence: 0 | 1 } | { readonly token: string });

/** A normalized text. Its i-th UTF-16 unit comes from [starts[i], ends[i]) of the text. */
export interface Normalized {
  text: string;
  starts: number[];
  ends: number[];
}

/** How texts without added tokens become tokens: WordPiece, or byte-level BPE (bpe.ts). */
export interface TokenModel {
  /** Normalizes a part of a text that begins at `offset`. */
  normalize(text: string, offset: number): Normalized;
  /** Appends the tokens of a normalized text. */
  tokenize(text: Normalized, encoding: Encoding): void;
  /** Works on all tokens of a text at its end. */
  finish?(encoding: Encoding, text: string): void;
  /** The text that tokens make. */
  decode(tokens: string[]): string;
}

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
  /** BERT: 0 up to and including the first [SEP], then 1. RoBERTa: 0. */
  typeIds: number[];
  /** The text that each token and its offsets belong to: 0 question, 1 context, null for [CLS] and [SEP]. */
  sequence: (null | 0 | 1)[];
}

const MAX_WORD = 100;
const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
/** BERT's pair. */
const PAIR: readonly PairPart[] = [
  { token: '[CLS]', type: 0 },
  { sequence: 0, type: 0 },
  { token: '[SEP]', type: 0 },
  { sequence: 1, type: 1 },
  { token: '[SEP]', type: 1 },
];
const WHITESPACE = /\p{White_Space}/u;
/** Characters that are dropped: control, format and private use, as in the reference, and lone surrogates. */
const CONTROL = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}]/u;
const PUNCTUATION = /[!-/:-@[-`{-~\p{P}\u166d\u{111c9}]/u; // includes all ASCII symbols, such as $ and +
const ACCENTS = /[\p{Mn}\u1734\u{1171e}]/gu;
/**
 * The reference uses the tables of Unicode 8 (2015). Format characters, punctuation, accents and compositions in these
 * ranges were added or reclassified after Unicode 8, so the reference treats them as ordinary letters.
 * test/golden/unicode.json tests this.
 */
const LATER = new RegExp(
  `[${'61d 7fd 890-8e2 9fd-9fe a76 afa-aff b55 c04-c3c c77 c84 d00 d3b-d3c d81 eba ece 180f-1886 1abf-1aeb 1b4e-1b4f \
1b7d-1b7f 1df6-1dfb 2e43-2e5d a82c a8c5 a8ff a9bd 105c9-105e4 10d24-10f89 11070-11074 110c2-110cd 111c9 111cf 1123e-11241 \
1133b 11383-1145e 11660-1166c 116b9 1182f-11fff 12ff1-12ff2 13430-13455 1611e-1612f 16d68-16f4f 16fe2-16fe4 \
1cf00-1cf46 1e000-1e2ef 1e4ec-1e6f5 1e944-1e95f'
    .replace(/\w+/g, '\\u{$&}')
    .replaceAll(' ', '')}]`,
  'u',
);
/** Unified and compatibility ideographs, with the reference's bounds for extensions D and E. */
const CHINESE =
  /[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u{20000}-\u{2a6df}\u{2a700}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/u;

/** Whether a character is punctuation, and therefore a word of its own. */
export const isPunctuation = (char: string): boolean =>
  PUNCTUATION.test(char) && (char === '\u{111c9}' || !LATER.test(char));

type Normalization = { lowercase: boolean; stripAccents: boolean; chineseChars: boolean };

/** Normalizes a character: to '' if it is dropped, to ' ' if it is a space, otherwise to one or more characters. */
export function normalizeChar(char: string, options: Normalization): string {
  if (WHITESPACE.test(char) && char !== '\v' && char !== '\f' && char !== '\x85') return ' ';
  const later = LATER.test(char);
  if (char === '\ufffd' || (CONTROL.test(char) && !later)) return '';
  let normal = char;
  if (options.stripAccents && !later) normal = normal.normalize('NFD').replace(ACCENTS, '');
  // Character by character: toLowerCase() of a whole word would turn a final sigma into another letter.
  if (options.lowercase) normal = Array.from(normal, (c) => c.toLowerCase()).join('');
  return options.chineseChars && CHINESE.test(char) ? ` ${normal} ` : normal;
}

const OPTIONS = {
  lowercase: boolean,
  stripAccents: anything<boolean | null>(),
  chineseChars: boolean,
  addedTokens: anything<(string | AddedToken)[]>(),
  unknown: string,
  prefix: string,
  maxWord: integer(1),
  pair: anything<readonly PairPart[]>(),
  maxTokens: anything<number>(),
  model: anything<TokenModel>(),
} satisfies Table<TokenizerOptions>;
/** Splits texts into tokens of one vocabulary. */
export class Tokenizer {
  readonly #vocab: ReadonlyMap<string, number>;
  readonly #model: TokenModel;
  readonly #cutText: ReturnType<typeof cutter>;
  readonly #cutNormalized: ReturnType<typeof cutter>;
  readonly #pair: readonly PairPart[];
  readonly #special: ReadonlySet<string>;
  /** What `decode` makes of added tokens, by their ids. */
  readonly #forms: ReadonlyMap<number, string>;
  /** The tokens by id, made at the first `decode`. */
  #tokens: string[] | null = null;
  /** Largest id of the vocabulary + 1. */
  readonly vocabSize: number;
  /** Longest input in tokens, or Infinity. */
  readonly maxTokens: number;
  /** Special tokens of a pair. */
  readonly specialTokens: number;

  /**
   * @param vocab the id of each token, added tokens among them: integers from 0, each once
   * @throws BertletError `tokenizer` if an id is wrong or a special token is missing; `input` for an unknown option
   */
  constructor(vocab: ReadonlyMap<string, number>, given: TokenizerOptions = {}) {
    const options = optionsOf('Tokenizer', given, OPTIONS);
    this.#vocab = vocab;
    this.vocabSize = sizeOf(vocab);
    this.maxTokens = options.maxTokens ?? Number.POSITIVE_INFINITY;
    this.#pair = options.pair ?? PAIR;
    const parts = this.#pair.flatMap((part) => ('token' in part ? [part.token] : []));
    this.specialTokens = parts.length;
    for (const token of options.model ? parts : [options.unknown ?? '[UNK]', ...parts]) {
      if (vocab.has(token)) continue;
      throw new BertletError(
        'tokenizer',
        `vocabulary: expected the token ${preview(token).slice(1, -1)}, got ${vocab.size} others.`,
      );
    }
    this.#model = options.model ?? new WordPiece(vocab, options);
    const added = (options.addedTokens ?? SPECIAL)
      .map((token): AddedToken => (typeof token === 'string' ? { content: token, special: true } : token))
      .filter(({ content }) => vocab.has(content));
    this.#special = new Set(added.filter(({ special }) => special).map(({ content }) => content));
    const formOf = ({ content, normalized }: AddedToken) =>
      normalized ? this.#model.normalize(content, 0).text : content;
    const patterns = (normalized: boolean) =>
      new Map(inOrder(added).flatMap((t) => ((t.normalized ?? false) === normalized ? [[formOf(t), t] as const] : [])));
    this.#cutText = cutter(patterns(false));
    this.#cutNormalized = cutter(patterns(true));
    this.#forms = new Map(added.map((token) => [vocab.get(token.content)!, formOf(token)]));
  }

  /**
   * Makes a tokenizer from a vocab.txt.
   * @param vocabText one token on each line; the token's id is the line number, counted from 0
   * @throws BertletError `tokenizer` if [UNK], [CLS] or [SEP] is missing
   */
  static fromVocab(vocabText: string, options: TokenizerOptions = {}): Tokenizer {
    if (typeof vocabText !== 'string') throw inputError('vocabText', 'a string', preview(vocabText));
    return new Tokenizer(readVocab(vocabText), options);
  }

  /**
   * Makes the tokenizer that a tokenizer.json describes, with nothing but that file.
   * @param json the file's text, or the object that it holds
   * @throws BertletError `tokenizer` if the file has another tokenizer than BERT's or RoBERTa's
   */
  static fromJson(json: string | TokenizerJson): Tokenizer {
    return new Tokenizer(...tokenizerJson(json));
  }

  /** Splits a text into tokens. Adds no special tokens, but keeps those that are written in the text. */
  encode(text: string): Encoding {
    if (typeof text !== 'string') throw inputError('text', 'a string', preview(text));
    const encoding: Encoding = { ids: [], tokens: [], offsets: [] };
    for (const [begin, end, added] of this.#cutText(text)) {
      if (added) push(encoding, this.#vocab.get(added.content)!, text.slice(begin, end), begin, end);
      else if (begin < end) this.#encodePlain(this.#model.normalize(text.slice(begin, end), begin), encoding);
    }
    this.#model.finish?.(encoding, text);
    return encoding;
  }

  /** Encodes a normalized text, in which there may be added tokens that are normalized as well. */
  #encodePlain({ text, starts, ends }: Normalized, encoding: Encoding): void {
    for (const [begin, end, added] of this.#cutNormalized(text)) {
      const part = { text: text.slice(begin, end), starts: starts.slice(begin, end), ends: ends.slice(begin, end) };
      if (!added) this.#model.tokenize(part, encoding);
      else push(encoding, this.#vocab.get(added.content)!, part.text, part.starts[0]!, part.ends.at(-1)!);
    }
  }

  /** Encodes `[CLS] question [SEP] context [SEP]` without any limit of length. */
  encodePair(question: string, context: string): PairEncoding {
    return this.pair(this.encode(question), this.encode(context));
  }

  /** Joins two encodings, or parts of encodings, as `[CLS] first [SEP] second [SEP]`. */
  pair(first: Encoding, second: Encoding): PairEncoding {
    const parts = this.#pair.map((part) => {
      const sequence = 'sequence' in part ? part.sequence : null;
      const one = { ids: [], tokens: [], offsets: [] };
      if ('token' in part) push(one, this.#vocab.get(part.token)!, part.token, 0, 0);
      return { ...part, sequence, encoding: sequence === null ? one : sequence === 0 ? first : second };
    });
    const each = <V>(value: (part: (typeof parts)[number]) => V): V[] =>
      parts.flatMap((part) => new Array<V>(part.encoding.ids.length).fill(value(part)));
    return {
      ids: parts.flatMap(({ encoding }) => encoding.ids),
      tokens: parts.flatMap(({ encoding }) => encoding.tokens),
      offsets: parts.flatMap(({ encoding }) => encoding.offsets),
      typeIds: each(({ type }) => type),
      sequence: each(({ sequence }) => sequence),
    };
  }

  /**
   * Makes the text of tokens: what the model read, not the original text, which the offsets give.
   * @param skipSpecial leave out the special tokens. Default false
   * @throws BertletError `input` for an id that the vocabulary does not have
   */
  decode(ids: ArrayLike<number>, { skipSpecial = false }: { skipSpecial?: boolean } = {}): string {
    if (!this.#tokens) {
      this.#tokens = [];
      for (const [token, id] of this.#vocab) this.#tokens[id] = token;
    }
    const tokens = Array.from(ids, (id) => {
      const token = this.#forms.get(id) ?? this.#tokens![id];
      if (token === undefined) throw inputError('ids', 'ids of the vocabulary', preview(id));
      return token;
    });
    return this.#model.decode(tokens.filter((token) => !(skipSpecial && this.#special.has(token))));
  }
}

/** Appends one token to an encoding. */
export function push(encoding: Encoding, id: number, token: string, start: number, end: number): void {
  encoding.ids.push(id);
  encoding.tokens.push(token);
  encoding.offsets.push([start, end]);
}

/** Splits words into the longest pieces that a vocabulary has. */
class WordPiece implements TokenModel {
  readonly #vocab: ReadonlyMap<string, number>;
  readonly #options: Normalization;
  readonly #unknown: string;
  readonly #prefix: string;
  readonly #maxWord: number;
  /** Normalized characters, by the character of the text, and kinds by normalized character: they are slow to find. */
  readonly #normal = new Map<string, string>();
  readonly #kinds = new Map<string, 'letter' | 'punctuation' | 'space'>();

  constructor(vocab: ReadonlyMap<string, number>, options: TokenizerOptions) {
    const { lowercase = true, stripAccents, chineseChars = true } = options;
    this.#vocab = vocab;
    this.#options = { lowercase, stripAccents: stripAccents ?? lowercase, chineseChars };
    this.#unknown = options.unknown ?? '[UNK]';
    this.#prefix = options.prefix ?? '##';
    this.#maxWord = options.maxWord ?? MAX_WORD;
  }

  /** Normalizes character by character. */
  normalize(text: string, offset: number): Normalized {
    const normalized: Normalized = { text: '', starts: [], ends: [] };
    let start = offset;
    for (const char of text) {
      const end = start + char.length;
      const normal = this.#normal.get(char) ?? normalizeChar(char, this.#options);
      this.#normal.set(char, normal);
      normalized.text += normal;
      for (let unit = 0; unit < normal.length; unit++) {
        normalized.starts.push(start);
        normalized.ends.push(end);
      }
      start = end;
    }
    return normalized;
  }

  #kind(char: string) {
    let kind = this.#kinds.get(char);
    if (!kind) {
      kind = isPunctuation(char) ? 'punctuation' : WHITESPACE.test(char) ? 'space' : 'letter';
      this.#kinds.set(char, kind);
    }
    return kind;
  }

  /** Cuts a text into words at spaces and punctuation, and the words into pieces. */
  tokenize(text: Normalized, encoding: Encoding): void {
    let [begin, end] = [0, 0];
    for (const char of text.text) {
      const kind = this.#kind(char);
      if (kind !== 'letter') {
        this.#word(text, begin, end, encoding);
        begin = kind === 'space' ? end + char.length : end;
      }
      end += char.length;
      if (kind !== 'punctuation') continue;
      this.#word(text, begin, end, encoding);
      begin = end;
    }
    this.#word(text, begin, end, encoding);
  }

  /** Splits a word into pieces: greedy longest match from the left. A word without such a split becomes unknown. */
  #word({ text, starts, ends }: Normalized, from: number, to: number, encoding: Encoding): void {
    if (from === to) return;
    const pieces: [token: string, begin: number, end: number][] = [];
    let begin = from;
    let end = [...text.slice(from, to)].length > this.#maxWord ? from : to;
    while (begin < end) {
      const piece = (begin > from ? this.#prefix : '') + text.slice(begin, end);
      if (!this.#vocab.has(piece)) {
        end--;
        continue;
      }
      pieces.push([piece, begin, end]);
      [begin, end] = [end, to];
    }
    for (const [token, first, last] of begin < to ? [[this.#unknown, from, to] as const] : pieces) {
      push(encoding, this.#vocab.get(token)!, token, starts[first]!, ends[last - 1]!);
    }
  }

  decode(tokens: string[]): string {
    return joined(tokens, this.#prefix);
  }
}
