/** The programs in examples/, which use the doors `bertlet` and `bertlet/tensor` alone. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { classify } from '../examples/classify.ts';
import { scores } from '../examples/rerank.ts';
import { label } from '../examples/tokens.ts';
import { GOLDEN, goldenJson, largestDifference, ROOT } from './support.ts';

test('a command in their first lines takes the Node of this repository', () => {
  for (const file of globSync('examples/*.ts', { cwd: ROOT })) {
    const [head] = readFileSync(join(ROOT, file), 'utf8').split('*/');
    expect(
      [...head!.matchAll(/(\w*) ?node (?=examples)/g)].map(([, npx]) => npx).filter((npx) => npx !== 'npx'),
      file,
    ).toEqual([]);
  }
});

test('they import the doors only, and take 50 lines at most', () => {
  // bertInt8.test.ts has the one file, server.test.ts the server
  const files = globSync('examples/*.ts', { cwd: ROOT }).filter((file) => !file.endsWith('bert-int8.ts'));
  expect(files.length).toBe(8);
  for (const file of files) {
    const code = readFileSync(join(ROOT, file), 'utf8');
    for (const [, from] of code.matchAll(/from '([^']+)'/g))
      expect(from).toMatch(/^(node:.+|bertlet(\/tensor|\/explain)?)$/);
    expect(code.trimEnd().split('\n').length, file).toBeLessThanOrEqual(50);
  }
});

test("linear.ts prints the numbers of docs/quantization.md's worked example", async () => {
  const log = vi.spyOn(console, 'log').mockImplementation(() => {});
  await import('../examples/linear.ts');
  const printed = log.mock.calls.map((line) => line.join(' '));
  log.mockRestore();
  expect(printed).toEqual([
    expect.stringMatching(/^xq {2}122 115 127 119 0 118 {3}scale 0\.1023622\d+ {3}zero point 117$/),
    expect.stringMatching(/^wq {2}80 -48 127 3 8 -6 {3}scale 0\.0062745\d+$/),
    'acc 1766 -61 5903 -936',
    expect.stringMatching(/^y {3}1\.225\d* -0\.242\d* 3\.8\d* -0\.(8|79)\d*$/),
    expect.stringMatching(/^y {3}1\.23425\d* -0\.239178\d* 3\.89133\d* -0\.801167\d*$/),
  ]);
});

test('head.ts answers', async () => {
  const log = vi.spyOn(console, 'log').mockImplementation(() => {});
  await import('../examples/head.ts');
  expect(log.mock.calls).toEqual([['ada']]);
  log.mockRestore();
});

test("embeddings.ts: PyTorch's embeddings within 1e-4, and its cosines, raw and centred", async () => {
  const log = vi.spyOn(console, 'log').mockImplementation(() => {});
  const { embeddings, raw, centred } = await import('../examples/embeddings.ts');
  log.mockRestore();
  type Golden = { items: { embedding: number[] }[]; cosines: number[][]; centred: number[][] };
  const golden = goldenJson<Golden>('embeddings');
  expect(
    largestDifference(
      embeddings,
      golden.items.flatMap(({ embedding }) => embedding),
    ),
  ).toBeLessThan(1e-4);
  expect(largestDifference(raw, golden.cosines.flat())).toBeLessThan(1e-5);
  expect(largestDifference(centred, golden.centred.flat())).toBeLessThan(1e-4);
});

type Head = { texts: [string, string?]; ids: number[]; logits: number[]; probabilities: number[] };
const heads = goldenJson<
  Record<'classify' | 'rerank', Head[]> & { tokens: (Omit<Head, 'logits'> & { logits: number[][] })[] }
>('heads');

describe.each(['fp32', 'accurate'] as const)("heads in %s: PyTorch's float32 logits", (precision) => {
  /** Of random models in float32; in int8 logits of size 1 move by a few hundredths. */
  const most = precision === 'fp32' ? 1e-5 : 0.15;

  test('classify.ts', async () => {
    const texts = heads.classify.map(({ texts: [text] }) => text);
    const got = await classify(`${GOLDEN}/heads/classify`, texts, precision);
    for (const [i, { probabilities }] of heads.classify.entries()) {
      expect(largestDifference(got[i]!, probabilities)).toBeLessThan(most);
    }
  });
  test('rerank.ts: each question with its passages as one batch', async () => {
    for (const question of new Set(heads.rerank.map(({ texts: [first] }) => first))) {
      const own = heads.rerank.filter(({ texts: [first] }) => first === question);
      const got = await scores(
        `${GOLDEN}/heads/rerank`,
        question,
        own.map(({ texts: [, passage] }) => passage!),
        precision,
      );
      expect(
        largestDifference(
          got,
          own.flatMap(({ logits }) => logits),
        ),
      ).toBeLessThan(most);
    }
  });
  test('tokens.ts', async () => {
    for (const {
      texts: [text],
      logits,
    } of heads.tokens) {
      const got = await label(`${GOLDEN}/heads/tokens`, text, precision);
      expect(
        largestDifference(
          got.flatMap((token) => token.logits),
          logits.flat(),
        ),
      ).toBeLessThan(most);
    }
  });
});

test('attention.ts: the parts are the fused op', async () => {
  const log = vi.spyOn(console, 'log').mockImplementation(() => {});
  const { difference } = await import('../examples/attention.ts');
  log.mockRestore();
  expect(difference).toBeLessThan(1e-5);
});
