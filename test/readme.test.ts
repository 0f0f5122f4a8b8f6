/** The commands of README and docs/use.md: each is run, or is run by the test or the step of CI that is named here. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkpointBytes } from '../bench/layout.ts';
import { SHAPES } from '../bench/shapes.ts';
import packageJson from '../package.json' with { type: 'json' };
import { type Answer, load, type QuestionAnswering } from '../src/index.ts';
import { filesOfExamples, short, wordsOf } from './commandLines.ts';
import { CHECKPOINT, ROOT, runProgram } from './support.ts';

const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
const use = readFileSync(join(ROOT, 'docs/use.md'), 'utf8');
const commands = [...`${readme}${use}`.matchAll(/```sh\n(.*?)```/gs)]
  .flatMap(([, block]) => block!.trim().split('\n'))
  .map((line) => line.replace(/ +#.*/, ''));

/** README is read in two minutes. */
const MOST_LINES = 160;
/** Run elsewhere, by the file that is named. */
const ELSEWHERE: Record<string, string> = {
  'npm install && npm run qa': '.ci/run',
  'npm install && npm test': '.ci/run',
  'npm run web': 'test/web.test.ts',
  'npm install && npm pack': 'test/package.test.ts',
  [`npm install ./bertlet-${packageJson.version}.tgz`]: 'test/package.test.ts',
};
const folder = mkdtempSync(join(tmpdir(), 'bertlet-readme-'));
beforeAll(() => {
  filesOfExamples(folder);
  process.chdir(folder); // the commands' paths are relative
});
afterAll(() => {
  process.chdir(ROOT);
  rmSync(folder, { recursive: true });
});

test('there are commands, and those that are run elsewhere are there', () => {
  expect(commands.length).toBeGreaterThan(8);
  for (const [command, by] of Object.entries(ELSEWHERE))
    expect([commands, existsSync(join(ROOT, by))]).toEqual([expect.arrayContaining([command]), true]);
});

test.each(commands.filter((command) => !(command in ELSEWHERE)))('%s', async (command) => {
  const [, script, rest = ''] = /^npm run (\S+)(?: -- (.*))?$/.exec(command) ?? [];
  expect(packageJson.scripts).toHaveProperty(script!, `node programs/main.ts ${script}`);
  const args = wordsOf(rest);
  const here = args.map((arg) => (arg === 'deepset/bert-base-cased-squad2' ? CHECKPOINT : arg)); // the Hub: hub.test.ts
  const { status, error } = await runProgram([script!, ...here, ...short(script!)]);
  expect(status, error).toBe(0);
  for (const made of [
    'explain.html',
    'dev.json',
    'answers.jsonl',
    'out/index.html',
    'weights/bert-base-cased-squad2/model.safetensors',
  ]) {
    if (
      rest.includes(made.replace(/(index.html|\/model.safetensors)$/, '')) &&
      args.some((arg) => /^--(report|json|out)$/.test(arg))
    ) {
      expect(existsSync(join(folder, made)), made).toBe(true);
    }
  }
});

test('Coming from transformers.js: the new lines run', async () => {
  const [, diff] = /### Coming from transformers\.js\n\n```diff\n(.*?)```/s.exec(readme)!;
  const added = [...diff!.matchAll(/^\+(?!import)(.*)/gm)].map(([, line]) => line!.replace(/'distilbert.*?'/, 'model'));
  const given = {
    load,
    model: CHECKPOINT,
    question: 'Who wrote the program?',
    context: 'Ada wrote the first program in 1843.',
  };
  const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;
  const code = new AsyncFunction(...Object.keys(given), `${added.join('\n')}\nreturn { qa, best, three };`);
  const { qa, best, three }: { qa: QuestionAnswering; best: Answer; three: Answer[] } = await code(
    ...Object.values(given),
  );
  expect([added.length, qa.info.dtype, best.text, three.length]).toEqual([3, 'int8', 'Ada', 3]);
  await qa.dispose();
});

test("the article's sizes are those of bert-base-cased's files, and every block is one that is checked", () => {
  const megabytes = (precision: 'fp32' | 'torch') =>
    (checkpointBytes(SHAPES['bert-base-cased']!, precision) / 2 ** 20).toFixed(2);
  const printed = `FP32 Model Size: ${megabytes('fp32')} MB\nINT8 Model Size: ${megabytes('torch')} MB, embeddings in float32`;
  expect(use).toContain(`<!-- convert -->\n\`\`\`\n${printed}\n\`\`\`\n<!-- /convert -->`);
  const size = (precision: 'fp16' | 'torch') =>
    Math.round(checkpointBytes(SHAPES['minilm-l6']!, precision, 'F16') / 2 ** 20);
  expect(use).toContain(`${size('torch')} MB in int8 and ${size('fp16')} MB in float16`);
  // qa: cli.test.ts; what the first example prints: package.test.ts; ts: package.test.ts and docs.test.ts; diff: the same example, both devices in webgpu/checkpoint.ts
  const blocks = [...readme.matchAll(/^```(\w*)$/gm)].map(([, language]) => language).filter((_, i) => i % 2 === 0);
  const count = (language: string) => blocks.filter((each) => each === language).length;
  expect([count('ts'), count('diff'), count(''), count('sh')]).toEqual([2, 2, 1, 1]);
  expect(readme.trimEnd().split('\n').length).toBeLessThanOrEqual(MOST_LINES);
});
