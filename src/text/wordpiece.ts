/**
 * BERT's model. Cleans and normalizes the text, splits the text into words at spaces and punctuation, and splits each word
 * into the longest pieces that the vocabulary has (WordPiece: Schuster & Nakajima 2012).
 *
 * Ids and offsets equal those of the reference, Hugging Face's fast BertTokenizer (huggingface/tokenizers:
 * normalizers/bert.rs, pre_tokenizers/bert.rs, models/wordpiece), the tokenizer that checkpoints are trained with.
 */

import * as option from '../options.ts';
import { expectToken, type Normalized, type PushToken, rangesOf, type TokenModel } from './tokenizer.ts';

export const WORD_PIECE_OPTIONS = {
  /** Lowercase the text (an uncased checkpoint). Default true, as `do_lower_case` in Hugging Face. */
  lowercase: option.byDefault(true, option.boolean),
  /** Remove accents. Default: the value of `lowercase`. */
  stripAccents: option.oneOf([true, false, null]),
  /** Make each Chinese character a word. Default true. */
  chineseChars: option.byDefault(true, option.boolean),
  /** The token of a word that has no split into pieces. Default [UNK]. */
  unknown: option.byDefault('[UNK]', option.string),
  /** Prefix of pieces that do not begin a word. Default `##`. */
  prefix: option.byDefault('##', option.string),
  /** Longest word in characters; a longer one is unknown. Default 100. */
  maxWord: option.byDefault(100, option.integer(0)),
};
/** Options of `WordPiece`. */
export type WordPieceOptions = option.GivenOf<typeof WORD_PIECE_OPTIONS>;

/**
 * The reference uses the tables of Unicode 8 (2015). Format characters, punctuation, accents and compositions in these
 * ranges were added or reclassified after Unicode 8, so the reference treats them as ordinary letters.
 * test/golden/unicode.json tests this.
 */
const AFTER_UNICODE_8 = rangesOf(
  '61d 7fd 890-8e2 9fd-9fe a76 afa-aff b55 c04-c3c c77 c84 d00 d3b-d3c d81 eba ece 180f-1886 1abf-1aeb 1b4e-1b4f \
1b7d-1b7f 1df6-1dfb 2e43-2e5d a82c a8c5 a8ff a9bd 105c9-105e4 10d24-10f89 11070-11074 110c2-110cd 111c9 111cf 1123e-11241 \
1133b 11383-1145e 11660-1166c 116b9 1182f-11fff 12ff1-12ff2 13430-13455 1611e-1612f 16d68-16f4f 16fe2-16fe4 \
1cf00-1cf46 1e000-1e2ef 1e4ec-1e6f5 1e944-1e95f',
);
const IS_AFTER_UNICODE_8 = new RegExp(AFTER_UNICODE_8, 'v');
const SPACE = /[\p{White_Space}--[\v\f\x85]]/v;
/** Characters that are dropped: control, format and private use, as in the reference, and lone surrogates. */
const DROPPED = new RegExp(`[\\ufffd[[\\p{Cc}\\p{Cf}\\p{Co}\\p{Cs}]--${AFTER_UNICODE_8}--[\\t\\n\\r]]]`, 'v');
const ACCENTS = /[\p{Mn}\u1734\u{1171e}]/gu;
/** Unified and compatibility ideographs, with the reference's bounds for extensions D and E. */
const CHINESE = new RegExp(
  rangesOf('3400-4dbf 4e00-9fff f900-faff 20000-2a6df 2a700-2b81f 2b920-2ceaf 2f800-2fa1f'),
  'v',
);
/** All ASCII symbols, such as $ and +, are among them. */
const PUNCTUATION = `[${rangesOf('21-2f 3a-40 5b-60 7b-7e 166d 111c9')}[\\p{P}--${AFTER_UNICODE_8}]]`;
/** A word: a punctuation character, or a run of other characters. */
export const WORDS = new RegExp(`${PUNCTUATION}|[^\\p{White_Space}${PUNCTUATION}]+`, 'gv');
/** Marks that are kept although NFD gives them a place among others: spacing ones, and those of Unicode 9. */
const ORDERED = rangesOf(
  '8d4-8e1 1b44 1baa 1bf2-1bf3 1dfb 302e-302f a953 a9c0 111c0 11235 1134d 11442 11446 116b6 11c3f 1d165-1d166 1d16d-1d172 \
1e000-1e02a 1e944-1e94a',
);
const HAS_ORDERED = new RegExp(ORDERED, 'v');
/** Marks that are in order in NFD, which has the tables of Unicode 9 in the reference; without those that decompose. */
const OTHER_MARKS = `[\\p{M}--${AFTER_UNICODE_8}--${rangesOf('344 f73 f75 f81 1715 16ff0-16ff1')}]`;
const MARKS = new RegExp(`[${ORDERED}${OTHER_MARKS}]{2,}`, 'gv');

type Normalization = { lowercase: boolean; stripAccents: boolean; chineseChars: boolean };

/** Normalizes a character: to '' if it is dropped, to ' ' if it is a space, otherwise to one or more characters. */
export function normalizeChar(char: string, options: Normalization): string {
  if (SPACE.test(char)) return ' ';
  if (DROPPED.test(char)) return '';
  let normal = char;
  if (options.stripAccents && !IS_AFTER_UNICODE_8.test(char)) normal = normal.normalize('NFD').replace(ACCENTS, '');
  // Character by character: toLowerCase() of a whole word would turn a final sigma into another letter.
  if (options.lowercase) normal = Array.from(normal, (c) => c.toLowerCase()).join('');
  return options.chineseChars && CHINESE.test(char) ? ` ${normal} ` : normal;
}

/** Splits words into the longest pieces that a vocabulary has. */
export class WordPiece implements TokenModel {
  readonly #vocab: ReadonlyMap<string, number>;
  readonly #options: option.ValuesOf<typeof WORD_PIECE_OPTIONS> & Normalization;
  /** Beside a space between ASCII characters, and behind a full stop of Chinese or Japanese. */
  readonly cuts = /(?<=[!-~])(?= [0-9A-Za-z])|(?<=[。！？])(?=\p{L})/gu;
  /** Normalized characters, by the character of the text: they are slow to find. */
  readonly #normal = new Map<string, string>();

  /**
   * @param vocab the id of each token
   * @throws BertletError `tokenizer` if the vocabulary lacks the unknown token; `input` for a wrong option
   */
  constructor(vocab: ReadonlyMap<string, number>, given: WordPieceOptions = {}) {
    const options = option.optionsOf('WordPiece', given, WORD_PIECE_OPTIONS);
    this.#vocab = vocab;
    this.#options = { ...options, stripAccents: options.stripAccents ?? options.lowercase };
    expectToken(vocab, options.unknown);
  }

  /** Normalizes character by character. */
  normalize(text: string, offset: number): Normalized {
    let normalized = '';
    const sources: number[] = [];
    const put = (char: string, place: number) => {
      const normal = this.#normal.get(char) ?? normalizeChar(char, this.#options);
      this.#normal.set(char, normal);
      normalized += normal;
      for (let unit = 0; unit < normal.length; unit++) sources.push(place);
    };
    // Marks may change their order, but not the places that are taken, as in the reference.
    const reorders = this.#options.stripAccents && HAS_ORDERED.test(text);
    const places: number[] = [];
    let kept = '';
    let place = offset;
    for (const char of text) {
      if (!reorders) put(char, place);
      else if (!DROPPED.test(char)) {
        kept += char;
        places.push(place);
      }
      place += char.length;
    }
    const inOrder = kept.replace(MARKS, (run) => run.normalize('NFD'));
    for (const [i, char] of [...inOrder].entries()) put(char, places[i]!);
    return [normalized, sources];
  }

  /** Cuts a text into words, and the words into pieces. */
  tokenize([text, places]: Normalized, push: PushToken): void {
    for (const { 0: word, index } of text.matchAll(WORDS)) {
      for (const [token, begin, end] of this.#split(word) ?? [[this.#options.unknown, 0, word.length]]) {
        push(this.#vocab.get(token)!, token, places[index + begin]!, places[index + end - 1]!);
      }
    }
  }

  /** Splits a word into pieces: greedy longest match from the left. Null: it has no such split, and is unknown. */
  #split(word: string): [token: string, begin: number, end: number][] | null {
    const { prefix, maxWord } = this.#options;
    if (word.length > 2 * maxWord || [...word].length > maxWord) return null;
    const pieces: [token: string, begin: number, end: number][] = [];
    for (let begin = 0, end = 0; begin < word.length; begin = end) {
      const pieceTo = (end: number) => (begin > 0 ? prefix : '') + word.slice(begin, end);
      end = word.length;
      while (end > begin && !this.#vocab.has(pieceTo(end))) end--;
      if (end === begin) return null;
      pieces.push([pieceTo(end), begin, end]);
    }
    return pieces;
  }
}
