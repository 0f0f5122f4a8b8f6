/**
 * `bertlet answer` as a program: its lines are those of `answer`, in order, whatever the workers and whenever it is
 * killed. BERTLET_LINES=100000 asks for more of them than a commit can wait for.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Pool } from '../bench/pool.ts';
import { uniform } from '../kernels/op.ts';
import { linesOf } from '../programs/lines.ts';
import { main } from '../programs/main.ts';
import { type Answer, BertletError, load } from '../src/index.ts';
import { ROOT, runProgram, spawnProgram, TINY } from './support.ts';

const LINES = Number(process.env.BERTLET_LINES ?? 400);
const folder = mkdtempSync(join(tmpdir(), 'bertlet-'));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
const fresh = () => join(folder, `${files++}.jsonl`);
function written(content: string | Buffer) {
  const file = fresh();
  writeFileSync(file, content);
  return file;
}
const ARGS = ['--model', TINY];
const run = (...args: string[]) => runProgram(['answer', ...ARGS, ...args]);
const objects = (out: string) =>
  out
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));

const next = uniform(19);
const WORDS = 'the of and to in is was red blue boat town clock sea a b c é \u2028 “x” x7'.split(' ');
const words = (most: number) =>
  Array.from({ length: 1 + Math.floor(next() * most) }, () => WORDS[Math.floor(next() * WORDS.length)]).join(' ');

interface Asked {
  id?: unknown;
  question?: string;
  context?: string;
  contexts?: string[];
}
/** A line, one in ten of several passages and one in twenty wrong. */
function generated(i: number): string {
  const asked: Asked = { id: i % 3 ? i : `“${i}”`, question: `what ${words(6)}?` };
  if (i % 10 === 0) asked.contexts = [words(30), '', words(100)];
  else asked.context = words(60);
  if (i % 40 === 7) return `{"id": ${i}, "question": `;
  if (i % 40 === 27) asked.question = ' ';
  return JSON.stringify(asked);
}

/** What a line must become, by `answer` alone. */
async function expected(qa: Awaited<ReturnType<typeof load>>, line: string, number: number): Promise<string> {
  let id: unknown = null;
  try {
    const { question, context, contexts, ...asked } = JSON.parse(line);
    ({ id } = asked);
    if (!contexts) return JSON.stringify({ id, answers: await qa.answer({ question, context, topK: 2 }) });
    const margin = (a: Answer) => a.startLogit + a.endLogit - a.nullScore;
    const all: (Answer & { context: number })[] = [];
    for (const [i, one] of contexts.entries()) {
      const answers = await qa.answer({ question, context: one, topK: 2 });
      all.push(...answers.map(({ text, ...answer }) => ({ text, context: i, ...answer })));
    }
    const spans = all.filter((a) => !a.noAnswer).sort((a, b) => margin(b) - margin(a));
    const none = all.find((a) => a.noAnswer && a.context === (spans[0]?.context ?? 0));
    const better = spans.filter((a) => margin(a) > 0);
    const best = none && better.length < 2 ? [...better, none, ...spans.slice(better.length)] : spans;
    return JSON.stringify({ id, answers: best.slice(0, 2) });
  } catch (error) {
    const message =
      error instanceof BertletError ? error.message : `line: expected JSON in UTF-8, got ${(error as Error).message}.`;
    return JSON.stringify({ id, line: number, error: message });
  }
}

let [questions, answers] = ['', ''];
let questionFile = '';
beforeAll(async () => {
  const lines = Array.from({ length: LINES }, (_, i) => generated(i));
  const qa = await load(TINY, { threads: 1 });
  const out: string[] = [];
  for (const [i, line] of lines.entries()) out.push(`${await expected(qa, line, i + 1)}\n`);
  await qa.dispose();
  [questions, answers] = [`${lines.join('\n')}\n`, out.join('')];
  questionFile = written(questions);
});

test("the scheme where none is said is load's, and the help says which", async () => {
  await using qa = await load(TINY, { threads: 1 });
  const { out } = await runProgram(['answer', '--help']);
  expect(out.replace(/\s+/g, ' ')).toContain(`int8 only; default ${qa.info.scheme}, or`);
});

describe('the lines', () => {
  test.each(['1', '2', '3'])('%s workers: as one by one, in order', async (workers) => {
    const { status, out, error } = await run(questionFile, '--workers', workers, '--top-k', '2');
    expect(out === answers).toBe(true); // not toBe: a difference of 100,000 lines takes minutes to show
    expect(status).toBe(1);
    expect(error).toBe(
      `BertletError (file): lines: expected ${LINES} that can be answered, got ${LINES / 20} that cannot. Each has its "error" in the output.\n`,
    );
  });
  test('from a pipe to a pipe, without a line end at last', () => {
    const few = questions.split('\n').slice(0, 5).join('\n');
    const { status, out, error } = spawnProgram(['answer', ...ARGS, '--top-k', '2'], { input: few });
    expect([status, error]).toEqual([0, '']);
    expect(out).toBe(`${answers.split('\n').slice(0, 5).join('\n')}\n`);
  });
  test('a line is what ends in a line feed, wherever the chunks end', async () => {
    const bytes = Buffer.from('a\u2028é\n\r\n\nlast');
    for (const size of [1, 2, 3, 100]) {
      const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
        bytes.subarray(i * size, (i + 1) * size),
      );
      const lines = await Readable.from(linesOf(Readable.from(chunks))).toArray();
      expect(lines.map((line) => [line.number, line.bytes.toString(), line.whole])).toEqual([
        [1, 'a\u2028é', true],
        [2, '\r', true],
        [3, '', true],
        [4, 'last', false],
      ]);
    }
  });
  test.each<[string, string | Buffer, object]>([
    ['digits of an id', '{"id":123456789012345678901,"question":"a","context":"b"}', { id: 123456789012345680000 }],
    ['no id, a line end of Windows', '{"question":"a","context":"b"}\r', { id: null, answers: [{ start: 0 }] }],
    ['other fields', '{"id":"x","title":"y","question":"a","context":"b"}', { id: 'x', answers: [{ start: 0 }] }],
    ['half a line', '{', { id: null, line: 1, error: /^line: expected JSON in UTF-8, got Expected property name/ }],
    ['no UTF-8', Buffer.from([0x22, 0xff, 0x22]), { id: null, line: 1, error: /^line: expected JSON in UTF-8, got/ }],
    ['no object', '[1]', { error: 'line: expected a JSON object, got an array of 1.' }],
    ['no question', '{"id":1,"context":"b"}', { id: 1, error: 'question: expected a string, got nothing.' }],
    [
      'no passage',
      '{"id":1,"question":"b"}',
      { error: /^context: expected a string, got nothing\. Or give `contexts`/ },
    ],
    ['both', '{"question":"b","context":"c","contexts":["d"]}', { error: /^context: expected nothing beside/ }],
    [
      'no passages',
      '{"question":"b","contexts":[]}',
      { error: /^contexts: expected an array of strings, one or more, got an array of 0\.$/ },
    ],
    ['a long question', `{"question":"${'a '.repeat(99)}","context":"c"}`, { error: /^question: expected at most/ }],
  ])('%s', async (_, line, want) => {
    const { status, out } = await run(written(Buffer.concat([Buffer.from(line), Buffer.from('\n')])));
    const [got] = objects(out);
    expect(status).toBe('error' in want ? 1 : 0);
    for (const [key, value] of Object.entries(want)) {
      if (value instanceof RegExp) expect(got[key]).toMatch(value);
      else expect(got).toMatchObject({ [key]: value });
    }
    if (_ === 'digits of an id') expect(out).toMatch(/^\{"id":123456789012345678901,/);
  });
  test('blank lines are skipped, with and without CR, and counted', async () => {
    const [one, two] = ['{"id":1,"question":"a","context":"b"}', '{"id":2,"question":"a","context":"c"}'];
    const plain = (await run(written(`${one}\n${two}\n`))).out;
    for (const blanks of ['\n', '\r\n', ' \t\r\n\n']) {
      const { status, out } = await run(written(`${blanks}${one}\r\n${blanks}${two}\n${blanks}`));
      expect([status, out]).toEqual([0, plain]);
    }
    const { out } = await run(written(`\n\r\n{\n`));
    expect(objects(out)).toMatchObject([{ line: 3 }]);
    expect((await run(written('\n\r\n'))).out).toBe('');
    const [file, target] = [written(`${one}\n\n\r\n${two}\n`), join(folder, 'blank.jsonl')];
    writeFileSync(target, plain.slice(0, plain.indexOf('\n') + 3)); // stopped in the second answer
    expect((await run(file, '--out', target, '--resume')).status).toBe(0);
    expect(readFileSync(target, 'utf8')).toBe(plain);
  });
  test('several passages: "no answer" once, where the threshold puts it', async () => {
    const line = written(
      `${JSON.stringify({ id: 1, question: 'who was it', contexts: ['red boat', 'the sea', 'a'] })}\n`,
    );
    const first = async (threshold: string) =>
      objects((await run(line, '--top-k', '5', '--threshold', threshold)).out)[0].answers as Found[];
    type Found = Answer & { context: number };
    for (const [threshold, at] of [
      ['-1e9', 0],
      ['1e9', 4],
    ] as const) {
      const found = await first(threshold);
      const spans = found.filter((a) => !a.noAnswer).map((a) => a.startLogit + a.endLogit - a.nullScore);
      expect(spans).toEqual(spans.toSorted((a, b) => b - a));
      if (threshold === '-1e9') expect(found.findIndex((a) => a.noAnswer)).toBe(at);
      else expect(found.some((a) => a.noAnswer)).toBe(false);
      expect(found.filter((a) => a.noAnswer).length).toBeLessThanOrEqual(1);
      expect(new Set(found.map((a) => a.context)).size).toBeGreaterThan(1);
    }
  });
});

test('a pool lends each model to one at a time, and the first who waits is the first who has one', async () => {
  const pool = await Pool.load(TINY, { workers: 2 });
  const [order, now] = [[] as number[], new Set<unknown>()];
  const use = (i: number) =>
    pool.use(async (model) => {
      order.push(i);
      expect(now.has(model)).toBe(false);
      now.add(model);
      await model.answer({ question: 'a', context: 'b c' });
      now.delete(model);
    });
  await Promise.all([0, 1, 2, 3, 4, 5].map(use));
  expect(order).toEqual([0, 1, 2, 3, 4, 5]);
  await expect(pool.use(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
  await Promise.all([use(6), use(7)]); // who failed has given it back
  await pool.dispose();
});

test('--allow-failed: exit code 0 although lines failed, but not where there is no model', async () => {
  const bad = written('no JSON\n');
  expect(await run(bad, '--allow-failed')).toMatchObject({ status: 0, error: '' });
  expect(await runProgram(['answer', bad, '--allow-failed', '--model', './nowhere'])).toMatchObject({
    status: 1,
    out: '',
  });
});

test('on a terminal: how far, how fast, how long', async () => {
  const shown = async (input: string, ...args: string[]) => {
    const stderr = Object.assign(new PassThrough(), { isTTY: true, columns: 200, rows: 20 });
    const io = { stdin: Readable.from([input]), stdout: new PassThrough(), stderr };
    await main(['answer', ...ARGS, '--allow-failed', ...args], io);
    return text(stderr.end());
  };
  expect(await shown('', questionFile)).toMatch(/\d+ %, \d+ lines, [\d.-]+\/s, .* left/);
  expect(await shown(questions)).toMatch(/\d+ lines, [\d.-]+\/s/); // how much is to come nobody knows
});

describe('an output file', () => {
  const args = ['--top-k', '2'];
  test('goes on after a cut at any byte', async () => {
    const few = written(questions.split('\n').slice(0, 9).join('\n'));
    const want = Buffer.from(`${answers.split('\n').slice(0, 9).join('\n')}\n`);
    const out = fresh();
    const ends = [...want.keys()].filter((i) => want[i] === 10).flatMap((i) => [i, i + 1]);
    const cuts = [0, 1, 3, ...ends, ...Array.from({ length: 5 }, () => Math.floor(next() * want.length))];
    for (const cut of cuts) {
      writeFileSync(out, want.subarray(0, cut));
      const { status } = await run(few, ...args, '--out', out, '--resume');
      expect(readFileSync(out).equals(want), `${cut}`).toBe(true);
      expect(status, `${cut}`).toBe(1); // of the line that failed, be it of this run or of one before
    }
  });
  test('kill -9 at three random moments', async () => {
    const out = fresh();
    const size = Buffer.byteLength(answers);
    const command = ['programs/main.ts', 'answer', questionFile, ...ARGS, ...args, '--out', out, '--resume'];
    const written = () => (existsSync(out) ? statSync(out).size : 0);
    let child: ChildProcess;
    for (let kills = 0; kills < 3; kills++) {
      child = spawn(process.execPath, command, { cwd: ROOT, stdio: 'ignore' });
      const gone = new Promise((done) => child.on('exit', done));
      const until = written() + next() * (size / 6);
      while (written() < until && child.exitCode === null) await sleep(1);
      child.kill('SIGKILL');
      await gone;
    }
    const { status } = spawnProgram(command.slice(1));
    expect(status).toBe(1);
    expect(readFileSync(out, 'utf8') === answers).toBe(true);
  });
  test.each<[string, (out: string) => string[], RegExp]>([
    ['one is there', () => [], /\(file\): .*: expected no file, got one\. Go on with it by --resume, or remove it\./],
    [
      'other options',
      () => ['--resume'],
      /jsonl: line 3: expected the answer that this call gives, got another\. Go on with/,
    ],
    [
      'fewer questions',
      () => ['--resume', '--top-k', '2', '--fewer'],
      /jsonl: line 3: expected the answer that this call gives/,
    ],
    ['no file', () => ['--resume', '--none'], /--resume: expected a file to go on with, got none\. Give --out\./],
  ])('%s', async (_, more, message) => {
    const out = written(`${answers.split('\n').slice(0, 3).join('\n')}\n`);
    const before = readFileSync(out);
    const asked = more(out);
    const few = written(
      questions
        .split('\n')
        .slice(0, asked.includes('--fewer') ? 2 : 4)
        .join('\n'),
    );
    const options = asked.filter((option) => option !== '--fewer' && option !== '--none');
    const { status, error } = await run(few, ...options, ...(asked.includes('--none') ? [] : ['--out', out]));
    expect(status).toBe(asked.includes('--none') ? 2 : 1); // a wrong call
    expect(error).toMatch(message);
    expect(readFileSync(out).equals(before)).toBe(true);
  });
  test.each(['no JSON\n', '{"id":1}\n', 'no lines', '[]\n'])('another file is left alone: %j', async (content) => {
    const out = written(content);
    const { status, error } = await run(questionFile, '--out', out, '--resume');
    expect([status, readFileSync(out, 'utf8')]).toEqual([1, content]);
    expect(error).toMatch(/jsonl: line 1: expected /);
  });
});

describe('a stream', () => {
  const start = (...args: string[]) =>
    spawn(process.execPath, ['programs/main.ts', 'answer', ...ARGS, ...args], { cwd: ROOT });
  test('who reads no more ends it', async () => {
    const child = start();
    child.stdin.on('error', () => {}); // it is written to until it has ended
    Readable.from(endless()).pipe(child.stdin);
    const stderr = text(child.stderr);
    child.stdout.once('data', () => child.stdout.destroy());
    const status = await new Promise((done) => child.on('exit', done));
    expect([status, await stderr]).toEqual([0, '']);
  });
  test('waits for its reader, and its memory is flat', async () => {
    const child = start('--workers', '1');
    const rss = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))![1]) / 1024;
    const line = Buffer.from(`${' '.repeat(20_000)}no JSON\n`);
    let given = 0;
    async function* many() {
      for (; given < 12_000; given++) yield line;
    }
    Readable.from(many()).pipe(child.stdin);
    await once(child.stdout, 'readable'); // it is at work
    for (let before = -1; before !== given; ) {
      before = given;
      await sleep(500);
    }
    expect(given).toBeLessThan(4_000); // nobody reads: it has stopped
    let [count, peak] = [0, 0];
    for await (const { number } of linesOf(child.stdout)) {
      if (number % 1000 === 0 && number <= 10_000) peak = Math.max(peak, rss()); // at the end it may be gone
      count = number;
    }
    expect([count, given]).toEqual([12_000, 12_000]);
    expect(peak).toBeLessThan(350); // MB, of 240 MB that went through; buffers are garbage for a while
  });
  async function* endless() {
    for (;;) yield '{"question":"a","context":"b"}\n';
  }
});
