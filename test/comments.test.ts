// @unit
/** Openings of doc comments: a verb or a noun, never a word whose noun the reader would have to look for in the code. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ROOT } from './support.ts';

const OPENING = /(\/\*\*|^\/\/)[\s*]*(What|Of|Those|That|Which|So|These|It|This|They|Its|Their|As|Told)\b.*/gm;
const files = globSync('{src,kernels,programs,bench,scripts,examples}/**/*.{ts,mjs,js,wgsl}', { cwd: ROOT });

test('doc comments begin with a verb or a noun', () => {
  expect(files.length).toBeGreaterThan(150);
  const found = files.flatMap((file) => {
    const comments = readFileSync(join(ROOT, file), 'utf8').match(OPENING) ?? [];
    return comments.filter((one) => one.startsWith('/**') || file.endsWith('.wgsl')).map((one) => `${file}: ${one}`);
  });
  expect(found).toEqual([]);
});
