/** The programs in examples/, which use the doors `bertlet` and `bertlet/tensor` alone. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { goldenJson, largestDifference, ROOT } from './support.ts';

test('they import the doors only, and the embeddings take 40 lines at most', () => {
  const files = globSync('examples/*.ts', { cwd: ROOT }).filter((file) => !file.endsWith('bert-int8.ts')); // bertInt8.test.ts; server.ts: server.test.ts
  expect(files.length).toBe(3);
  for (const file of files) {
    const code = readFileSync(join(ROOT, file), 'utf8');
    for (const [, from] of code.matchAll(/from '([^']+)'/g))
      expect(from).toMatch(/^(node:.+|bertlet(\/tensor|\/explain)?)$/);
  }
  expect(readFileSync(join(ROOT, 'examples/embeddings.ts'), 'utf8').trimEnd().split('\n').length).toBeLessThanOrEqual(
    40,
  );
});

test("linear.ts prints the numbers of docs/quantization.md's worked example, and README shows it", async () => {
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

test("embeddings.ts: PyTorch's embeddings within 1e-4, and its cosines", async () => {
  const log = vi.spyOn(console, 'log').mockImplementation(() => {});
  const { embeddings, cosine } = await import('../examples/embeddings.ts');
  log.mockRestore();
  const golden = goldenJson<{ items: { embedding: number[] }[]; cosines: number[] }>('embeddings');
  expect(embeddings.length).toBe(golden.items.length);
  for (const [i, { embedding }] of golden.items.entries()) {
    expect(largestDifference(embeddings[i]!, embedding), `sentence ${i}`).toBeLessThan(1e-4);
  }
  const pairs = [
    [0, 1],
    [0, 2],
    [1, 2],
  ] as const;
  for (const [k, [i, j]] of pairs.entries()) {
    expect(cosine(embeddings[i]!, embeddings[j]!)).toBeCloseTo(golden.cosines[k]!, 5);
  }
});
