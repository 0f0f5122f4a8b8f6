/** `bertlet evaluate` as a program, and its parts: files of SQuAD, samples, predictions that are kept. */
import { spawn } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { parseSquad, type Question, sample } from '../bench/squad/dataset.ts';
import { type Header, Predictions } from '../bench/squad/predictions.ts';
import { type Answerer, loadVariant, resultsOf, takeTurns, variantsOf } from '../bench/squad/run.ts';
import { expectError, ROOT, runProgram, spawnProgram, TINY } from './support.ts';

const folder = mkdtempSync(join(tmpdir(), 'bertlet-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
const fresh = (ending: string) => join(folder, `${files++}.${ending}`);

/** A SQuAD of so many articles, each a passage with four questions; every other one without an answer in 2.0. */
function squad(articles: number, version: '1.1' | '2.0' = '2.0') {
  const qa = (article: number, i: number) => {
    const impossible = version === '2.0' && i % 2 === 1;
    const answers = impossible
      ? []
      : [
          { text: 'blue boat', answer_start: 8 },
          { text: 'the boat', answer_start: 0 },
        ];
    const id = `${article}-${i}`;
    return { id, question: `what was ${'abcd'[i]}?`, answers, ...(version === '2.0' && { is_impossible: impossible }) };
  };
  const data = Array.from({ length: articles }, (_, article) => ({
    title: `${article}`,
    paragraphs: [{ context: `in the ${article} blue boat on the sea`, qas: [0, 1, 2, 3].map((i) => qa(article, i)) }],
  }));
  return { version, data };
}
function written(content: object, ending = 'json') {
  const file = fresh(ending);
  writeFileSync(file, JSON.stringify(content));
  return file;
}
const ARGS = ['--model', TINY, '--device', 'reference'];
const run = (...args: string[]) => runProgram(['evaluate', ...args]);
const lines = (file: string) => readFileSync(file, 'utf8').split('\n');

describe('the program', () => {
  test('a table of all variants, and the report', async () => {
    const json = fresh('json');
    const { status, out, error } = await run(written(squad(3)), ...ARGS, '--json', json);
    expect([status, error]).toEqual([0, '']);
    expect(out).toMatch(/^\d+\.json, SQuAD 2\.0: 12 questions; tiny-bert\n\nvariant +EM +F1 +HasAns EM /);
    expect(out.split('\n').slice(3, 6)).toEqual([
      expect.stringMatching(/^reference fp32 /),
      expect.stringMatching(/^reference int8 torch .* to /),
      expect.stringMatching(/^reference int8 accurate .* to /),
    ]);
    const report = JSON.parse(readFileSync(json, 'utf8'));
    expect(report).toMatchObject({
      version: 1,
      dataset: { format: '2.0', questions: 12, of: 12, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      model: { name: 'tiny-bert', sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      threshold: 0,
    });
    expect(report.variants.length).toBe(3);
    for (const { figures, windows, questionsPerSecond } of report.variants) {
      expect(Object.keys(figures).length).toBe(13);
      expect([figures.total, figures.HasAns_total, figures.NoAns_total, windows]).toEqual([12, 6, 6, 12]);
      expect(questionsPerSecond).toBeGreaterThan(0);
    }
    expect(report.variants[0].difference).toBeUndefined();
    expect(report.variants[1]).toMatchObject({
      ...{ device: 'reference', dtype: 'int8', scheme: 'torch' },
      difference: { to: 'reference fp32', f1: report.variants[1].figures.f1 - report.variants[0].figures.f1 },
    });
    expect(JSON.stringify(report)).not.toMatch(/blue boat|what was/);
  });
  test('SQuAD 1.1: the best span always, and three figures', async () => {
    const { status, out } = await run(written(squad(2, '1.1')), ...ARGS, '--dtype', 'fp32', '--json');
    expect(status).toBe(0);
    const { variants, threshold } = JSON.parse(out);
    expect([variants.length, threshold]).toEqual([1, undefined]);
    expect(Object.keys(variants[0].figures)).toEqual(['exact', 'f1', 'total']);
  });
  test('--answerable: the questions of SQuAD 2.0 that have an answer are as a file of SQuAD 1.1', async () => {
    const two = squad(3);
    const one = structuredClone(two);
    for (const { paragraphs } of one.data) {
      for (const paragraph of paragraphs) {
        paragraph.qas = paragraph.qas.filter(({ answers }) => answers.length > 0);
        for (const qa of paragraph.qas) delete (qa as { is_impossible?: boolean }).is_impossible;
      }
    }
    const figuresOf = async (...args: string[]) => {
      const report = JSON.parse((await run(...args, ...ARGS, '--json')).out);
      const figures = report.variants.map((variant: { figures: object }) => variant.figures);
      return { ...report.dataset, answerable: report.answerable, figures, name: '', sha256: '' };
    };
    const useless = await run(written(two), ...ARGS, '--answerable', '--threshold', '1');
    expect([useless.status, useless.error]).toEqual([
      2,
      'error: --threshold: expected none where every question has an answer, got 1. Leave it out.\nSee --help.\n',
    ]);
    const part = await figuresOf(written(two), '--answerable');
    expect(part).toMatchObject({ format: '1.1', questions: 6, of: 6, answerable: true });
    expect(Object.keys(part.figures[0])).toEqual(['exact', 'f1', 'total']);
    expect(part).toEqual({ ...(await figuresOf(written(one))), answerable: true });
    const none = squad(1);
    none.data[0]!.paragraphs[0]!.qas = none.data[0]!.paragraphs[0]!.qas.filter(({ answers }) => answers.length === 0);
    const refused = await run(written(none), ...ARGS, '--answerable');
    expect([refused.status, refused.error]).toEqual([
      1,
      expect.stringMatching(/expected questions with an answer, got none/),
    ]);
  });
  test('--threshold: at its ends nothing, or everything, is answered', async () => {
    const file = written(squad(2));
    const at = async (threshold: string) => {
      const { out } = await run(file, ...ARGS, '--dtype', 'fp32', '--json', '--threshold', threshold);
      return JSON.parse(out).variants[0].figures;
    };
    expect(await at('-1e9')).toMatchObject({ HasAns_f1: 0, NoAns_f1: 100 });
    expect((await at('1e9')).NoAns_f1).toBe(0);
  });

  test('goes on where it was stopped, and computes nothing twice', async () => {
    const [data, kept] = [written(squad(3)), fresh('jsonl')];
    const args = [data, ...ARGS, '--predictions', kept, '--json'];
    const few = JSON.parse((await run(...args, '--limit', '4')).out);
    expect(few.dataset).toMatchObject({ questions: 4, of: 12 });
    const before = lines(kept);
    expect(before.length).toBe(1 + 3 * 4 + 1);
    const all = JSON.parse((await run(...args)).out);
    expect(lines(kept).slice(0, 13)).toEqual(before.slice(0, 13));
    expect(lines(kept).length).toBe(1 + 3 * 12 + 1);
    const again = await run(...args);
    expect(lines(kept).length).toBe(1 + 3 * 12 + 1);
    expect(JSON.parse(again.out).variants).toEqual(all.variants); // the speeds, too: nothing was timed anew
    const alone = JSON.parse((await run(data, ...ARGS, '--json')).out);
    const figures = (report: typeof alone) => report.variants.map((variant: { figures: object }) => variant.figures);
    expect(figures(JSON.parse(again.out))).toEqual(figures(alone));
  });
  test('kill -9 in the middle loses at most the line under way', async () => {
    const [data, kept] = [written(squad(60)), fresh('jsonl')];
    const args = ['programs/main.ts', 'evaluate', data, ...ARGS, '--predictions', kept];
    const there = () => (existsSync(kept) ? lines(kept).length : 0);
    for (let ended: unknown; ended !== 'SIGKILL'; ) {
      rmSync(kept, { force: true }); // it was done before this process looked: once more
      const child = spawn(process.execPath, args, { cwd: ROOT, stdio: 'ignore' });
      const gone = new Promise((done) => child.on('exit', (_, signal) => done(signal)));
      while (there() < 40 && child.exitCode === null) await sleep(2);
      child.kill('SIGKILL');
      ended = await gone;
    }
    const before = lines(kept).slice(0, -1); // what follows the last line end is torn, or ''
    expect(before.length).toBeGreaterThanOrEqual(39);
    expect(before.length).toBeLessThan(1 + 3 * 240);
    appendFileSync(kept, lines(kept).at(-1) === '' ? '{"variant":"reference fp32","id":"59-3","te' : ''); // a torn one, surely
    const { status, out, error } = spawnProgram(['evaluate', data, ...ARGS, '--predictions', kept]);
    expect([status, error, out.split('\n').length]).toEqual([0, '', 7]);
    const after = lines(kept);
    expect(after.slice(0, before.length)).toEqual(before);
    const answered = after.slice(1, -1).map((line) => JSON.parse(line));
    expect(new Set(answered.map(({ variant, id }) => `${variant} ${id}`)).size).toBe(3 * 240);
    expect(answered.length).toBe(3 * 240);
  });

  test('a question that cannot be asked is named and scored as "no answer", and the others are answered', async () => {
    const hard = squad(2);
    const { qas } = hard.data[0]!.paragraphs[0]!;
    qas[0]!.question = ' '; // it has an answer
    qas[1]!.question = 'what '.repeat(100); // it has none
    const [data, kept] = [written(hard), fresh('jsonl')];
    const args = [data, ...ARGS, '--dtype', 'fp32', '--predictions', kept, '--json', '--threshold', '1e9'];
    const { status, out, error } = await run(...args);
    expect(status).toBe(0);
    expect(error).toMatch(
      /^question 0-0 counts as "no answer": question: expected words.*\nquestion 0-1 counts as .* at most \d+ tokens.*\n$/,
    );
    const { variants, unanswered } = JSON.parse(out);
    expect(unanswered.map(({ id }: { id: string }) => id)).toEqual(['0-0', '0-1']);
    expect(variants[0].figures).toMatchObject({ total: 8, NoAns_f1: 25 }); // '' is right where there is no answer
    expect((await run(...args)).error).toBe(error); // from the predictions that were kept
  });
  test('a file of Windows, and ids that are numbers', async () => {
    const data = squad(1);
    const { qas } = data.data[0]!.paragraphs[0]!;
    for (const [i, qa] of qas.entries()) Object.assign(qa, { id: i });
    const file = fresh('json');
    writeFileSync(file, `\ufeff${JSON.stringify(data)}`, 'utf16le');
    const { status, error } = await run(file, ...ARGS, '--dtype', 'fp32');
    expect([status, error]).toEqual([0, '']);
    Object.assign(qas[1]!, { id: '2' });
    const twice = written(data);
    expect((await run(twice, ...ARGS)).error).toMatch(/expected an id that no other question has, got 2 again/);
  });
  test('a second run into the same predictions says so and stops; one that was killed is no hindrance', async () => {
    const [data, kept] = [written(squad(1)), fresh('jsonl')];
    const args = [data, ...ARGS, '--dtype', 'fp32', '--predictions', kept];
    writeFileSync(`${kept}.lock`, `${process.ppid}`);
    const second = await run(...args);
    expect(second.error).toMatch(
      new RegExp(`: expected predictions that no other run writes, got those of process ${process.ppid}\\. Wait`),
    );
    expect([second.status, existsSync(kept)]).toEqual([1, false]);
    writeFileSync(`${kept}.lock`, '999999999');
    expect((await run(...args)).status).toBe(0);
    expect(existsSync(`${kept}.lock`)).toBe(false);
  });
  test('it goes on with another number of threads', async () => {
    const [data, kept] = [written(squad(1)), fresh('jsonl')];
    const args = (threads: string) => [
      data,
      '--model',
      TINY,
      '--dtype',
      'fp32',
      '--predictions',
      kept,
      '--threads',
      threads,
    ];
    await run(...args('1'));
    const before = readFileSync(kept, 'utf8');
    expect([(await run(...args('2'))).status, readFileSync(kept, 'utf8')]).toEqual([0, before]);
    writeFileSync(kept, before.replace('"options":{', '"options":{"threads":8,')); // as they were written before
    expect((await run(...args('2'))).status).toBe(0);
  });

  test('the figures do not depend on the number of workers', async () => {
    const [data, one] = [written(squad(5)), fresh('jsonl')];
    const figures = async (...args: string[]) => {
      const { out, error } = await run(data, '--model', TINY, '--json', ...args);
      expect(error).toBe('');
      return JSON.parse(out).variants.map(({ figures, windows }: Record<string, unknown>) => [figures, windows]);
    };
    const want = await figures('--workers', '1', '--predictions', one);
    for (const more of [['--workers', '2'], ['--workers', '3'], ['--threads', '2'], []]) {
      expect(await figures(...more), `${more}`).toEqual(want);
    }
  });

  test.each<[string, (data: string) => string[] | Promise<string[]>, RegExp]>([
    ['no such file', () => ['nowhere.json'], /nowhere\.json/],
    ['no SQuAD', () => [written({ data: [{}] })], /\(file\): \d+\.json: data\[0\]\.paragraphs: expected an array/],
    [
      'no folder for the report',
      (data) => [data, ...ARGS, '--json', join(folder, 'none', 'x.json')],
      /^error: \/.*\/none: expected a file or folder, got none of this name\. Check the path\.$/m,
    ],
    ['no such model', (data) => [data, '--model', './nowhere'], /nowhere/],
    [
      'predictions of other questions',
      async (data) => {
        const kept = fresh('jsonl');
        await run(written(squad(1)), ...ARGS, '--dtype', 'fp32', '--predictions', kept);
        return [data, ...ARGS, '--predictions', kept];
      },
      /\.jsonl: expected predictions of dataset [0-9a-f]{64}, got [0-9a-f]{64}\. Give another file/,
    ],
  ])('error, exit code 1: %s', async (_, args, message) => {
    const { status, error } = await run(...(await args(written(squad(2)))));
    expect(error).toMatch(message);
    expect(error).not.toMatch(/\n {4}at /);
    expect(status).toBe(1);
  });
  test.each([
    [[], /missing required argument/],
    [['x.json', '--dtype', 'int4'], /Allowed are fp32, fp16, int8/],
    [['x.json', '--dtype', 'int8,int8'], /each once/],
    [['x.json', '--limit', '0'], /Expected a positive integer/],
    [['x.json', '--threshold', 'high'], /Expected a number/],
    [['x.json', '--scheme', 'coarse'], /Allowed are torch, accurate/],
    [['x.json', '--threads', 'many'], /Expected a positive integer/],
    [[written(squad(2)), ...ARGS, '--dtype', 'fp16'], /dtype: expected fp32, int8 on reference, got "fp16"/],
  ])('usage error, exit code 2: %j', async (args, message) => {
    const { status, error } = await run(...args);
    expect(error).toMatch(message);
    expect(error).toMatch(/^error: .*\nSee --help\.\n$/);
    expect(status).toBe(2);
  });
  test('--help', async () => {
    const { status, out } = await run('--help');
    expect(status).toBe(0);
    expect(out).toContain('$ bertlet evaluate dev-v2.0.json --limit 200');
  });
});

describe('files of SQuAD', () => {
  const parse = (content: unknown) => parseSquad(JSON.stringify(content), 'x.json');
  test('questions, their passages and answers', () => {
    const { format, questions } = parse(squad(2));
    expect([format, questions.length]).toEqual(['2.0', 8]);
    expect(questions[1]).toEqual({
      ...{ id: '0-1', question: 'what was b?', context: 'in the 0 blue boat on the sea', answers: [], article: 0 },
    });
    expect(questions[4]).toMatchObject({ id: '1-0', answers: ['blue boat', 'the boat'], article: 1 });
    expect(parse(squad(1, '1.1')).format).toBe('1.1');
  });
  /** The file with one thing changed. */
  type Qa = Record<string, unknown>;
  const changed = (change: (qas: Qa[], paragraph: Qa) => void) => {
    const content = squad(2);
    const paragraph = content.data[1]!.paragraphs[0]!;
    change(paragraph.qas, paragraph);
    return content;
  };
  const at = 'x\\.json: data\\[1\\]\\.paragraphs\\[0\\]';
  test.each<[unknown, string]>([
    [null, 'x\\.json: data: expected an array, got nothing'],
    [{ data: {} }, 'x\\.json: data: expected an array, got an object'],
    [{ data: [3] }, 'x\\.json: data\\[0\\]: expected an object, got a number'],
    [{ data: [] }, 'x\\.json: data: expected questions, got none'],
    [changed((_, paragraph) => delete paragraph.context), `${at}\\.context: expected a string, got nothing`],
    [changed((qas) => delete qas[2]!.id), `${at}\\.qas\\[2\\]\\.id: expected a string`],
    [
      changed((qas) => Object.assign(qas[2]!, { id: '0-0' })),
      `${at}\\.qas\\[2\\]\\.id: expected an id that no other question has, got 0-0 again`,
    ],
    [
      changed((qas) => Object.assign(qas[2]!, { question: 1 })),
      `${at}\\.qas\\[2\\]\\.question: expected a string, got a number`,
    ],
    [
      changed((qas) => Object.assign(qas[2]!, { answers: null })),
      `${at}\\.qas\\[2\\]\\.answers: expected an array, got null`,
    ],
    [
      changed((qas) => Object.assign(qas[2]!, { answers: [{}] })),
      `${at}\\.qas\\[2\\]\\.answers\\[0\\]\\.text: expected a string`,
    ],
    [
      changed((qas) => Object.assign(qas[2]!, { answers: [] })),
      `${at}\\.qas\\[2\\]\\.answers: expected at least one, or is_impossible: true`,
    ],
    [
      changed((qas) => Object.assign(qas[2]!, { is_impossible: true })),
      `${at}\\.qas\\[2\\]\\.answers: expected none, as is_impossible is true, got 2`,
    ],
    [
      changed((qas) => Object.assign(qas[2]!, { is_impossible: 'no' })),
      `${at}\\.qas\\[2\\]\\.is_impossible: expected a boolean, got a string`,
    ],
  ])('%#: %s', (content, message) => expectError('file', new RegExp(`^${message}`), () => parse(content)));
  test('without is_impossible a question has an answer if it has some, as in the official script', () => {
    const [all, some] = [squad(2), squad(2)];
    for (const { paragraphs } of all.data) {
      for (const qa of paragraphs.flatMap(({ qas }) => qas)) delete (qa as Qa).is_impossible;
    }
    delete (some.data[1]!.paragraphs[0]!.qas[1] as Qa).is_impossible;
    expect(parse(all)).toEqual(parse(squad(2)));
    expect(parse(some)).toEqual(parse(squad(2)));
    expect(parse(all).format).toBe('2.0');
  });
  test('no JSON', () => expectError('file', /^x\.json: expected JSON, got /, () => parseSquad('{"data": [', 'x.json')));
});

describe('sample', () => {
  /** Articles of given numbers of questions with and without an answer. */
  const questions = (...articles: [has: number, none: number][]): Question[] =>
    articles.flatMap(([has, none], article) =>
      Array.from({ length: has + none }, (_, i) => {
        const answers = i < has ? ['x'] : [];
        return { id: `${article}-${i}`, question: 'q', context: 'c', answers, article };
      }),
    );
  const counts = (chosen: Question[], articles: number) =>
    Array.from({ length: articles }, (_, article) => chosen.filter((question) => question.article === article).length);
  const has = (chosen: Question[]) => chosen.filter(({ answers }) => answers.length > 0).length;

  test('with an answer as in the file, articles alike, in the order of the file', () => {
    const all = questions([30, 30], [6, 12], [40, 20], [10, 50]);
    for (const limit of [1, 7, 40, 100]) {
      const chosen = sample(all, limit, 1);
      expect(chosen.length).toBe(limit);
      expect(has(chosen)).toBe(Math.round((limit * 86) / 198));
      expect(chosen).toEqual(all.filter((question) => chosen.includes(question)));
      const each = counts(chosen, 4);
      if (limit < 60) expect(Math.max(...each) - Math.min(...each), `${each}`).toBeLessThanOrEqual(1);
      else expect(each[1]).toBe(18); // it has no more
    }
  });
  test('a seed gives the same, another seed others', () => {
    const all = questions([30, 30], [30, 30]);
    expect(sample(all, 20, 5)).toEqual(sample(all, 20, 5));
    expect(sample(all, 20, 5)).not.toEqual(sample(all, 20, 6));
  });
  test('every question is as likely', () => {
    const all = questions([5, 5], [5, 5]);
    const times = new Map<string, number>();
    for (let seed = 1; seed <= 1000; seed++) {
      for (const { id } of sample(all, 4, seed)) times.set(id, (times.get(id) ?? 0) + 1);
    }
    expect(times.size).toBe(20); // each 200 times, give or take five standard deviations of 12.6
    for (const [id, count] of times) expect(Math.abs(count - 200), id).toBeLessThan(64);
  });
  test('all, where the limit is not less', () => expect(sample(questions([2, 1]), 3, 1)).toEqual(questions([2, 1])));
});

describe('predictions', () => {
  const header: Header = {
    version: 1,
    dataset: { name: 'd', sha256: 'd1' },
    model: { name: 'm', sha256: 'm1' },
    options: { maxTokens: 384 },
  };
  const answered = { text: 'é “x”\n', noAnswerScore: -0.1, windows: 2, milliseconds: 1.5 };
  test("a file is one run's at a time", () => {
    const file = fresh('jsonl');
    const first = new Predictions(file, header);
    expect(() => new Predictions(file, header)).toThrow(/no other run writes/);
    first.close();
    new Predictions(file, header).close();
  });
  test('what is added is there again, a torn line is dropped, wherever it is torn', () => {
    const file = fresh('jsonl');
    const first = new Predictions(file, header);
    first.add('a', '1', answered);
    first.add('b', '1', { ...answered, text: '' });
    first.close();
    const bytes = readFileSync(file);
    const ends = [...bytes.keys()].filter((i) => bytes[i] === 10);
    for (let length = 0; length <= bytes.length; length++) {
      writeFileSync(file, bytes.subarray(0, length));
      const opened = new Predictions(file, header);
      const whole = ends.filter((end) => end < length).length;
      expect(opened.get('a', '1'), `${length}`).toEqual(whole >= 2 ? answered : undefined);
      expect(opened.get('b', '1')).toEqual(whole >= 3 ? { ...answered, text: '' } : undefined);
      opened.add('c', '2', answered);
      opened.close();
      const again = new Predictions(file, header);
      expect(again.get('c', '2')).toEqual(answered);
      again.close();
    }
  });
  test.each<[string, object, RegExp]>([
    [
      'dataset',
      { dataset: { name: 'd', sha256: 'd2' } },
      /: expected predictions of dataset d2, got d1\. Give another file/,
    ],
    ['model', { model: { name: 'm', sha256: 'm2' } }, /: expected predictions of model m2, got m1/],
    ['options', { options: { maxTokens: 256 } }, /: expected predictions of maxTokens 256, got 384/],
  ])('another %s', (_, other, message) => {
    const file = fresh('jsonl');
    new Predictions(file, header).close();
    new Predictions(file, { ...header, dataset: { name: 'moved', sha256: 'd1' } }).close(); // a name decides nothing
    return expectError('file', message, () => new Predictions(file, { ...header, ...other }));
  });
  test.each([
    ['{"data": []}\n', /line 1: expected the header of a file of predictions/],
    ['hello\n', /line 1: expected JSON, got "hello"/],
    [`${JSON.stringify(header)}\n{"va\n{}\n`, /line 2: expected JSON/],
    ...[{ noAnswerScore: Number.NaN }, { windows: '1' }, { milliseconds: undefined }].map(
      (wrong) =>
        [
          `${JSON.stringify(header)}\n${JSON.stringify({ variant: 'a', id: '1', ...answered, ...wrong })}\n`,
          /line 2: expected a prediction with its numbers, got \{"variant"/,
        ] as [string, RegExp],
    ),
    [`${JSON.stringify(header)}\nNaN\n`, /line 2: expected JSON/],
    [`${JSON.stringify(header)}\nnull\n`, /line 2: expected a prediction with its numbers, got null/],
  ] as [string, RegExp][])('another file: %j', (content, message) => {
    const file = fresh('jsonl');
    writeFileSync(file, content);
    return expectError('file', message, () => new Predictions(file, header));
  });
});

describe('turns', () => {
  const asked: string[] = [];
  const answerer = (name: string, text: string): Answerer => ({
    name,
    answer: async ({ id }) => {
      asked.push(`${name} ${id}`);
      return { text, noAnswerScore: -1, windows: 2, milliseconds: 4 };
    },
  });
  const questions = ['1', '2', '3', '4', '5'].map((id) => ({
    id,
    question: '',
    context: '',
    answers: ['x y'],
    article: 0,
  }));
  const kept = () => new Predictions(undefined, {} as never);

  test('some questions each, the first of each once more', async () => {
    const predictions = kept();
    predictions.add('a', '2', { text: '', noAnswerScore: 0, windows: 1, milliseconds: 0 });
    let answers = 0;
    const step = () => {
      answers++;
    };
    await takeTurns([answerer('a', 'x'), answerer('b', 'x')], questions, predictions, step, 2);
    expect(asked.join(', ')).toBe('a 1, a 1, b 1, b 1, b 2, a 3, a 4, b 3, b 4, a 5, b 5');
    expect(answers).toBe(9);
  });
  test('as many at the same time as an answerer has workers, each of them warm', async () => {
    let [now, most, all] = [0, 0, 0];
    const busy: Answerer = {
      name: 'c',
      workers: 3,
      answer: async () => {
        all++;
        most = Math.max(most, ++now);
        await sleep(1);
        now--;
        return { text: 'x', noAnswerScore: -1, windows: 1, milliseconds: 1 };
      },
    };
    await takeTurns([busy], questions, kept());
    expect([most, all]).toEqual([3, 3 + 5]);
  });
  test('the milliseconds of answers at the same time add up to no more than the time that passed', async () => {
    const variant = { device: 'cpu', dtype: 'int8', scheme: 'torch' } as const;
    const { answer, dispose } = await loadVariant(TINY, variant, { workers: 3 });
    const input = { question: 'what was it', context: 'the blue boat on the sea '.repeat(9), answers: [], article: 0 };
    const begin = performance.now();
    const answered = await Promise.all(Array.from({ length: 12 }, (_, id) => answer({ id: `${id}`, ...input })));
    const passed = performance.now() - begin;
    await dispose();
    expect(answered.reduce((sum, { milliseconds }) => sum + milliseconds, 0)).toBeLessThanOrEqual(passed);
    expect(new Set(answered.map(({ windows }) => windows)).size).toBe(1);
  });
  test('results: speed, and the difference to fp32', async () => {
    const predictions = kept();
    await takeTurns([answerer('int8', 'x'), answerer('fp32', 'x y')], questions, predictions);
    const settings = { format: '1.1', threshold: 0, seed: 1 } as const;
    const [int8, fp32] = resultsOf(['int8', 'fp32'], questions, predictions, settings);
    expect(int8).toMatchObject({ questionsPerSecond: 250, windowsPerSecond: 500, windows: 10 });
    expect(fp32).toMatchObject({ figures: { exact: 100, f1: 100, total: 5 } });
    expect(fp32!.difference).toBeUndefined();
    expect(int8!.difference!.to).toBe('fp32');
    for (const part of ['f1', 'low', 'high'] as const) expect(int8!.difference![part]).toBeCloseTo(-100 / 3, 10);
  });
  test('variants: int8 with each scheme', () => {
    expect(variantsOf(['cpu', 'webgpu'], ['fp32', 'int8'], ['torch', 'accurate'])).toEqual(
      (['cpu', 'webgpu'] as const).flatMap((device) => [
        { device, dtype: 'fp32' },
        { device, dtype: 'int8', scheme: 'torch' },
        { device, dtype: 'int8', scheme: 'accurate' },
      ]),
    );
  });
  test('variants of an int8 checkpoint: what it is, and nothing else', async () => {
    const all = [['cpu'], ['fp32', 'int8'], ['torch', 'accurate']] as const;
    const of = (stored: 'torch' | 'accurate', schemes = [...all[2]]) =>
      variantsOf([...all[0]], [...all[1]], schemes, stored);
    expect(of('accurate')).toEqual([{ device: 'cpu', dtype: 'int8', scheme: 'accurate' }]);
    await expectError('input', /expected int8 accurate, the checkpoint's, got others/, () => of('accurate', ['torch']));
  });
});
