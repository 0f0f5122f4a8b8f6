// @unit
/** The tokenizer against Hugging Face's fast BertTokenizer: every id and every offset. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type PairPart, Tokenizer, WordPiece } from '../src/index.ts';
import { openCheckpoint } from '../src/tensor.ts';
import type { TokenizerJson } from '../src/text/json.ts';
import { normalizeChar, WORDS } from '../src/text/wordpiece.ts';
import { cpuMilliseconds } from './cpuTime.ts';
import { CHECKPOINT, expectError, GOLDEN, goldenJson } from './support.ts';

interface Golden {
  ids: number[];
  offsets: number[];
}
interface Goldens {
  strings: string[];
  uncased: Golden[];
  cased: Golden[];
}

const tokenizerJson = JSON.parse(readFileSync(`${CHECKPOINT}/tokenizer.json`, 'utf8')) as TokenizerJson;
const uncased = Tokenizer.fromJson(tokenizerJson);
const uncasedFromVocab = Tokenizer.fromVocab(readFileSync(`${CHECKPOINT}/vocab.txt`, 'utf8'));
const casedVocab = readFileSync(`${GOLDEN}/cased-vocab.txt`, 'utf8');
const cased = Tokenizer.fromVocab(casedVocab, { lowercase: false });

/** The strings whose ids or offsets differ; at most 5, shown as JSON. */
function differences(tokenizer: Tokenizer, strings: string[], goldens: Golden[]): string[] {
  const wrong: string[] = [];
  for (const [i, text] of strings.entries()) {
    const { ids, offsets } = tokenizer.encode(text);
    const got = JSON.stringify({ ids, offsets: offsets.flat() });
    const want = JSON.stringify(goldens[i]);
    if (got !== want) wrong.push(`${JSON.stringify(text)}\n got ${got}\nwant ${want}`);
  }
  return wrong.slice(0, 5);
}

const { tokenizer: roberta } = await openCheckpoint(`${GOLDEN}/checkpoints/roberta`);
describe('a long text in parts', () => {
  const { strings } = goldenJson<Goldens>('tokenizer');
  const text = `${strings.join(' a ')} ${'Ein langer Satz mit Wörtern. '.repeat(200)}${'東京。日本語。'.repeat(1000)}`;
  test.each([
    ['uncased', uncased],
    ['cased', cased],
    ['RoBERTa', roberta],
  ] as const)('%s: the same tokens as the whole, in parts of some thousand characters', (name, tokenizer) => {
    const parts = [...tokenizer.encodeParts(text)];
    expect(parts.length).toBeGreaterThan(text.length / 4096 / (name === 'RoBERTa' ? 3 : 1.5));
    const whole = tokenizer.encode(text);
    expect(parts.flatMap(({ ids }) => ids)).toEqual(whole.ids);
    expect(parts.flatMap(({ offsets }) => offsets)).toEqual(whole.offsets);
    expect(parts.flatMap(({ tokens }) => tokens)).toEqual(whole.tokens);
  });
  test('an empty text, and one without a place to cut, are one part', () => {
    expect([...uncased.encodeParts('')]).toEqual([{ ids: [], tokens: [], offsets: [] }]);
    expect([...uncased.encodeParts('x'.repeat(20_000))].length).toBe(1);
  });
  test('a text is not cut where an added token has a space', () => {
    const vocab = new Map(['[UNK]', '[CLS]', '[SEP]', 'a', 'b', 'a b'].map((token, id) => [token, id]));
    const spaced = new Tokenizer(vocab, new WordPiece(vocab), { added: ['a b'] });
    const long = 'a b '.repeat(5000);
    expect([...spaced.encodeParts(long)].flatMap(({ ids }) => ids)).toEqual(spaced.encode(long).ids);
    expect(new Set(spaced.encode(long).ids)).toEqual(new Set([5]));
  });
});

describe('goldens', () => {
  const goldens = goldenJson<Goldens>('tokenizer');
  const { strings } = goldens;
  test(`${strings.length} strings, uncased (tokenizer.json): ids and offsets equal`, () => {
    expect(strings.length).toBeGreaterThanOrEqual(5000);
    expect(differences(uncased, strings, goldens.uncased)).toEqual([]);
  });
  test('the same from vocab.txt', () => {
    expect(differences(uncasedFromVocab, strings, goldens.uncased)).toEqual([]);
  });
  test(`${strings.length} strings, cased: ids and offsets equal`, () => {
    expect(differences(cased, strings, goldens.cased)).toEqual([]);
  });

  // A vocabulary that is not in this repository: BERTLET_CASED_VOCAB and the goldens that make_tokenizer.py prints for it.
  const { BERTLET_CASED_VOCAB: vocab, BERTLET_CASED_GOLDENS: file } = process.env;
  const more = vocab && file ? [[vocab, file]] : [];
  test.each(more as [string, string][])('cased, %s', (vocab, file) => {
    const other = Tokenizer.fromVocab(readFileSync(vocab, 'utf8'), { lowercase: false });
    const { strings, cased } = JSON.parse(readFileSync(file, 'utf8')) as Goldens;
    expect(differences(other, strings, cased)).toEqual([]);
  });

  test('offsets: in order, inside the text, and the same token when encoded alone', () => {
    const wrong: string[] = [];
    for (const text of strings) {
      const { offsets, tokens } = uncased.encode(text);
      for (const [i, [start, end]] of offsets.entries()) {
        const inside = 0 <= start && start <= end && end <= text.length;
        const inOrder = i === 0 || start >= offsets[i - 1]![0];
        const alone = /^[a-z0-9]+$/.test(tokens[i]!) ? uncased.encode(text.slice(start, end)).tokens : [tokens[i]];
        const same = alone.length === 1 && alone[0] === tokens[i];
        if (!inside || !inOrder || !same) wrong.push(`${JSON.stringify(text)}: ${tokens[i]} at ${start} to ${end}`);
      }
    }
    expect(wrong.slice(0, 5)).toEqual([]);
  });
});

describe('every code point that has a meaning, and others, is normalized as Hugging Face does', () => {
  type Ranges = [number, number][];
  type Table = Record<'removed' | 'spaces' | 'padded', Ranges> & { other: Record<string, string> };
  const table = goldenJson<Record<string, Table> & { punctuation: Ranges }>('unicode');
  const members = (ranges: Ranges) => {
    const set = new Set<number>();
    for (const [first, last] of ranges) for (let c = first; c <= last; c++) set.add(c);
    return set;
  };
  /** Planes 0 to 3 and 14 whole; Unicode has nothing in the others but their ends and what is private. */
  const codePoints = function* () {
    for (let c = 0; c <= 0x10ffff; c += c < 0x40000 || c >> 16 === 14 || c % 256 >= 254 ? 1 : 127) {
      if (c < 0xd800 || c > 0xdfff) yield c;
    }
  };
  const hex = (codes: number[]) => codes.slice(0, 20).map((c) => `U+${c.toString(16)}`);

  test.each([
    ['uncased', { lowercase: true, stripAccents: true, chineseChars: true }],
    ['cased', { lowercase: false, stripAccents: false, chineseChars: true }],
    ['lowercase', { lowercase: true, stripAccents: false, chineseChars: true }],
  ] as const)('%s', (name, options) => {
    const { other, ...ranges } = table[name]!;
    const [removed, spaces, padded] = [members(ranges.removed), members(ranges.spaces), members(ranges.padded)];
    const others = new Map(Object.entries(other).map(([hex, text]) => [Number.parseInt(hex, 16), text]));
    const wrong: number[] = [];
    for (const c of codePoints()) {
      const char = String.fromCodePoint(c);
      let want = others.get(c) ?? char;
      if (removed.has(c)) want = '';
      else if (spaces.has(c)) want = ' ';
      else if (padded.has(c)) want = ` ${char} `;
      if (normalizeChar(char, options) !== want) wrong.push(c);
    }
    expect(hex(wrong)).toEqual([]);
  });
  test('punctuation', () => {
    const punctuation = members(table.punctuation);
    const wrong: number[] = [];
    const words = (c: number) => `a${String.fromCodePoint(c)}b`.match(WORDS)!.length;
    for (const c of codePoints()) if ((words(c) === 3) !== punctuation.has(c)) wrong.push(c);
    expect(hex(wrong)).toEqual([]);
  });
});

describe('pairs', () => {
  test('[CLS] question [SEP] context [SEP]', () => {
    const pair = uncased.encodePair('Who?', 'Zoë 1');
    expect(pair).toEqual({
      ids: [101, 2040, 1029, 102, 11199, 1015, 102],
      tokens: ['[CLS]', 'who', '?', '[SEP]', 'zoe', '1', '[SEP]'],
      offsets: [
        [0, 0],
        [0, 3],
        [3, 4],
        [0, 0],
        [0, 3],
        [4, 5],
        [0, 0],
      ],
      typeIds: [0, 0, 0, 0, 1, 1, 1],
      sequence: [null, 0, 0, null, 1, 1, null],
    });
  });
});

describe('awkward text', () => {
  test('lone surrogates are dropped, their neighbours keep their offsets', () => {
    expect(uncased.encode('a\ud83d b\udca9c')).toMatchObject({
      tokens: ['a', 'bc'],
      offsets: [
        [0, 1],
        [3, 6],
      ],
    });
  });
  test.each([1, 2, 3, 4])('%d emoji: offsets of 2 units each', (n) => {
    const { offsets } = cased.encode('💩 '.repeat(n));
    expect(offsets).toEqual(Array.from({ length: n }, (_, i) => [3 * i, 3 * i + 2]));
  });
  test('a cased tokenizer keeps á and a + U+0301 apart', () => {
    const tokenizer = Tokenizer.fromVocab('[UNK]\n[CLS]\n[SEP]\ná\na\n##\u0301', { lowercase: false });
    expect(tokenizer.encode('á a\u0301').tokens).toEqual(['á', 'a', '##\u0301']);
  });

  test.each([
    ['one word', 'a'],
    ['spaces', ' '],
    ['CJK', '中'],
    ['words', 'word '],
    ['punctuation', '.'],
    ['removed characters', '\u200b'],
    ['added tokens', '[SEP]'],
  ])('256 kB of %s in linear time', async (_, unit) => {
    const milliseconds = (bytes: number) => {
      const text = unit.repeat(bytes / unit.length);
      return cpuMilliseconds(() => uncased.encode(text));
    };
    await milliseconds(2 ** 15); // warm-up
    const [eighth, whole] = [await milliseconds(2 ** 15), await milliseconds(2 ** 18)];
    expect(whole).toBeLessThan(8 * eighth * 3 + 500);
    expect(whole).toBeLessThan(2000);
  });
});

describe('vocabularies', () => {
  test('CRLF lines', () => {
    const tokenizer = Tokenizer.fromVocab('[UNK]\r\n[CLS]\r\n[SEP]\r\nhello\r\n');
    expect(tokenizer.encode('Hello x').ids).toEqual([3, 0]);
    expect(tokenizer.vocabSize).toBe(4);
  });
  test('a missing special token is named', () =>
    expectError('tokenizer', /vocabulary: expected the token \[CLS\], got 2 others/, () =>
      Tokenizer.fromVocab('[UNK]\n[SEP]'),
    ));
  test.each([
    [{ model: { ...tokenizerJson.model!, type: 'Unigram' } }, /model\.type "WordPiece" or "BPE", got "Unigram"/],
    [{ normalizer: { ...tokenizerJson.normalizer!, type: 'NFC' } }, /normalizer\.type "BertNormalizer", got "NFC"/],
    [{ pre_tokenizer: { type: 'Whitespace' } }, /pre_tokenizer\.type "BertPreTokenizer", got "Whitespace"/],
    [{ post_processor: { type: 'Sequence' } }, /post_processor\.type "TemplateProcessing", got "Sequence"/],
  ])('another tokenizer is refused by name: %#', (part, message) =>
    expectError('tokenizer', message, () => Tokenizer.fromJson({ ...tokenizerJson, ...part })),
  );
});

test('a vocabulary of 200,000 tokens', () => {
  const tokens = ['[UNK]', '[CLS]', '[SEP]', ...Array.from({ length: 199_997 }, (_, i) => `t${i}`)];
  const model = { ...tokenizerJson.model, vocab: Object.fromEntries(tokens.map((token, id) => [token, id])) };
  for (const tokenizer of [
    Tokenizer.fromVocab(tokens.join('\n')),
    Tokenizer.fromJson({ ...tokenizerJson, model, added_tokens: [], post_processor: BERT_PROCESSING }),
  ]) {
    expect(tokenizer.vocabSize).toBe(200_000);
    expect(tokenizer.encode('t199996 t0').ids).toEqual([199_999, 3]);
  }
});
const BERT_PROCESSING = { type: 'BertProcessing', cls: ['[CLS]', 1], sep: ['[SEP]', 2] };

test.each([-1, 1.5, 3, '4'])('an id %s is no id, or not the only one', (id) =>
  expectError('tokenizer', /vocabulary: expected ids that are integers from 0, each once, got/, () => {
    const vocab = { '[UNK]': 0, '[CLS]': 1, '[SEP]': 2, a: 3, b: id };
    Tokenizer.fromJson({
      ...tokenizerJson,
      model: { ...tokenizerJson.model, vocab },
      added_tokens: [],
      post_processor: BERT_PROCESSING,
    });
  }),
);

test('of two added tokens that begin alike, the longer one is found', () => {
  const tokenizer = Tokenizer.fromVocab('[UNK]\n[CLS]\n[SEP]\n[X\n[XY]\na', { added: ['[X', '[XY]'] });
  expect(tokenizer.encode('a [XY] [X a').tokens).toEqual(['a', '[XY]', '[X', 'a']);
});

test('an added token is found as it is written, whatever a regular expression makes of it', () => {
  const added = ['a.c', '^x$', '(a|b)*', '[a-z]+', '\\w{2}', '/?', 'a'];
  const vocab = new Map(['[UNK]', '[CLS]', '[SEP]', ...added].map((token, id) => [token, id]));
  const tokenizer = new Tokenizer(vocab, new WordPiece(vocab), { added });
  for (const token of added) expect(tokenizer.encode(`abc ${token} ab`).tokens).toContain(token);
  expect(tokenizer.encode('abc xx ax').tokens).toEqual(['a', '[UNK]', '[UNK]', 'a', '[UNK]']);
});

test.each([
  ['one of 1,001 characters', ['x'.repeat(1001)]],
  ['2,000 of 1,000', Array.from({ length: 2000 }, (_, i) => `${i}`.padStart(1000, 'x'))],
])('added tokens that no regular expression holds are refused: %s', (_, added) =>
  expectError('tokenizer', /^added tokens: expected at most 1000 characters each, 1048576 in all, got more\./, () =>
    Tokenizer.fromVocab(['[UNK]', '[CLS]', '[SEP]', ...added].join('\n'), { added }),
  ),
);
test('1,000 of 1,000 characters are found', () => {
  const added = Array.from({ length: 1000 }, (_, i) => `${i}`.padStart(1000, 'x'));
  const tokenizer = Tokenizer.fromVocab(['[UNK]', '[CLS]', '[SEP]', ...added].join('\n'), { added });
  expect(tokenizer.encode(`a ${added[999]}${added[7]}`).ids).toEqual([0, 1002, 10]);
});

test("a pair without token types, a tokenizer of one's own", () => {
  const vocab = new Map(['[UNK]', '<s>', '</s>', 'a', '##b'].map((token, id) => [token, id]));
  const pair: PairPart[] = [
    { token: '<s>', type: 0 },
    { sequence: 1, type: 0 },
    { token: '</s>', type: 0 },
    { sequence: 0, type: 0 },
    { token: '</s>', type: 0 },
  ];
  const tokenizer = new Tokenizer(vocab, new WordPiece(vocab), { added: ['<s>', '</s>'], pair });
  const { ids, typeIds, sequence } = tokenizer.encodePair('a', 'ab </s>');
  expect(ids).toEqual([1, 3, 4, 2, 2, 3, 2]);
  expect(typeIds).toEqual([0, 0, 0, 0, 0, 0, 0]);
  expect(sequence).toEqual([null, 1, 1, 1, null, 0, null]);
  expect(tokenizer.specialTokens).toBe(3);
});
