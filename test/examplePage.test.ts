/** examples/page as Vite builds it, in headless Chromium. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { build } from 'vite';
import { afterAll, expect, test } from 'vitest';
import { pageServer } from '../bench/pageServer.ts';
import { headlessChromium } from '../scripts/driver.ts';
import { ROOT } from './support.ts';

const outDir = mkdtempSync(join(tmpdir(), 'bertlet-page-'));
afterAll(() => rmSync(outDir, { recursive: true }));
const root = join(ROOT, 'examples/page');

test('its files have 40 lines without the page itself, and import the door alone', () => {
  const files = readdirSync(root).filter((name) => name.endsWith('.ts'));
  const code = files.map((name) => readFileSync(join(root, name), 'utf8'));
  expect(code.join('').trimEnd().split('\n').length).toBeLessThanOrEqual(40);
  for (const [, from] of code.join('').matchAll(/from '([^']+)'/g)) expect(from).toMatch(/^(bertlet|vite)$/);
});

test.each([true, false])('isolated: %s: it answers, says what is wrong, and has no errors', async (isolated) => {
  await build({
    root,
    configFile: join(root, 'vite.config.ts'),
    logLevel: 'silent',
    build: { outDir, emptyOutDir: true },
  });
  const server = await pageServer(outDir, { isolated });
  const browser = await chromium.launch(headlessChromium() as Parameters<typeof chromium.launch>[0]);
  try {
    const page = await browser.newPage();
    const errors: string[] = [];
    page.on('pageerror', ({ message }) => errors.push(message));
    await page.goto(server.url);
    const ask = async (question: string, wanted: RegExp) => {
      await page.locator('input').fill(question);
      await page.getByRole('button').click();
      await page.locator('output', { hasText: wanted }).waitFor();
    };
    await ask('When did Ada come?', /^1843 \(\d+ %\)$/);
    await ask('Who invented the telephone?', /^The passage does not say \(\d+ %\)$/);
    await ask('', /^question: expected words, got none\.$/);
    expect(errors).toEqual([]);
  } finally {
    await browser.close();
    server.close();
  }
});
