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

const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');

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
  const hub = program === 'qa' ? CHECKPOINT : TINY; // the Hub itself: hub.test.ts; the article's question is long
  const inReadme = (line: string) => readme.includes(`\nnpm run ${line.replace(' ', ' -- ')}\n`);
  test.each(examples.filter((line) => !inReadme(line)))('%s', async (line) => {
    // those are run by readme.test.ts
    const [, command, , input] = /^(.*?)( < (\S+)| > \S+)?$/.exec(line)!;
    const args = wordsOf(command!).map((word) => (word.startsWith('deepset/') ? hub : word));
    const model = program === 'qa' && !args.includes('--model') ? ['--model', TINY] : [];
    const { status, out, error } = await runProgram([...args, ...short(program, args), ...model], {
      input: input ? readFileSync(input, 'utf8') : '',
    });
    expect(status, error).toBe(0);
    if (args.includes('--json')) expect(args.at(-1) === '--json' ? JSON.parse(out) : out).toBeTruthy();
  });
});
