/** Questions to whole documents and questions of one's own: their parts, and what `bertlet evaluate` prints of them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { calibrate, readOwn, reliability, temperatureOf } from '../bench/squad/calibrate.ts';
import { bestThreshold, documentsOf } from '../bench/squad/documents.ts';
import { score } from '../bench/squad/metric.ts';
import { uniform } from '../kernels/op.ts';
import { expectError, runProgram, TINY } from './support.ts';

const folder = mkdtempSync(join(tmpdir(), 'bertlet-documents-'));
afterAll(() => rmSync(folder, { recursive: true }));
const written = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

const paragraphs = (article: number, count: number) => Array.from({ length: count }, (_, i) => `a${article} p${i}.`);
const questions = [0, 1].flatMap((article) =>
  paragraphs(article, 5).flatMap((context, i) =>
    [0, 1].map((k) => ({ id: `${article}-${i}-${k}`, question: 'q', context, answers: k ? [] : ['x'], article })),
  ),
);

describe('documents', () => {
  test('each paragraph is in a document of as many paragraphs of its article, in their order', () => {
    const documents = documentsOf(questions, 2);
    expect(documents.size).toBe(10);
    for (const { context, article } of questions) {
      const { text, paragraphs: own } = documents.get(context)!;
      expect(own).toContain(context);
      expect(text).toBe(own.join('\n\n'));
      expect(own.length).toBe(2);
      expect(own.every((one) => one.startsWith(`a${article} `))).toBe(true);
    }
    expect(documents.get('a0 p4.')!.paragraphs).toEqual(['a0 p3.', 'a0 p4.']);
    expect(documents.get('a0 p3.')!.paragraphs).toEqual(['a0 p2.', 'a0 p3.']);
  });
  test('documents that begin a paragraph earlier', () => {
    const documents = documentsOf(questions, 2, 3);
    const of = (i: number) => documents.get(`a0 p${i}.`)!.paragraphs;
    expect([0, 1, 2, 3, 4].map(of)).toEqual([
      ['a0 p0.', 'a0 p1.'],
      ['a0 p1.', 'a0 p2.'],
      ['a0 p1.', 'a0 p2.'],
      ['a0 p3.', 'a0 p4.'],
      ['a0 p3.', 'a0 p4.'],
    ]);
  });
  test.each([0, 9])('%d: a whole article', (size) => {
    expect(documentsOf(questions, size).get('a1 p2.')!.paragraphs).toEqual(paragraphs(1, 5));
    expect(documentsOf(questions, size, 3).get('a1 p4.')!.paragraphs).toEqual(paragraphs(1, 5));
  });
});

describe('calibration', () => {
  const next = uniform(7);
  const said = questions.map(({ answers }) => {
    const sure = next() < 0.7 === answers.length > 0;
    return { text: next() < 0.8 ? 'x' : 'y', noAnswerScore: (sure ? -1 : 1) * next() * 5 };
  });
  const answers = questions.map((question) => question.answers);
  test('the threshold is one with the best F1, and its interval holds it', () => {
    const f1 = (threshold: number) =>
      said.reduce((sum, one, i) => sum + score(answers[i]!, one, threshold).f1, 0) * (100 / said.length);
    const best = Math.max(...[-99, ...said.map(({ noAnswerScore }) => noAnswerScore)].map(f1));
    const { threshold, interval, f1: got } = calibrate(answers, said);
    expect(got).toBeCloseTo(best, 9);
    expect(f1(threshold)).toBeCloseTo(best, 9);
    expect(f1(bestThreshold(questions, said))).toBeCloseTo(best, 9);
    expect(interval.low).toBeLessThanOrEqual(threshold);
    expect(interval.high).toBeGreaterThanOrEqual(threshold);
    expect(calibrate(answers, said)).toEqual(calibrate(answers, said));
  });
  test('equal scores are let in together', () => {
    const tied = [1, 1, 2].map((noAnswerScore) => ({ text: 'x', noAnswerScore }));
    const { threshold, f1 } = calibrate([['x'], [], ['x']], tied);
    expect([threshold, f1]).toEqual([2, expect.closeTo(200 / 3, 9)]);
    expect(calibrate([['x'], [], []], tied).f1).toBeCloseTo(200 / 3, 9); // all or none of the two
  });
  test('where nothing has an answer, none is given', () => {
    expect(calibrate([[], []], said.slice(0, 2)).f1).toBe(100);
  });
  test('reliability: tenths, and the distance of what is said and what is right', () => {
    const answers = [
      { confidence: 0.95, right: true },
      { confidence: 0.93, right: false },
      { confidence: 0.55, right: true },
      { confidence: 1, right: true },
    ];
    const { bins, error } = reliability(answers);
    expect(bins).toEqual([
      { low: 0.5, count: 1, confidence: 0.55, right: 1 },
      { low: 0.9, count: 3, confidence: expect.closeTo(0.96, 9), right: expect.closeTo(2 / 3, 9) },
    ]);
    expect(error).toBeCloseTo((0.45 + 3 * (0.96 - 2 / 3)) / 4, 9);
  });
  test('a temperature makes answers as sure as they are right', () => {
    const next = uniform(3);
    const answers = Array.from({ length: 5000 }, () => {
      const margin = 20 * next();
      return { margin, right: next() < 1 / (1 + Math.exp(-margin / 7)) };
    });
    expect(Math.abs(temperatureOf(answers) - 7)).toBeLessThan(0.7);
    const sure = (temperature: number) =>
      answers.map(({ margin, right }) => ({ confidence: 1 / (1 + Math.exp(-margin / temperature)), right }));
    expect(reliability(sure(temperatureOf(answers))).error).toBeLessThan(0.03);
    expect(reliability(sure(1)).error).toBeGreaterThan(0.15);
  });
  test('lines: answers as a text, texts or null; blank lines are skipped; anything else is refused with its place', async () => {
    const own = (answer: unknown) => JSON.stringify({ question: 'q', context: 'c', answer });
    const file = written('own.jsonl', `${own('a')}\r\n\n${own(['a', 'b'])}\n${own(null)}\n`);
    expect((await readOwn(file)).map((one) => one.answers)).toEqual([['a'], ['a', 'b'], []]);
    const refused = (text: string, message: RegExp) => expectError('file', message, () => readOwn(written('no', text)));
    await refused(`${own('a')}\n{`, /no: line 2: expected JSON, got /);
    await refused(own(undefined), /no: line 1: expected texts "question" and "context"/);
    await refused(own([1]), /no: line 1: expected texts/);
    await refused('\n', /no: expected questions, got none/);
  });
});

describe('bertlet evaluate', () => {
  const squad = {
    data: [0, 1].map((article) => ({
      paragraphs: paragraphs(article, 3).map((context, i) => ({
        context,
        qas: [{ id: `${article}-${i}`, question: 'what was it?', answers: i ? [{ text: context.slice(0, 2) }] : [] }],
      })),
    })),
  };
  const args = ['--model', TINY, '--workers', '2', '--dtype', 'int8', '--scheme', 'accurate'];
  test('--documents: a row for each way, compared with the first', async () => {
    const file = written('squad.json', JSON.stringify(squad));
    const { status, out, error } = await runProgram(['evaluate', file, '--documents', '2', ...args]);
    expect(status, error).toBe(0);
    const lines = out.trimEnd().split('\n');
    expect(lines[0]).toMatch(/6 questions to 2 paragraphs of an article, threshold 0$/);
    expect(lines.filter((line) => /^(384|each|as bertlet)/.test(line)).length).toBe(6);
    expect(out).toMatch(/^384, stride 128: smallest null score .* 0\.0 to 0\.0 /m);
  });
  test('--calibrate: a threshold with its interval, and how often confidence is right', async () => {
    const lines = [0, 1, 2, 3].map((i) =>
      JSON.stringify({ question: 'who?', context: 'a b c d', answer: i % 2 ? 'b' : null }),
    );
    const file = written('questions.jsonl', `${lines.join('\n')}\n`);
    const { status, out, error } = await runProgram(['evaluate', '--calibrate', file, ...args]);
    expect(status, error).toBe(0);
    expect(out).toMatch(
      /^4 questions, 2 with an answer\nF1 \d+\.\d with nullThreshold 0\nF1 \d+\.\d with nullThreshold /,
    );
    expect(out).toMatch(/95 % interval -?\d+\.\d\d to -?\d+\.\d\d/);
    expect(out).toMatch(
      /expected calibration error \d+\.\d %; \d+\.\d % with confidence_temperature \d+\.\d in config\.json\n$/,
    );
  });
});
