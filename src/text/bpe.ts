/**
 * RoBERTa's tokenizer: byte-level byte-pair encoding (Sennrich et al. 2016; Radford et al. 2019). The text is cut into
 * words with the space before each, a word is written as its UTF-8 bytes, one printable character for each byte, and
 * neighbours are joined as long as `merges` has the pair, the pair that was learned first at first.
 *
 * Ids and offsets equal those of the reference, Hugging Face's tokenizers (pre_tokenizers/byte_level.rs, models/bpe).
 */
import { inputError } from '../errors.ts';
import * as option from '../options.ts';
import type { Normalized, PushToken, TokenModel } from './tokenizer.ts';
import { expectToken, rangesOf, widthAt } from './tokenizer.ts';

/** The pairs of tokens to join, the first learned at first. */
export type Merges = readonly (readonly [string, string])[];

const OPTIONS = {
  /** Put a space before a text that begins without one. Default false. */
  prefixSpace: option.byDefault(false, option.boolean),
  /** Leave the spaces at a token's ends out of its offsets. Default true. */
  trimOffsets: option.byDefault(true, option.boolean),
};
/** Options of `ByteLevelBpe`. */
export type BpeOptions = option.GivenOf<typeof OPTIONS>;

/**
 * The character of each byte: itself if it is printable in Latin-1, otherwise one from U+0100 on, in order. The space
 * is U+0120.
 */
const CHARS: string[] = [];
for (let byte = 0, next = 256; byte < 256; byte++) {
  CHARS.push(/[!-~¡-¬®-ÿ]/.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : String.fromCharCode(next++));
}
const SPACE = /[\u0120\p{White_Space}]/u; // all are of one UTF-16 unit

/** Letters and digits added after Unicode 16, the version of Hugging Face's tables, which treat them as symbols. */
const AFTER_UNICODE_16 = rangesOf(
  '88f c5c cdc a7ce-a7cf a7d2 a7d4 a7f1 10940-10959 10ec5-10ec7 11db0-11de9 16ea0-16ed3 16ff2-16ff6 187f8-187ff \
18d09-18df2 1e6c0-1e6ff 2b73a-2b73f 2cea2-2cead 323b0-33479',
);
/** Contractions, and runs of letters, numbers or other characters with the space before them, and spaces. */
export const WORDS = new RegExp(
  `'s|'t|'re|'ve|'m|'ll|'d| ?[\\p{L}--${AFTER_UNICODE_16}]+| ?[\\p{N}--${AFTER_UNICODE_16}]+| ?[${AFTER_UNICODE_16}[^\\p{White_Space}\\p{L}\\p{N}]]+|\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+`,
  'gv',
);

/** Splits words into the pairs of bytes that a vocabulary has learned to join. */
export class ByteLevelBpe implements TokenModel {
  readonly #vocab: ReadonlyMap<string, number>;
  readonly #options: option.ValuesOf<typeof OPTIONS>;
  /** The tokens by id. */
  readonly #tokens: string[] = [];
  /** Before a space that belongs to the next word. */
  readonly cuts = /(?<=[!-~])(?= [0-9A-Za-z])/g;
  /** By `left id * tokens + right id`: the pair's place among the merges, and the id of the joined token. */
  readonly #merges = new Map<number, readonly [rank: number, id: number]>();

  /**
   * @param vocab the id of each token
   * @param merges the pairs to join, the first learned at first
   * @throws BertletError `tokenizer` if the vocabulary lacks a byte or a token of a merge
   */
  constructor(vocab: ReadonlyMap<string, number>, merges: Merges, options: BpeOptions = {}) {
    if (!Array.isArray(merges) || !merges.every((pair) => pair?.length === 2)) {
      throw inputError('merges', 'an array of pairs of tokens', option.preview(merges));
    }
    this.#vocab = vocab;
    this.#options = option.optionsOf('ByteLevelBpe', options, OPTIONS);
    for (const char of CHARS) expectToken(vocab, char, 'the byte');
    for (const [token, id] of vocab) this.#tokens[id] = token;
    for (const [rank, [left, right]] of merges.entries()) {
      for (const token of [left, right, left + right]) expectToken(vocab, token, "a merge's token");
      const pair = vocab.get(left)! * this.#tokens.length + vocab.get(right)!;
      this.#merges.set(pair, [rank, vocab.get(left + right)!]);
    }
  }

  /** The text as it is: there is no normalization. */
  normalize(text: string, offset: number): Normalized {
    return [text, Array.from({ length: text.length }, (_, i) => offset + i)];
  }

  /** Cuts a text into words, and the bytes of each word into pieces. */
  tokenize([text, places]: Normalized, push: PushToken): void {
    const prefixed = this.#options.prefixSpace && !text.startsWith(' ') && text !== '' ? 1 : 0;
    const encoder = new TextEncoder();
    for (const { 0: word, index } of (prefixed ? ` ${text}` : text).matchAll(WORDS)) {
      let [bytes, at] = ['', index - prefixed];
      const sources: number[] = []; // the place in the text of each byte's character
      for (const char of word) {
        for (const byte of encoder.encode(char)) {
          bytes += CHARS[byte];
          sources.push(places[Math.max(at, 0)]!); // a space put before the text has the place of the first character
        }
        at += char.length;
      }
      let byte = 0;
      for (const id of this.#merged(Array.from(bytes, (char) => this.#vocab.get(char)!))) {
        const token = this.#tokens[id]!;
        push(id, token, sources[byte]!, sources[byte + token.length - 1]!);
        byte += token.length;
      }
    }
  }

  /** Leaves the spaces at a token's ends out of its place; but a space that was put before the text is not there. */
  trim(token: string, start: number, end: number, text: string): [start: number, end: number] {
    if (!this.#options.trimOffsets) return [start, end];
    const { length } = token;
    let [leading, trailing] = [0, 0];
    while (leading < length && SPACE.test(token[leading]!)) leading++;
    while (trailing < length && SPACE.test(token[length - 1 - trailing]!)) trailing++;
    if (this.#options.prefixSpace && start === 0) leading = 0;
    let [from, to] = [start, end];
    for (; leading > 0 && from < end; leading--) from += widthAt(text, from);
    for (; trailing > 0 && to > 0; trailing--) to -= widthAt(text, to - 2);
    return [from, trailing > 0 ? end : Math.max(from, to)];
  }

  /**
   * Joins pairs until none is left that the merges have: the first learned at first, of equals the leftmost. The pieces
   * are a linked list and the pairs wait in a heap, so that a word of n bytes takes n log n steps.
   */
  #merged(ids: number[]): number[] {
    const next = ids.map((_, i) => i + 1);
    const previous = ids.map((_, i) => i - 1);
    const waiting = new Heap();
    const mergeAt = (left: number) => this.#merges.get(ids[left]! * this.#tokens.length + ids[next[left]!]!);
    const propose = (left: number) => {
      const merge = left >= 0 ? mergeAt(left) : undefined;
      if (merge) waiting.push(merge[0] * WORD + left);
    };
    for (const left of ids.keys()) propose(left);
    for (let first = waiting.pop(); first !== undefined; first = waiting.pop()) {
      const left = first % WORD;
      const merge = mergeAt(left);
      if (merge?.[0] !== Math.floor(first / WORD)) continue; // a piece of the pair has been joined with another since
      const right = next[left]!;
      ids[left] = merge[1];
      ids[right] = GONE;
      next[left] = next[right]!;
      if (next[left]! < ids.length) previous[next[left]!] = left;
      propose(left);
      propose(previous[left]!);
    }
    return ids.filter((id) => id !== GONE);
  }
}

/** The id of a piece that was joined with the one before it. */
const GONE = -1;
/** Above the length of every word: a pair waits as `rank * WORD + left`, so the least is the next to join. */
const WORD = 2 ** 32;

/** A binary heap, the least on top. */
class Heap {
  readonly #values: number[] = [];

  push(value: number): void {
    const values = this.#values;
    let at = values.length;
    for (let up = (at - 1) >> 1; at > 0 && value < values[up]!; up = (at - 1) >> 1) {
      values[at] = values[up]!;
      at = up;
    }
    values[at] = value;
  }

  pop(): number | undefined {
    const values = this.#values;
    const top = values[0];
    const last = values.pop()!;
    if (values.length === 0) return top;
    let at = 0;
    for (let down = 1; down < values.length; down = 2 * at + 1) {
      if (values[down + 1]! < values[down]!) down++;
      if (last <= values[down]!) break;
      values[at] = values[down]!;
      at = down;
    }
    values[at] = last;
    return top;
  }
}
