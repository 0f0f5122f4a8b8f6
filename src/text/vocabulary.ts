/**
 * What a tokenizer's vocabulary is beside word pieces. Its added tokens are found in the text as they are, before the
 * text is split into words, such as [SEP]. Source of their rules: added_vocabulary.rs of huggingface/tokenizers.
 */
import { BertletError } from '../errors.ts';
import { preview } from '../options.ts';

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
  /** `decode` can leave it out. Default false. */
  special?: boolean | undefined;
}

/** A part of a text: [begin, end), and the added token that it is, or null. */
export type TextPart = [begin: number, end: number, token: AddedToken | null];

const WORD = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]'; // \w of Rust's regular expressions
const WORD_BEFORE = new RegExp(`${WORD}$`, 'u');
const WORD_AFTER = new RegExp(`^${WORD}`, 'u');
const SPACE = /\p{White_Space}/u; // all are of one UTF-16 unit

/**
 * Makes a function that cuts a text at added tokens: at the leftmost, of those that begin there at the longest.
 * @param patterns what to look for, in the form of the text that is cut
 */
export function cutter(patterns: ReadonlyMap<string, AddedToken>): (text: string) => Iterable<TextPart> {
  const lengths = new Map<string, number[]>(); // of the patterns, by their first character, the longest first
  for (const pattern of patterns.keys()) {
    const all = lengths.get(pattern.charAt(0)) ?? [];
    if (!all.includes(pattern.length)) all.push(pattern.length);
    lengths.set(pattern.charAt(0), all);
  }
  for (const all of lengths.values()) all.sort((a, b) => b - a);
  const beside = (text: string, begin: number, end: number) =>
    WORD_BEFORE.test(text.slice(Math.max(0, begin - 2), begin)) || WORD_AFTER.test(text.slice(end, end + 2));
  return function* cut(text: string): Iterable<TextPart> {
    let done = 0;
    for (let at = 0; at < text.length; at++) {
      const here = (length: number) => at + length <= text.length && patterns.has(text.slice(at, at + length));
      const length = lengths.get(text[at]!)?.find(here);
      if (length === undefined) continue;
      const token = patterns.get(text.slice(at, at + length))!;
      let [begin, end] = [at, at + length];
      at = end - 1; // no other token begins inside of this one, even if this one does not count
      if (begin < done || (token.singleWord && beside(text, begin, end))) continue;
      while (token.lstrip && begin > done && SPACE.test(text[begin - 1]!)) begin--;
      while (token.rstrip && end < text.length && SPACE.test(text[end]!)) end++;
      yield [done, begin, null];
      yield [begin, end, token];
      done = end;
    }
    yield [done, text.length, null];
  };
}

/**
 * Added tokens in the order in which a later one counts instead of an earlier one with the same pattern: of files that
 * have a token twice, with other rules, the reference takes the first special one, or else the first.
 */
export function inOrder(tokens: readonly AddedToken[]): AddedToken[] {
  const special = new Map<string, AddedToken>();
  const others: AddedToken[] = [];
  for (const token of tokens) {
    if (token.special && !special.has(token.content)) special.set(token.content, token);
    if (!special.has(token.content)) others.push(token);
  }
  return [...special.values(), ...others].reverse();
}

/**
 * The largest id + 1.
 * @throws BertletError `tokenizer` unless the ids are integers from 0, each once
 */
export function sizeOf(vocab: ReadonlyMap<string, number>): number {
  let size = 0;
  const seen: boolean[] = [];
  for (const [token, id] of vocab) {
    if (!Number.isSafeInteger(id) || id < 0 || seen[id]) {
      const got = `${preview(id)} for ${preview(token)}${seen[id] ? ', again' : ''}`;
      throw new BertletError('tokenizer', `vocabulary: expected ids that are integers from 0, each once, got ${got}.`);
    }
    seen[id] = true;
    size = Math.max(size, id + 1);
  }
  return size;
}

/** What the reference replaces in each word: the space before punctuation and English contractions. */
const CLEANED = [
  [' .', '.'],
  [' ?', '?'],
  [' !', '!'],
  [' ,', ','],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [' do not', " don't"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
] as const;

/** Makes a text of word pieces: words with a space between them. */
export function joined(tokens: string[], prefix: string): string {
  const words = tokens.map((token, i) =>
    i > 0 && token.startsWith(prefix) ? token.slice(prefix.length) : `${i > 0 ? ' ' : ''}${token}`,
  );
  return words.map((word) => CLEANED.reduce((text, [from, to]) => text.replaceAll(from, to), word)).join('');
}
