// @unit
/** One definition of a model's size and one unit in all texts for people: of the file in this precision, in MB of 2^20 bytes. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { checkpointBytes } from '../bench/layout.ts';
import { SHAPES } from '../bench/shapes.ts';
import { fileBytes, megabytes } from '../bench/sizes.ts';
import { FLOAT16 } from '../programs/web/model.ts';
import { openCheckpoint } from '../src/tensor.ts';
import { CHECKPOINT, ROOT } from './support.ts';

/** Sizes of texts: one that the page opens, and one that bench/answers.ts reads. */
const NO_MODEL = ['10 MB', '2.2 MB'];
const TEXTS = ['README.md', 'CONTRIBUTING.md', 'docs/*.md', 'weights/*/README.md', 'programs/**/*.{ts,html}'];

test('every size of a model in a text is that of one of its files', async () => {
  const checkpoint = await openCheckpoint(CHECKPOINT);
  checkpoint.close();
  expect(megabytes(fileBytes(checkpoint, 'fp16'))).toBe(megabytes(FLOAT16.bytes));
  const files = (['fp32', 'fp16', 'torch', 'accurate'] as const).flatMap((precision) => [
    fileBytes(checkpoint, precision),
    checkpointBytes(SHAPES['bert-base-cased']!, precision), // the model of the article, with float32 embeddings
  ]);
  const sizes = new Set([...NO_MODEL, ...files.flatMap((bytes) => [megabytes(bytes), megabytes(bytes, 0)])]);
  const found = globSync(TEXTS, { cwd: ROOT }).flatMap((path) =>
    [...readFileSync(join(ROOT, path), 'utf8').matchAll(/(\d[\d.,]*) MB\b/g)].map(([, figure]) => ({ path, figure })),
  );
  expect(found.length).toBeGreaterThan(10);
  expect(found.filter(({ figure }) => !sizes.has(`${figure} MB`))).toEqual([]);
});
