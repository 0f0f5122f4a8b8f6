/** The page (web/) as it is built, in headless Chromium: what the tests of it share. One browser for a file of tests. */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { source as axe } from 'axe-core';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { headlessChromium } from '../scripts/driver.ts';
import { type PageServer, pageServer } from './pageServer.ts';
import { goldenJson, picture, ROOT } from './support.ts';

const PICTURES = join(ROOT, 'test-output', 'web');
export const ARTICLE = goldenJson<{ question: string; context: string }>('article');
/** Some windows: long enough to type meanwhile. */
export const LONG = Array(15).fill(ARTICLE.context).join('\n');

/** What the tests of a file have once `pageTests` has begun. */
export interface PageTests {
  browser: Browser;
  /** The visitor's, of the test under way. */
  context: BrowserContext;
  servers: Record<'isolated' | 'plain', PageServer>;
  /** What the browser complained of; a test that provokes complaints empties it. */
  complaints: string[];
  /** A visitor's browser, with nothing kept from other visits. */
  visit(server?: PageServer, options?: Parameters<Browser['newContext']>[0]): Promise<Page>;
}

/** Builds the page into a folder and starts a browser before the tests of a file, and ends both after them. */
export function pageTests(folder: string): PageTests {
  const tests = {
    complaints: [] as string[],
    async visit(server = tests.servers.isolated, options = {}) {
      tests.complaints.length = 0;
      tests.context = await tests.browser.newContext({ viewport: { width: 1000, height: 1100 }, ...options });
      const page = await tests.context.newPage();
      page.setDefaultTimeout(60_000);
      page.on('pageerror', ({ message }) => tests.complaints.push(message));
      page.on('console', (message) => message.type() === 'error' && tests.complaints.push(message.text()));
      await page.goto(server.url);
      return page;
    },
  } as PageTests;
  beforeAll(async () => {
    const build = ['run', 'build:web', '--', '--outDir', folder, '--emptyOutDir'];
    execFileSync('npm', build, { cwd: ROOT, env: { ...process.env, NODE_ENV: 'production' } });
    mkdirSync(PICTURES, { recursive: true });
    tests.servers = {
      isolated: await pageServer(folder, { isolated: true }),
      plain: await pageServer(folder, { isolated: false }),
    };
    const args = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];
    tests.browser = await chromium.launch({ ...headlessChromium(), args } as Parameters<typeof chromium.launch>[0]);
  });
  afterAll(async () => {
    await tests.browser?.close();
    tests.servers?.isolated.close();
    tests.servers?.plain.close();
  });
  afterEach(async () => {
    tests.servers.isolated.halves.clear();
    await tests.context?.close();
    expect(tests.complaints).toEqual([]);
  });
  return tests;
}

export const status = (page: Page, text: RegExp) => page.locator('#status', { hasText: text }).waitFor();
export const answered = (page: Page) => status(page, /^Answered in/);
export const answer = (page: Page) => page.locator('#answer .text').textContent();
export const error = (page: Page) => page.locator('#error').textContent();
/** A radio button by its value. */
export const choice = (page: Page, value: string) => page.locator(`#settings input[value=${value}]`);
/** Chooses a radio button, and waits for the model and the answer. */
export async function choose(page: Page, value: string): Promise<void> {
  await choice(page, value).check();
  await answered(page);
}
export const askButton = (page: Page) => page.getByRole('button', { name: 'Answer', exact: true });
export const engineOf = (page: Page) => page.workers().find((worker) => /\/worker-/.test(worker.url()))!;

const SCREENS = [
  { width: 390, height: 844 },
  { width: 1280, height: 800 },
  { width: 1920, height: 1080 },
];

/** No violation and nothing wider than the screen, on a phone, a small screen and a large one, light and dark. A picture of each. */
export async function looksRight(page: Page, name: string): Promise<void> {
  await page.evaluate(axe);
  for (const screen of SCREENS) {
    await page.setViewportSize(screen);
    for (const colorScheme of ['light', 'dark'] as const) {
      const what = `${name}-${screen.width}-${colorScheme}`;
      await page.emulateMedia({ colorScheme });
      await picture(page, { path: join(PICTURES, `${what}.png`), fullPage: true });
      expect(await page.evaluate(() => document.documentElement.scrollWidth), what).toBeLessThanOrEqual(screen.width);
      expect(await violations(page), what).toEqual([]);
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 1000, height: 1100 });
}
const violations = (page: Page): Promise<string[]> =>
  page.evaluate(async () => {
    type Axe = {
      run: () => Promise<{ violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] }>;
    };
    const { violations } = await (window as unknown as { axe: Axe }).axe.run();
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`),
    );
  });
