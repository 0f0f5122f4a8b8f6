// @unit
/** The SQuAD metric: each rule by hand, then Hugging Face's squad_v2 and squad metrics as goldens (make_squad.py). */
import { describe, expect, test } from 'vitest';
import { bootstrap } from '../bench/squad/bootstrap.ts';
import { type Figures, figures, normalize, type Prediction, score, scoreText } from '../bench/squad/metric.ts';
import { goldenJson } from './support.ts';

type Item = Prediction & { answers: string[]; exact: number; f1: number };
const golden = goldenJson<{
  sets: Record<
    string,
    { questions: Item[]; figures: Record<string, Figures>; squad1?: { exact_match: number; f1: number } }
  >;
  characters: Record<'boundary' | 'space' | 'unassigned', [number, number][]> & { upper: string; lower: string[] };
  bootstrap: Record<string, { differences: number[]; low: number; high: number; deviation: number }>;
}>('squad');

describe('normalize', () => {
  test.each([
    ['articles', 'The cat and a dog, an owl', 'cat and dog owl'],
    ['articles only as words', 'theory anna aback panther', 'theory anna aback panther'],
    ['an article with an underscore is none, but punctuation goes first', 'the_cat', 'thecat'],
    ['an article between letters of other scripts is none', '東京the', '東京the'],
    ['an article beside a sign of another script is one', '«the» cat—a dog', '« » cat— dog'],
    ['an article that punctuation joins to a word', 'the-cat', 'thecat'],
    ['an article that punctuation had broken', 't.h.e cat', 'cat'],
    ['punctuation is joined over, not split at', "O'Brien's 3.14", 'obriens 314'],
    ['punctuation is ASCII alone', '“yes” – 5 €', '“yes” – 5 €'],
    ['white space', ' \t two\n\u00a0words\u3000', 'two words'],
    ["white space that JavaScript's is not", 'two\x1fwords\x85here', 'two words here'],
    ["JavaScript's white space that is none", 'two\ufeffwords', 'two\ufeffwords'],
    ['case', 'ÉCOLE ΣΑΣ İ', 'école σας i\u0307'],
    ['nothing left', ' The, a... An! ', ''],
  ])('%s', (_, text, expected) => expect(normalize(text)).toBe(expected));
});

describe('scores of a text', () => {
  test.each<[string, string[], string, number, number]>([
    ['the same but for what is normalized', ['the Normans'], 'Normans.', 1, 1],
    ['some of the words: precision 1, recall 1/2', ['in northern France'], 'France', 0, 2 / (1 + 3)],
    ['more words: precision 1/2, recall 1', ['France'], 'northern France', 0, 2 / 3],
    [
      'a word counts as often as both have it',
      ['new york new york'],
      'new new new',
      0,
      (2 * (2 / 3) * (2 / 4)) / (2 / 3 + 2 / 4),
    ],
    ['words in another order', ['a b c'], 'c b', 0, 1],
    ['nothing in common', ['France'], 'Spain', 0, 0],
    ['several answers: the best of each measure', ['10th century', 'the 10th', 'tenth'], 'Tenth', 1, 1],
    ['several answers: the best F1 without a match', ['10th and 11th', '10th century'], 'century', 0, 2 / 3],
    ['no answer, and none said', [], '', 1, 1],
    ['no answer, and only an article said', [], 'the', 1, 1],
    ['no answer, but one said', [], 'France', 0, 0],
    ['an answer, but none said', ['France'], '', 0, 0],
    ['answers without words do not count', ['The', 'France'], '', 0, 0],
    ['unless there is no other', ['The', '...'], '', 1, 1],
  ])('%s', (_, answers, text, exact, f1) => {
    const scored = scoreText(answers, text);
    expect(scored.exact).toBe(exact);
    expect(scored.f1).toBeCloseTo(f1, 12);
  });
  test('"no answer" above the threshold, not at it', () => {
    const said = { text: 'France', noAnswerScore: 2 };
    expect([1.9, 2, 2.1].map((threshold) => score(['France'], said, threshold).f1)).toEqual([0, 1, 1]);
    expect([1.9, 2, 2.1].map((threshold) => score([], said, threshold).f1)).toEqual([1, 0, 0]);
  });
});

describe('figures', () => {
  const answers = [['a cat'], ['big dog'], [], []];
  const said = [
    { text: 'cat', noAnswerScore: -3 },
    { text: 'dog', noAnswerScore: 1 },
    { text: 'fox', noAnswerScore: -1 },
    { text: 'owl', noAnswerScore: 5 },
  ];
  test('by hand', () => {
    // At 0: right, "no answer" (wrong), a span (wrong), "no answer" (right). Spans let in one by one, from 2 of 4 with
    // none: cat 3, fox 2, dog exact 2 or F1 2 + 2/3, owl 1 or 1 + 2/3.
    expect(figures(answers, said, 0)).toEqual({
      ...{ exact: 50, f1: 50, total: 4, HasAns_exact: 50, HasAns_f1: 50, HasAns_total: 2 },
      ...{ NoAns_exact: 50, NoAns_f1: 50, NoAns_total: 2 },
      ...{ best_exact: 75, best_exact_thresh: -3, best_f1: 75, best_f1_thresh: -3 },
    });
    expect(figures(answers, said, 1)).toMatchObject({ exact: 50, HasAns_exact: 50 });
    expect(figures(answers, said, 1).HasAns_f1).toBeCloseTo((100 * (1 + 2 / 3)) / 2, 12);
  });
  test('without a threshold the best span counts, as in SQuAD 1.1', () => {
    const { f1, ...rest } = figures(answers.slice(0, 2), said.slice(0, 2));
    expect(rest).toEqual({ exact: 50, total: 2 });
    expect(f1).toBeCloseTo((100 * (1 + 2 / 3)) / 2, 12);
  });
});

describe("as Hugging Face's metrics", () => {
  const sets = Object.entries(golden.sets);
  test.each(sets)('scores of each answer: %s', (_, { questions }) => {
    expect(questions.length).toBeGreaterThan(0);
    for (const { answers, text, exact, f1 } of questions) {
      expect({ answers, text, ...scoreText(answers, text) }).toEqual({ answers, text, exact, f1 });
    }
  });
  test.each(sets)('all figures at several thresholds: %s', (_, { questions, figures: expected }) => {
    const answers = questions.map((question) => question.answers);
    for (const [threshold, want] of Object.entries(expected)) {
      const got = figures(answers, questions, Number(threshold));
      expect(Object.keys(got).toSorted()).toEqual(Object.keys(want).toSorted());
      // Python 3.12's sum() rounds once, at the end; that much the last bits may differ by.
      for (const [name, value] of Object.entries(want)) expect(got[name as keyof Figures], name).toBeCloseTo(value, 10);
    }
  });
  test.each(['hasAnswer', 'withoutWords'])('SQuAD 1.1: %s', (name) => {
    const { questions, squad1 } = golden.sets[name]!;
    const got = figures(
      questions.map(({ answers }) => answers),
      questions,
    );
    expect(got.exact).toBeCloseTo(squad1!.exact_match, 10);
    expect(got.f1).toBeCloseTo(squad1!.f1, 10);
  });

  const { unassigned, upper, lower, ...classes } = golden.characters;
  const unknown = new Set(unassigned.flatMap(([first, last]) => codes(first, last)));
  function codes(first: number, last: number) {
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  }
  const known = codes(0, 0x10ffff).filter((code) => !unknown.has(code) && !(code >= 0xd800 && code < 0xe000));
  test.each([
    ['boundary', (char: string) => !normalize(`the${char}`).includes('the')],
    ['space', (char: string) => normalize(`x${char}x`).includes(' ')],
  ] as const)('every character: %s', (name, holds) => {
    const expected = new Set(classes[name].flatMap(([first, last]) => codes(first, last)));
    expect(expected.size).toBeGreaterThan(20);
    const wrong = known.filter((code) => holds(String.fromCodePoint(code)) !== expected.has(code));
    expect(wrong.map((code) => code.toString(16))).toEqual([]);
  });
  test('every character: lower case', () => {
    const wrong = [...upper].filter((char, i) => normalize(`${char}x`) !== `${lower[i]}x`);
    expect(wrong).toEqual([]);
    const changed = known.map((code) => String.fromCodePoint(code)).filter((char) => char.toLowerCase() !== char);
    expect(changed.join('')).toBe(upper);
  });
});

describe('bootstrap', () => {
  test('all the same: no interval', () => expect(bootstrap([0.5, 0.5, 0.5])).toEqual({ low: 0.5, high: 0.5 }));
  test('two: each of four resamples as likely', () => {
    // 0, 1/2 twice, 1: the means at 2.5 % and 97.5 % are the outer ones.
    expect(bootstrap([0, 1])).toEqual({ low: 0, high: 1 });
  });
  test('six: 1/64 of the resamples is below 2.5 %', () => {
    // Of three 0 and three 1: P(mean 0) = 1/64 < 0.025 < P(mean <= 1/6) = 7/64.
    const { low, high } = bootstrap([0, 0, 0, 1, 1, 1]);
    expect([low, high].map((mean) => mean * 6)).toEqual([1, 5]);
  });
  test('a seed gives the same again, another nearly the same', () => {
    const { differences, deviation } = golden.bootstrap.many!;
    expect(bootstrap(differences, 3)).toEqual(bootstrap(differences, 3));
    expect(bootstrap(differences, 4).low).not.toBe(bootstrap(differences, 3).low);
    expect(Math.abs(bootstrap(differences, 4).low - bootstrap(differences, 3).low)).toBeLessThan(deviation / 5);
  });
  test.each(Object.entries(golden.bootstrap))("as scipy's, within what 10,000 resamples tell: %s", (_, expected) => {
    // Standard error of the 2.5 % quantile of n normal values: sqrt(p (1 - p) / n) / density = 0.027 deviations. Five of
    // them, and the step of the means where they are few.
    const { differences, low, high, deviation } = expected;
    const got = bootstrap(differences);
    const bound = Math.max(5 * 0.027 * deviation, 0.5 / differences.length);
    expect(Math.abs(got.low - low)).toBeLessThanOrEqual(bound);
    expect(Math.abs(got.high - high)).toBeLessThanOrEqual(bound);
  });
});
