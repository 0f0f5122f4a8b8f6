/** The help of each program: it fits a screen, and its examples run. */
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { filesOfExamples, short, wordsOf } from './commandLines.ts';
import { CHECKPOINT, ROOT, runProgram, TINY } from './support.ts';

const { out: overview } = await runProgram(['--help']);
const names = [...overview.matchAll(/^ {2}(\w+) .*(?:\[options\]|\[command\])/gm)].map(([, name]) => name!);
const programs = names.filter((name) => name !== 'help');
const helps = await Promise.all(
  programs.map(async (name) => [name, (await runProgram([name, '--help'])).out] as const),
);

/** What the examples of a program answer: the first whose beginning is in the line. */
const ANSWERS: Record<string, [part: string, answer: string][]> = {
  qa: [
    ['Who wrote', 'Ada'],
    ['', 'New York Times'],
  ],
  answer: [['', 'Ada']],
};
/** Where a program says its answers: all of them, in all precisions. */
const SAID: Record<string, RegExp> = {
  qa: /score [\d.]+: (?:"(.*)"|the text does not say)/g,
  answer: /"answers":\[\{"text":"(.*?)"/g,
};

const documents = ['README.md', 'docs/use.md'].map((name) => readFileSync(join(ROOT, name), 'utf8')).join('');

const folder = mkdtempSync(join(tmpdir(), 'bertlet-help-'));
beforeAll(() => {
  filesOfExamples(folder);
  cpSync(TINY, join(folder, 'checkpoint'), { recursive: true });
  process.chdir(folder); // the paths of the examples are relative
});
afterAll(() => {
  process.chdir(ROOT);
  rmSync(folder, { recursive: true });
});

test('there are programs, and the overview fits a screen', () => {
  expect(programs).toEqual(expect.arrayContaining(['qa', 'evaluate', 'convert', 'bench', 'explain']));
  expect(overview.split('\n').length).toBeLessThanOrEqual(25);
});

describe.each(helps)('%s --help', (program, help) => {
  test('fits a screen, 40 lines of 80 characters, and has no path of this machine', () => {
    const lines = help.split('\n');
    expect(lines.length).toBeLessThanOrEqual(40);
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    expect(help).not.toContain(ROOT);
  });

  const examples = [...help.matchAll(/^ {2}\$ bertlet (.*)$/gm)].map(([, line]) => line!);
  test('has examples', () => expect(examples.length).toBeGreaterThan(1));
  const isThere = (line: string) => documents.includes(`\nnpm run ${line.replace(' ', ' -- ')}\n`); // readme.test.ts
  test.each(examples.filter((line) => !isThere(line)))('%s', async (line) => {
    const [, command, , input] = /^(.*?)( < (\S+)| > \S+)?$/.exec(line)!;
    const answers = ANSWERS[program]; // by the embedded model; the others compute, and a tiny model is enough for that (explain: docs.test.ts)
    const hub = answers ? CHECKPOINT : TINY; // the Hub itself: hub.test.ts
    const args = wordsOf(command!).map((word) => (word.startsWith('deepset/') ? hub : word));
    const here = answers ? (program === 'qa' ? short(program) : []) : short(program, args);
    const given = [...args, ...here].map((word, i, all) =>
      all[i - 1] === '--device' && program === 'qa' ? 'cpu' : word,
    );
    const { status, out, error } = await runProgram(given, { input: input ? readFileSync(input, 'utf8') : '' });
    expect(status, error).toBe(0);
    if (args.includes('--json')) expect(args.at(-1) === '--json' ? JSON.parse(out) : out).toBeTruthy();
    if (!answers) return;
    const [, want] = answers.find(([part]) => line.includes(part))!;
    const written = args.includes('--out') ? readFileSync(args[args.indexOf('--out') + 1]!, 'utf8') : out;
    expect(new Set([...written.matchAll(SAID[program]!)].map(([, text]) => text))).toEqual(new Set([want]));
  });
});
