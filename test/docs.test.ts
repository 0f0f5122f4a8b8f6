/** docs/quantization.md: its code is this code, its worked example is computed again, its figures are today's. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { tensor } from '../kernels/op.ts';
import {
  articlePictures,
  DOCUMENT,
  functionText,
  updated,
  WITH_RESULTS,
  withExamples,
  withFamilies,
} from '../scripts/docs.ts';
import { withResults } from '../scripts/results.ts';
import { readWhole } from '../src/files/index.ts';
import { blobs, type Files, folder, hub, site } from '../src/index.ts';
import { matmulInt8, quantizeActivations, quantizeWeight } from '../src/quantize.ts';
import type { Scheme } from '../src/runtime.ts';
import { ROOT } from './support.ts';

const document = readFileSync(DOCUMENT, 'utf8');

describe('quoted code', () => {
  const quoted = [...document.matchAll(/<!-- (\S+\.ts) (\w+) -->\n```ts\n(.*?)```/gs)].map(([, ...parts]) => parts);
  test('five functions', () => expect(quoted.length).toBe(5));
  test.each(quoted as [string, string, string][])('%s, %s: a verbatim part of the file', (file, name, code) => {
    expect(code).toMatch(new RegExp(`^(export )?function ${name}\\(`));
    expect(readFileSync(join(ROOT, file), 'utf8')).toContain(code);
  });
});

test('int8 alone, as docs/engine.md leads through it: at most 400 lines, its comments among them', () => {
  const path = readFileSync(join(ROOT, 'docs/engine.md'), 'utf8')
    .split('## int8 alone, in 400 lines')[1]!
    .split('\n## ')[0]!;
  const named = [...path.matchAll(/(?:`(\w+)` in )?\[((?:src|kernels)\/\S+)\]/g)];
  const texts = named.map(([, name, file]) =>
    name ? functionText(file!, name) : readFileSync(join(ROOT, file!), 'utf8'),
  );
  expect(texts.length).toBe(5);
  expect(texts.reduce((lines, text) => lines + text.split('\n').length, 0)).toBeLessThanOrEqual(400);
});

describe.each(['example', 'example-weight'])('worked %s', (what) => {
  const [, block] = new RegExp(`<!-- ${what} -->\\n\`\`\`\\n(.*?)\`\`\``, 's').exec(document)!;
  const [given, ...parts] = block!.split('\n\n');
  /** `name = numbers` of each line. */
  const numbers = (text: string) =>
    new Map(
      text.split('\n').flatMap((line) => {
        const [name, value] = line.split(/ += /);
        return value?.startsWith('[') ? [[name!, (JSON.parse(value) as number[]).flat()] as const] : [];
      }),
    );
  const { x, weight, bias, 'y, float32': y32 } = Object.fromEntries(numbers(given!));
  const X = tensor([2, 3], Float32Array.from(x!));
  const W = tensor([2, 3], Float32Array.from(weight!));
  const float32s = (values: number[]) => [...Float32Array.from(values)];
  test('float32', () => {
    const y = [0, 1].flatMap((row) =>
      [0, 1].map((column) =>
        [0, 1, 2].reduce((sum, k) => sum + X.data[row * 3 + k]! * W.data[column * 3 + k]!, bias![column]!),
      ),
    );
    expect(y32!.map((value, i) => Math.abs(value - y[i]!) < 1e-6)).toEqual(Array(4).fill(true));
  });
  test.each(['torch', 'accurate'] as const)('%s: every number', (scheme: Scheme) => {
    const shown = numbers(parts.find((part) => part.startsWith(scheme))!);
    const [xq, wq] = [quantizeActivations(X, scheme), quantizeWeight(W, scheme)];
    const [sums, dots, acc, y] = [[0, 0], [] as number[], [] as number[], [] as number[]];
    for (const row of [0, 1]) {
      for (const column of [0, 1]) {
        let dot = 0;
        for (const k of [0, 1, 2]) dot += xq.data[row * 3 + k]! * wq.data[column * 3 + k]!;
        sums[column] = [0, 1, 2].reduce((sum, k) => sum + wq.data[column * 3 + k]!, 0);
        dots.push(dot);
        acc.push(dot - xq.zeroPoint[row]! * sums[column]!);
        const step = Math.fround(xq.scale[row]! * wq.scale[column]!);
        y.push(Math.fround(acc.at(-1)! * step + Math.fround(bias![column]!)));
      }
    }
    expect([...matmulInt8(xq, wq)]).toEqual(acc);
    const noise = y.reduce((sum, value, i) => sum + (value - Math.fround(y32![i]!)) ** 2, 0);
    const sqnr = 10 * Math.log10(y32!.reduce((sum, value) => sum + value ** 2, 0) / noise);
    expect(block).toContain(`SQNR       = ${sqnr.toFixed(1)} dB`);
    for (const name of ['scale', 'wScale', 'y']) shown.set(name, float32s(shown.get(name)!));
    expect(Object.fromEntries(shown)).toEqual({
      ...{ scale: [...xq.scale], zeroPoint: [...xq.zeroPoint], xq: [...xq.data] },
      ...{ wScale: [...wq.scale], wq: [...wq.data], 'xq wq^T': dots, 'sums of wq': sums, acc, y },
    });
  });
});

test('all blocks are as `npm run docs` writes them', async () => {
  expect(await updated(document)).toBe(document);
});

test('the pictures are as `npm run docs` draws them, and a document shows each', async () => {
  const documents = ['quantization', 'engine']
    .map((name) => readFileSync(join(ROOT, `docs/${name}.md`), 'utf8'))
    .join('');
  for (const [name, svg] of Object.entries(await articlePictures())) {
    expect(readFileSync(join(ROOT, 'docs', name), 'utf8') === svg, name).toBe(true);
    expect(documents).toMatch(new RegExp(`!\\[.{20,}\\]\\(${name}\\)`));
  }
});

test('the scores that the text names are those of the blocks, and of README', () => {
  const [, reference, cpu, pytorch] =
    /three int8 scores: (\S+) above.*, (\S+) from `npm run qa`, and (\S+) from PyTorch/.exec(document)!;
  const after = (what: string) => document.slice(document.indexOf(`<!-- ${what} -->`));
  expect(after('explain')).toMatch(new RegExp(`\\ntorch: .*score ${reference}\\n`));
  expect(after('flip')).toMatch(new RegExp(`\\nPyTorch: .*score ${pytorch}\\nreference: .*score ${reference}\\n`));
  expect(after('flip-cpu')).toMatch(new RegExp(`\\nPyTorch: .*score ${pytorch}\\ncpu: .*score ${cpu}\\n`));
  expect(readFileSync(join(ROOT, 'README.md'), 'utf8')).toContain(`score ${cpu}: "New York Times"`);
});

test.each(WITH_RESULTS)('%s: the results are those of bench/results', (path) => {
  const document = readFileSync(path, 'utf8');
  expect(document).toMatch(/<!-- results \w/);
  expect(withResults(document)).toBe(document);
});

describe('links', () => {
  const documents = globSync('{*,docs/*,test/*,test/golden/*,bench/*,bench/results/*}.md', { cwd: ROOT });
  const prose = (path: string) => readFileSync(path, 'utf8').replace(/```.*?```/gs, '');
  /** The names that a document's headings have in links, as GitHub makes them. */
  const anchors = (path: string) =>
    [...prose(path).matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
      heading!
        .toLowerCase()
        .replace(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    );
  test('there are documents', () => expect(documents).toEqual(expect.arrayContaining(['README.md', 'docs/use.md'])));
  test.each(documents)('%s: every file and heading that it links to is there', (name) => {
    const path = join(ROOT, name);
    const lost = [...prose(path).matchAll(/\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)/g)].flatMap(
      ([link, file, anchor]) => {
        const to = file ? join(dirname(path), file) : path;
        return existsSync(to) && (anchor === undefined || anchors(to).includes(anchor)) ? [] : [link];
      },
    );
    expect(lost).toEqual([]);
  });
});

describe('docs/use.md, Files', () => {
  const [, section] = /\n### Files\n(.*?)\n## /s.exec(readFileSync(join(ROOT, 'docs/use.md'), 'utf8'))!;
  const examples = [...section!.matchAll(/```ts\n(\/\/ .*?)\n(.*?)```/gs)].map(
    ([, title, code]) => [title!, code!] as const,
  );
  test('a folder and the Hub, files of a visitor, bytes, a private store', () => expect(examples.length).toBe(4));
  test.each(examples)('%s', async (_, code) => {
    const config = readFileSync(join(ROOT, 'weights/minilm-l6-qa/config.json'));
    const fetched = async (url: string) => new Response(/\/config\.json\?|\/config\.json$/.test(url) ? config : null);
    vi.stubGlobal('fetch', fetched);
    vi.stubEnv('HF_HUB_CACHE', '/nowhere');
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    const made: Files[] = [];
    const scope = {
      ...{ blobs, folder, hub, site, load: async (files: Files) => made.push(files) },
      ...{ readFileSync: () => config, token: 'secret', fetchSigned: fetched },
      document: { querySelector: () => ({ files: [new File([config], 'config.json')] }) },
    };
    const Code = async () => {};
    const run = Code.constructor as FunctionConstructor;
    await run(...Object.keys(scope), stripTypeScriptTypes(code))(...Object.values(scope));
    expect(made.length).toBeGreaterThan(0);
    for (const files of made) {
      if (files.name.startsWith('deepset/'))
        await expect(files.open('config.json')).rejects.toThrow(
          /deepset\/tinyroberta-squad2: .* HF_HUB_OFFLINE is set/,
        );
      else expect((await readWhole(files, 'config.json'))!.bytes).toEqual(new Uint8Array(config));
    }
    vi.unstubAllGlobals();
    vi.unstubAllEnvs();
  });
});

test('README shows examples/head.ts as it is', () => {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  expect(readme).toMatch(/<!-- example examples\/head\.ts -->/);
  expect(withExamples(readme)).toBe(readme);
});

test("README's table of families is the code's", () => {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  expect(readme).toMatch(/<!-- families -->\n\| `model_type`/);
  expect(withFamilies(readme)).toBe(readme);
});
