/** The page (web/) as it is built, in headless Chromium: what the tests of it share. One browser for a file of tests. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { source as axe } from 'axe-core';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { type PageServer, pageServer } from '../bench/pageServer.ts';
import { EXAMPLES } from '../programs/web/examples.ts';
import { headlessChromium } from '../scripts/driver.ts';
import { goldenJson, picture, ROOT } from './support.ts';

/** Where the page is built, before the tests (pageSetup.ts). */
export const FOLDER = join(ROOT, 'dist-web');
const PICTURES = join(ROOT, 'test-output', 'web');
export const ARTICLE = goldenJson<{ question: string; context: string }>('article');
const VIEWPORT = { width: 1000, height: 1100 };
/** Some windows: long enough to type meanwhile. */
export const LONG = Array(8).fill(ARTICLE.context).join('\n');

/** What the tests of a file have once `pageTests` has begun. */
export interface PageTests {
  browser: Browser;
  /** The visitor's, of the test under way. */
  context: BrowserContext;
  servers: Record<'isolated' | 'plain', PageServer>;
  /** What the browser complained of; a test that provokes complaints empties it. */
  complaints: string[];
  /** The addresses that the page under way has asked for. */
  requests: string[];
  /** A visitor's browser, with nothing kept from other visits. */
  visit(server?: PageServer, options?: Parameters<Browser['newContext']>[0]): Promise<Page>;
  /**
   * The page that the last test has left, as it is after a first visit: the article's question is answered by the default
   * settings. For tests that need nothing else, since a visit loads the model anew.
   */
  stay(): Promise<Page>;
}

/** Serves the page and starts a browser before the tests of a file, and ends both after them. */
export function pageTests(): PageTests {
  const tests = {
    complaints: [] as string[],
    requests: [] as string[],
    async visit(server = tests.servers.isolated, options = {}) {
      await tests.context?.close();
      tests.complaints.length = 0;
      tests.requests.length = 0;
      tests.context = await tests.browser.newContext({ viewport: VIEWPORT, ...options });
      // A page that has its line about this machine does not measure the machine, which takes longer than most tests.
      await tests.context.addInitScript(() =>
        addEventListener('DOMContentLoaded', () => document.getElementById('pace')?.replaceChildren('not measured')),
      );
      const page = await tests.context.newPage();
      page.setDefaultTimeout(240_000); // a software adapter on a busy machine; only a hang is late
      page.on('request', (request) => tests.requests.push(request.url()));
      page.on('pageerror', ({ message }) => tests.complaints.push(message));
      page.on('console', (message) => message.type() === 'error' && tests.complaints.push(message.text()));
      await page.goto(server.url);
      return page;
    },
    async stay() {
      const page = tests.context?.pages()[0];
      if (!page?.url().startsWith(tests.servers.isolated.url)) {
        const first = await tests.visit();
        await answered(first);
        return first;
      }
      await page.setViewportSize(VIEWPORT);
      await page.locator('details').evaluateAll((all) => {
        for (const each of all) each.removeAttribute('open');
      });
      await page.locator('#status').evaluate((element) => element.replaceChildren());
      await page.getByRole('button', { name: EXAMPLES[0]!.name }).click();
      await answered(page);
      for (const value of ['cpu', 'int8', 'accurate']) {
        if (!(await choice(page, value).isChecked())) await choose(page, value);
      }
      return page;
    },
  } as PageTests;
  beforeAll(async () => {
    mkdirSync(PICTURES, { recursive: true });
    tests.servers = {
      isolated: await pageServer(FOLDER, { isolated: true }),
      plain: await pageServer(FOLDER, { isolated: false }),
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

/** With the theme that is looked at there. */
const SCREENS = { phone: [390, 844, 'dark'], small: [1280, 800, 'light'], large: [1920, 1080, 'dark'] } as const;
/** A picture of every state on every screen in both themes, for people to look at: BERTLET_PICTURES=1. */
const ALL_PICTURES = Boolean(process.env.BERTLET_PICTURES);

/** In any state, on each screen: nothing is wider than the screen, no text has backticks, axe finds nothing. */
export async function looksRight(page: Page, name: string): Promise<void> {
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(axe);
  for (const [screen, [width, height, theme]] of Object.entries(SCREENS)) {
    await page.setViewportSize({ width, height });
    const { widest, text } = await page.evaluate(() => ({
      widest: document.documentElement.scrollWidth,
      text: document.body.textContent,
    }));
    expect(widest, `${name}, ${screen}`).toBeLessThanOrEqual(width);
    expect(text).not.toContain('`');
    for (const colorScheme of ALL_PICTURES ? (['light', 'dark'] as const) : [theme]) {
      await page.emulateMedia({ colorScheme });
      if (ALL_PICTURES)
        await picture(page, { path: join(PICTURES, `${name}-${width}-${colorScheme}.png`), fullPage: true });
      expect(await violations(page), `${name}, ${screen}, ${colorScheme}`).toEqual([]);
    }
  }
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize(VIEWPORT);
}
const violations = (page: Page): Promise<string[]> =>
  page.evaluate(async () => {
    type Result = { violations: { id: string; nodes: { html: string; failureSummary: string }[] }[] };
    type Axe = { run: (options: object) => Promise<Result> };
    const { violations } = await (window as unknown as { axe: Axe }).axe.run({
      resultTypes: ['violations'],
      preload: false,
    });
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`),
    );
  });

/** The longest task of the page's main thread while something runs, in milliseconds of CPU: a machine may be busy with other things. */
export async function longestTask(browser: Browser, page: Page, run: () => Promise<void>): Promise<number> {
  const categories = ['toplevel', 'disabled-by-default-devtools.timeline', 'devtools.timeline'];
  await browser.startTracing(page, { categories });
  await run();
  type Event = { name: string; pid: number; tid: number; tdur?: number; args: { name?: string } };
  const trace = JSON.parse((await browser.stopTracing()).toString()) as { traceEvents: Event[] };
  const mains = trace.traceEvents.filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain');
  const tasks = trace.traceEvents.filter(
    ({ name, pid, tid }) => name === 'RunTask' && mains.some((main) => main.pid === pid && main.tid === tid),
  );
  expect(tasks.length).toBeGreaterThan(20);
  const longest = Math.max(...tasks.map(({ tdur = 0 }) => tdur / 1000));
  console.log(`longest task of the main thread: ${longest.toFixed(1)} ms of CPU`);
  expect(longest).toBeGreaterThan(0);
  return longest;
}
