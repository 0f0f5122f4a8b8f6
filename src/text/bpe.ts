/**
 * RoBERTa's tokenizer: byte-level byte-pair encoding (Sennrich et al. 2016; Radford et al. 2019). The text is cut into
 * words with the space before each, a word is written as its UTF-8 bytes, one printable character for each byte, and
 * neighbours are joined as long as `merges` has the pair, the pair that was learned first at first.
 *
 * Ids and offsets equal those of the reference, Hugging Face's tokenizers (pre_tokenizers/byte_level.rs, models/bpe).
 */
import { BertletError } from '../errors.ts';
import { textOf } from '../platform.ts';
import type { Encoding, Normalized, TokenModel } from './tokenizer.ts';
import { sizeOf } from './vocabulary.ts';

/** Options of `ByteLevelBpe`. */
export interface BpeOptions {
  /** Put a space before a text that begins without one. Default false. */
  prefixSpace?: boolean;
  /** Leave the spaces at a token's ends out of its offsets. Default true. */
  trimOffsets?: boolean;
}

/**
 * The character of each byte: itself if it is printable in Latin-1, otherwise one from U+0100 on, in order. The space
 * is U+0120.
 */
const CHARS: string[] = [];
for (let byte = 0, next = 256; byte < 256; byte++) {
  CHARS.push(/[!-~¡-¬®-ÿ]/.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : String.fromCharCode(next++));
}
const BYTES = new Map(CHARS.map((char, byte) => [char, byte]));
/** The spaces at the ends of a token. */
const SPACES = /^([\u0120\p{White_Space}]*)(?:.*[^\u0120\p{White_Space}])?([\u0120\p{White_Space}]*)$/su;

/** Letters and numbers that Unicode has got since the tables of the reference: no letters for it (Unicode 16). */
const LATER = `[${'88f c5c cdc a7ce-a7cf a7d2 a7d4 a7f1 10940-10959 10ec5-10ec7 11db0-11de9 16ea0-16ed3 16ff2-16ff6 \
187f8-187ff 18d09-18df2 1e6c0-1e6ff 2b73a-2b73f 2cea2-2cead 323b0-33479'
  .replace(/\w+/g, '\\u{$&}')
  .replaceAll(' ', '')}]`;
/** Contractions, and runs of letters, numbers or other characters with the space before them, and spaces. */
export const WORDS = new RegExp(
  `'s|'t|'re|'ve|'m|'ll|'d| ?[\\p{L}--${LATER}]+| ?[\\p{N}--${LATER}]+| ?[${LATER}[^\\p{White_Space}\\p{L}\\p{N}]]+|\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+`,
  'gv',
);

/** Longest word whose pieces are kept. */
const KEPT = 32;

/** Byte-level BPE over one vocabulary. */
export class ByteLevelBpe implements TokenModel {
  readonly #vocab: ReadonlyMap<string, number>;
  readonly #prefixSpace: boolean;
  readonly #trim: boolean;
  /** The tokens by id. */
  readonly #tokens: string[] = [];
  /** By `left id * size + right id`: the pair's place among the merges, and the id of the joined token. */
  readonly #merges = new Map<number, readonly [rank: number, id: number]>();
  readonly #size: number;
  /** Pieces by word, because words repeat. */
  readonly #known = new Map<string, number[]>();

  /**
   * @param vocab the id of each token
   * @param merges the pairs to join, the first learned at first
   * @throws BertletError `tokenizer` if the vocabulary lacks a byte or a token of a merge
   */
  constructor(vocab: ReadonlyMap<string, number>, merges: readonly (readonly [string, string])[], options: BpeOptions) {
    this.#vocab = vocab;
    this.#prefixSpace = options.prefixSpace ?? false;
    this.#trim = options.trimOffsets ?? true;
    for (const [token, id] of vocab) this.#tokens[id] = token;
    this.#size = sizeOf(vocab);
    const idOf = (token: string, what: string): number => {
      const id = vocab.get(token);
      if (id !== undefined) return id;
      const message = `vocabulary: expected ${what} ${JSON.stringify(token.slice(0, 60))}, got no such token.`;
      throw new BertletError('tokenizer', `${message} Use the tokenizer's own files.`);
    };
    for (const char of CHARS) idOf(char, 'the byte');
    for (const [rank, [left, right]] of merges.entries()) {
      const pair = idOf(left, 'of a merge the token') * this.#size + idOf(right, 'of a merge the token');
      this.#merges.set(pair, [rank, idOf(left + right, 'of a merge the token')]);
    }
  }

  /** The text as it is: there is no normalization. */
  normalize(text: string, offset: number): Normalized {
    const places = Array.from({ length: text.length + 1 }, (_, i) => offset + i);
    return { text, starts: places.slice(0, -1), ends: places.slice(1) };
  }

  /** Appends the tokens of a text that has no added tokens. */
  tokenize({ text, starts, ends }: Normalized, encoding: Encoding): void {
    if (text === '') return;
    const prefixed = this.#prefixSpace && text[0] !== ' ' ? 1 : 0;
    const encoder = new TextEncoder();
    for (const { 0: word, index } of (prefixed ? ` ${text}` : text).matchAll(WORDS)) {
      let [bytes, at] = ['', index - prefixed];
      const [begins, finishes]: [number[], number[]] = [[], []]; // the place in the text of each byte's character
      for (const char of word) {
        const added = at < 0; // the space before the text has the place of the text's first character
        const first = added ? 0 : at;
        const last = added ? (text.codePointAt(0)! > 0xffff ? 2 : 1) : at + char.length;
        for (const byte of encoder.encode(char)) {
          bytes += CHARS[byte];
          begins.push(starts[first]!);
          finishes.push(ends[last - 1]!);
        }
        at += char.length;
      }
      let byte = 0;
      for (const id of this.#pieces(bytes)) {
        const token = this.#tokens[id]!;
        encoding.ids.push(id);
        encoding.tokens.push(token);
        encoding.offsets.push([begins[byte]!, finishes[byte + token.length - 1]!]);
        byte += token.length;
      }
    }
  }

  /** The text of tokens: their bytes, read as UTF-8. A token that is no bytes, an added one, is itself. */
  decode(tokens: string[]): string {
    const encoder = new TextEncoder();
    const bytes = tokens.flatMap((token) => {
      const own = Array.from(token, (char) => BYTES.get(char));
      return own.includes(undefined) ? [...encoder.encode(token)] : (own as number[]);
    });
    return textOf(Uint8Array.from(bytes), { ignoreBOM: true });
  }

  /** Leaves the spaces at a token's ends out of its offsets; but a space that was put before the text is not there. */
  finish({ tokens, offsets }: Encoding, text: string): void {
    if (!this.#trim) return;
    for (const [i, token] of tokens.entries()) {
      const [start, end] = offsets[i]!;
      const [, before = '', after = ''] = SPACES.exec(token)!;
      const leading = this.#prefixSpace && (i === 0 || start === 0) ? 0 : before.length;
      const trailing = before.length === token.length ? before.length : after.length;
      let from = start;
      for (let i = 0; i < leading && from < end; i++) from += text.codePointAt(from)! > 0xffff ? 2 : 1;
      offsets[i] = [from, trailing > 0 && end >= trailing ? Math.max(end - trailing, from) : end];
    }
  }

  /** Ids of a word's pieces. */
  #pieces(word: string): number[] {
    const known = this.#known.get(word);
    if (known) return known;
    const pieces = this.#merged(Array.from(word, (char) => this.#vocab.get(char)!));
    if (word.length <= KEPT) this.#known.set(word, pieces);
    return pieces;
  }

  /**
   * Joins pairs until none is left that the merges have: the first learned at first, of equals the leftmost. The pieces
   * are a linked list and the pairs wait in a heap, so that a word of n bytes takes n log n steps.
   */
  #merged(ids: number[]): number[] {
    const next = ids.map((_, i) => i + 1);
    const previous = ids.map((_, i) => i - 1);
    const waiting = new Heap();
    const propose = (left: number) => {
      const right = next[left];
      if (left < 0 || right === undefined || right >= ids.length) return;
      const merge = this.#merges.get(ids[left]! * this.#size + ids[right]!);
      if (merge) waiting.push({ rank: merge[0], left, id: merge[1] });
    };
    for (const left of ids.keys()) propose(left);
    for (let best = waiting.pop(); best; best = waiting.pop()) {
      const { left, id } = best;
      const right = next[left]!;
      // A piece of the pair may have been joined with another since.
      if (ids[left] === GONE || right >= ids.length) continue;
      if (this.#merges.get(ids[left]! * this.#size + ids[right]!)?.[1] !== id) continue;
      ids[left] = id;
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

/** A pair that may be joined: the piece at `left` and the next. */
interface Pair {
  readonly rank: number;
  readonly left: number;
  readonly id: number;
}

const before = (a: Pair, b: Pair): boolean => a.rank < b.rank || (a.rank === b.rank && a.left < b.left);

/** A binary heap of pairs, the first to join on top. */
class Heap {
  readonly #pairs: Pair[] = [];

  push(pair: Pair): void {
    const pairs = this.#pairs;
    let at = pairs.length;
    for (let up = (at - 1) >> 1; at > 0 && before(pair, pairs[up]!); up = (at - 1) >> 1) {
      pairs[at] = pairs[up]!;
      at = up;
    }
    pairs[at] = pair;
  }

  pop(): Pair | undefined {
    const pairs = this.#pairs;
    const top = pairs[0];
    const last = pairs.pop();
    if (!last || pairs.length === 0) return top;
    let at = 0;
    for (let down = 1; down < pairs.length; down = 2 * at + 1) {
      if (down + 1 < pairs.length && before(pairs[down + 1]!, pairs[down]!)) down++;
      if (!before(pairs[down]!, last)) break;
      pairs[at] = pairs[down]!;
      at = down;
    }
    pairs[at] = last;
    return top;
  }
}
