/**
 * BERT's tokenizer. Cleans and normalizes the text, splits the text into words at spaces and punctuation, and splits
 * each word into the longest pieces that the vocabulary has (WordPiece). Each token keeps its place [start, end) in the
 * original string, in UTF-16 units: `text.slice(start, end)` is the token's original text, before accents or case were
 * removed.
 *
 * Ids and offsets equal those of the reference, Hugging Face's fast BertTokenizer (huggingface/tokenizers:
 * normalizers/bert.rs, pre_tokenizers/bert.rs, models/wordpiece), the tokenizer that checkpoints are trained with.
 */
import { BertletError, inputError } from './errors.ts';
import { checkType, optionsOf, shown } from './options.ts';

export interface TokenizerOptions {
  /** Lowercase the text (an uncased checkpoint). Default true, as `do_lower_case` in Hugging Face. */
  lowercase?: boolean | undefined;
  /** Remove accents. Default: the value of `lowercase`. */
  stripAccents?: boolean | null | undefined;
  /** Make each Chinese character a word. Default true. */
  chineseChars?: boolean | undefined;
  /** Tokens that are matched literally, before normalization. Default: BERT's five special tokens. */
  addedTokens?: string[] | undefined;
}

/** The tokens of one text, as three parallel arrays. */
export interface Encoding {
  ids: number[];
  tokens: string[];
  /** [start, end) of each token in the text, in UTF-16 units; [0, 0] for [CLS] and [SEP]. */
  offsets: [start: number, end: number][];
}

/** `[CLS] question [SEP] context [SEP]` */
export interface PairEncoding extends Encoding {
  /** 0 up to and including the first [SEP], then 1. */
  typeIds: number[];
  /** The text that each token and its offsets belong to: 0 question, 1 context, null for [CLS] and [SEP]. */
  sequence: (null | 0 | 1)[];
}

const MAX_WORD = 100; // characters; a longer word becomes [UNK]
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

/** Normalizes a character: to '' if it is dropped, to ' ' if it is a space, otherwise to one or more characters. */
export function normalizeChar(char: string, options: Required<Omit<TokenizerOptions, 'addedTokens'>>): string {
  if (WHITESPACE.test(char) && char !== '\v' && char !== '\f' && char !== '\x85') return ' ';
  const later = LATER.test(char);
  if (char === '\ufffd' || (CONTROL.test(char) && !later)) return '';
  let normal = char;
  if (options.stripAccents && !later) normal = normal.normalize('NFD').replace(ACCENTS, '');
  // Character by character: toLowerCase() of a whole word would turn a final sigma into another letter.
  if (options.lowercase) normal = Array.from(normal, (c) => c.toLowerCase()).join('');
  return options.chineseChars && CHINESE.test(char) ? ` ${normal} ` : normal;
}

/** A normalized character, and how it splits the text. */
interface Normal {
  normal: string;
  kind: 'letter' | 'punctuation' | 'space';
}

/** A normalized word. Its i-th UTF-16 unit comes from [starts[i], ends[i]) of the text. */
interface Word {
  text: string;
  starts: number[];
  ends: number[];
}

/** Splits texts into tokens of one vocabulary. */
export class Tokenizer {
  readonly #vocab: ReadonlyMap<string, number>;
  readonly #options: Required<Omit<TokenizerOptions, 'addedTokens'>>;
  readonly #added: RegExp | null;
  /** Normalized characters, by the character of the text. */
  readonly #known = new Map<string, Normal[]>();
  /** Largest id of the vocabulary + 1. */
  readonly vocabSize: number;

  /**
   * @param vocab the id of each token
   * @throws BertletError `tokenizer` if [UNK], [CLS] or [SEP] is missing; `input` for an unknown option
   */
  constructor(vocab: ReadonlyMap<string, number>, given: TokenizerOptions = {}) {
    const options = optionsOf('Tokenizer', given, ['lowercase', 'stripAccents', 'chineseChars', 'addedTokens']);
    for (const name of ['lowercase', 'chineseChars'] as const) checkType(name, options[name], 'boolean');
    for (const token of ['[UNK]', '[CLS]', '[SEP]']) {
      if (vocab.has(token)) continue;
      throw new BertletError('tokenizer', `vocabulary: expected the token ${token}, got ${vocab.size} others.`);
    }
    this.#vocab = vocab;
    const { lowercase = true, stripAccents, chineseChars = true } = options;
    this.#options = { lowercase, stripAccents: stripAccents ?? lowercase, chineseChars };
    const added = (options.addedTokens ?? ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']).filter((t) => vocab.has(t));
    added.sort((a, b) => b.length - a.length); // longest first: an alternation takes its first match
    this.#added = added.length > 0 ? new RegExp(added.map((t) => t.replace(/[^\w\s]/g, '\\$&')).join('|'), 'g') : null;
    this.vocabSize = Math.max(...vocab.values()) + 1;
  }

  /**
   * Makes a tokenizer from a vocab.txt.
   * @param vocabText one token on each line; the token's id is the line number, counted from 0
   * @throws BertletError `tokenizer` if [UNK], [CLS] or [SEP] is missing
   */
  static fromVocab(vocabText: string, options: TokenizerOptions = {}): Tokenizer {
    if (typeof vocabText !== 'string') throw inputError('vocabText', 'a string', shown(vocabText));
    const lines = vocabText.replace(/\r?\n$/, '').split(/\r?\n/);
    return new Tokenizer(new Map(lines.map((token, id) => [token, id])), options);
  }

  /** Splits a text into tokens. Adds no special tokens, but keeps those that are written in the text. */
  encode(text: string): Encoding {
    if (typeof text !== 'string') throw inputError('text', 'a string', shown(text));
    const encoding: Encoding = { ids: [], tokens: [], offsets: [] };
    let end = 0;
    for (const match of this.#added ? text.matchAll(this.#added) : []) {
      this.#encodePlain(text.slice(end, match.index), end, encoding);
      end = match.index + match[0].length;
      this.#push(encoding, match[0], match.index, end);
    }
    this.#encodePlain(text.slice(end), end, encoding);
    return encoding;
  }

  /** Encodes `[CLS] question [SEP] context [SEP]` without any limit of length. */
  encodePair(question: string, context: string): PairEncoding {
    return this.pair(this.encode(question), this.encode(context));
  }

  /** Joins two encodings, or parts of encodings, as `[CLS] first [SEP] second [SEP]`. */
  pair(first: Encoding, second: Encoding): PairEncoding {
    const special = (token: string) => this.#push({ ids: [], tokens: [], offsets: [] }, token, 0, 0);
    const parts = [special('[CLS]'), first, special('[SEP]'), second, special('[SEP]')];
    const each = <V>(value: (part: number) => V): V[] =>
      parts.flatMap(({ ids }, part) => new Array<V>(ids.length).fill(value(part)));
    return {
      ids: parts.flatMap(({ ids }) => ids),
      tokens: parts.flatMap(({ tokens }) => tokens),
      offsets: parts.flatMap(({ offsets }) => offsets),
      typeIds: each((part) => (part < 3 ? 0 : 1)),
      sequence: each((part) => (part === 1 ? 0 : part === 3 ? 1 : null)),
    };
  }

  /** Appends one token to an encoding. */
  #push(encoding: Encoding, token: string, start: number, end: number): Encoding {
    encoding.ids.push(this.#vocab.get(token)!);
    encoding.tokens.push(token);
    encoding.offsets.push([start, end]);
    return encoding;
  }

  /** Normalizes and classifies a character of the text. Results are kept, because the regular expressions are slow. */
  #normalize(char: string): Normal[] {
    let normalized = this.#known.get(char);
    if (!normalized) {
      normalized = Array.from(normalizeChar(char, this.#options), (normal) => ({
        normal,
        kind: isPunctuation(normal) ? 'punctuation' : WHITESPACE.test(normal) ? 'space' : 'letter',
      }));
      this.#known.set(char, normalized);
    }
    return normalized;
  }

  /** Encodes a part of the text that begins at `offset` and holds no added token: normalizes, splits into words. */
  #encodePlain(text: string, offset: number, encoding: Encoding): void {
    let word: Word = { text: '', starts: [], ends: [] };
    const flush = () => {
      if (word.text !== '') this.#wordPieces(word, encoding);
      word = { text: '', starts: [], ends: [] };
    };
    let start = offset;
    for (const char of text) {
      const end = start + char.length;
      for (const { normal, kind } of this.#normalize(char)) {
        if (kind !== 'letter') flush();
        if (kind === 'space') continue;
        word.text += normal;
        for (let unit = 0; unit < normal.length; unit++) {
          word.starts.push(start);
          word.ends.push(end);
        }
        if (kind === 'punctuation') flush();
      }
      start = end;
    }
    flush();
  }

  /** Splits a word into pieces: greedy longest match from the left. A word without such a split becomes one [UNK]. */
  #wordPieces({ text, starts, ends }: Word, encoding: Encoding): void {
    const pieces: [token: string, begin: number, end: number][] = [];
    let begin = 0;
    let end = [...text].length > MAX_WORD ? 0 : text.length;
    while (begin < end) {
      const piece = (begin > 0 ? '##' : '') + text.slice(begin, end);
      if (!this.#vocab.has(piece)) {
        end--;
        continue;
      }
      pieces.push([piece, begin, end]);
      [begin, end] = [end, text.length];
    }
    if (begin < text.length) this.#push(encoding, '[UNK]', starts[0]!, ends.at(-1)!);
    else for (const [token, from, to] of pieces) this.#push(encoding, token, starts[from]!, ends[to - 1]!);
  }
}
