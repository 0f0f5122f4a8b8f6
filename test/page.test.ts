/** bertlet as it is built, in a page: headless Chromium from `@sparticuz/chromium` (scripts/driver.ts). */
import { mkdirSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type PageServer, pageServer } from '../bench/pageServer.ts';
import { headlessChromium } from '../scripts/driver.ts';
import { load } from '../src/index.ts';
import { hubServer } from './hubServer.ts';
import { CHECKPOINT, largestDifference, picture, ROOT, TINY } from './support.ts';

interface Busy {
  turns: number[];
  abort: number | null;
  texts: string[];
}
interface Asked {
  info: { device: string; dtype: string; threads?: number; adapter?: string };
  text: string;
  progress: { file: string; loaded: number; total: number };
  start: number[];
  end: number[];
}
interface Tiny {
  threads?: number;
  adapter?: string;
  reason?: string;
  start?: number[];
}
const QUESTION = 'Who wrote the tests?';
const CONTEXT = 'Ada Brown wrote the tests in Lisbon, and left.';

describe('a page', () => {
  let servers: Record<'isolated' | 'plain', PageServer>;
  let browser: Browser;
  const errors: string[] = [];
  /** The tiny model's start logits, as in `window.tiny`. */
  let want: number[];
  beforeAll(async () => {
    await using node = await load(TINY, { threads: 1 });
    want = [...(await node.logits({ inputIds: [2, 5, 6, 3], tokenTypeIds: [0, 0, 0, 0] })).start];
    servers = {
      isolated: await pageServer(ROOT, { isolated: true }),
      plain: await pageServer(ROOT, { isolated: false }),
    };
    const args = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];
    browser = await chromium.launch({ ...headlessChromium(), args } as Parameters<typeof chromium.launch>[0]);
    console.log(`Chromium ${browser.version()}`);
  });
  afterAll(async () => {
    await browser?.close();
    servers?.isolated.close();
    servers?.plain.close();
  });
  async function open(isolated: boolean, prepare?: (page: Page) => Promise<void>): Promise<Page> {
    const page = await browser.newPage({ viewport: { width: 900, height: 680 } });
    await prepare?.(page);
    page.on('pageerror', ({ message }) => errors.push(message));
    // The browser's own lines about files that a tokenizer may have, and this one has not, are no errors of the page.
    const optional = /\/(special_tokens_map|added_tokens)\.json$/;
    page.on('console', (message) => {
      if (message.type() === 'error' && !optional.test(message.location().url)) errors.push(message.text());
    });
    await page.goto(`${servers[isolated ? 'isolated' : 'plain'].url}test/page/index.html`);
    await page.waitForFunction('window.ready');
    return page;
  }
  const ask = (page: Page, options: object) =>
    page.evaluate(([...args]) => (window as unknown as { ask: (...args: unknown[]) => Promise<Asked> }).ask(...args), [
      options,
      QUESTION,
      CONTEXT,
    ] as const);

  test('webgpu and cpu answer alike, with threads and without (webgpu in int8: webTrouble.test.ts)', async () => {
    const node = await load(CHECKPOINT, { dtype: 'fp32', threads: 1 });
    const { ids, typeIds } = node.tokenizer.encodePair(QUESTION, CONTEXT);
    const inNode = await node.logits({ inputIds: ids, tokenTypeIds: typeIds });
    await node.dispose();
    const page = await open(true);
    const rows = [
      await ask(page, { device: 'cpu', dtype: 'fp32', threads: 2 }),
      await ask(page, { device: 'cpu', dtype: 'int8' }),
    ];
    mkdirSync(join(ROOT, 'test-output'), { recursive: true });
    await picture(page, { path: join(ROOT, 'test-output', 'page.png') });
    const alone = await open(false);
    rows.push(await ask(alone, { device: 'cpu', dtype: 'fp32' }));
    expect(rows.map(({ text }) => text)).toEqual(Array(3).fill('Ada Brown'));
    expect(rows.map(({ info }) => info.threads)).toEqual([2, expect.any(Number), 1]);
    expect(rows[1]!.info.threads).toBeGreaterThan(1);
    const [threads, , single] = rows as [Asked, Asked, Asked];
    for (const end of ['start', 'end'] as const) {
      expect(threads[end], 'cpu in a page and in Node: equal bits').toEqual([...inNode[end]]);
      expect(single[end]).toEqual(threads[end]);
    }
    for (const { progress } of rows) {
      const total = (await stat(join(CHECKPOINT, 'model.safetensors'))).size;
      expect(progress).toEqual({ file: 'model.safetensors', loaded: total, total });
    }
    expect(errors).toEqual([]);
    const gpu = await tiny(page, { device: 'webgpu', dtype: 'fp32' }); // a software adapter takes seconds for the other
    expect(gpu.adapter).toMatch(/swiftshader.*\(software\)/);
    await using fp32 = await load(TINY, { threads: 1, dtype: 'fp32' });
    const { start } = await fp32.logits({ inputIds: [2, 5, 6, 3], tokenTypeIds: [0, 0, 0, 0] });
    expect(largestDifference(gpu.start!, start)).toBeLessThan(1e-4);
    errors.length = 0; // the browser's own line about a file that the tokenizer may have
  });
  test.each([true, false])(
    '100 answers at once, isolated %s: events have their turn, an abort ends one',
    async (isolated) => {
      const page = await open(isolated);
      const { turns, abort, texts } = await page.evaluate(
        (long) =>
          (window as unknown as { busy: (...args: unknown[]) => Promise<Busy> }).busy({ device: 'cpu' }, 100, long),
        'It rains all day. '.repeat(1000),
      );
      const at = (part: number) => turns[Math.floor(part * (turns.length - 1))]!;
      console.log(
        `isolated ${isolated}: ${turns.length} turns, median ${at(0.5).toFixed(1)} ms, p99 ${at(0.99).toFixed(1)} ms; abort after ${abort?.toFixed(1)} ms`,
      );
      expect(texts).toEqual(['Ada']);
      expect(abort).toBeLessThan(1000); // on a quiet machine below 50 ms; the long passage takes many seconds
      expect(turns.length).toBeGreaterThan(20);
      expect(at(0.5)).toBeLessThan(50);
      await page.close();
    },
  );
  /** The start logits of the tiny model in a page, and what `info` says of its threads; or its error. */
  const tiny = (page: Page, options: object) =>
    page.evaluate(
      (options) => (window as unknown as { tiny: (options: object) => Promise<Tiny> }).tiny(options),
      options,
    );
  const policy = (rest: string) => ({ policy: `script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; ${rest}` });
  test.each<[string, { policy?: string; without?: string }]>([
    ['a policy without worker-src blob:', policy("worker-src 'self'")],
    ["require-trusted-types-for 'script'", policy("worker-src blob:; require-trusted-types-for 'script'")],
    ['no Worker, as in a service worker', { without: 'globalThis.Worker' }],
    ['no URL.createObjectURL', { without: 'URL.createObjectURL' }],
  ])('no worker may start (%s): the caller computes alone, and info says why', async (_, { policy, without }) => {
    const page = await open(true, async (page) => {
      await page.addInitScript(`${without ?? 'globalThis.unused'} = undefined`);
      await page.route('**/index.html', async (route) => {
        const response = await route.fetch();
        const headers = { ...response.headers(), ...(policy && { 'content-security-policy': policy }) };
        await route.fulfill({ response, headers });
      });
    });
    const alone = await tiny(page, {});
    expect(alone).toMatchObject({ threads: 1, start: want });
    expect(alone.reason).toMatch(/^the caller's thread computes: cpu got no worker that starts \(.+\)$/);
    expect(await tiny(page, { threads: 1 })).toEqual(alone);
    expect(await tiny(page, { threads: 2 })).toMatchObject({
      code: 'device',
      message: expect.stringMatching(/^cpu: expected 2 threads, got no worker that starts .*leave `threads` out/),
    });
    await page.close();
    errors.length = 0; // the browser's own lines about the policy
  });
  test('an engine that does not tell its cores has one', async () => {
    const page = await open(true, async (page) => {
      await page.addInitScript("Object.defineProperty(navigator, 'hardwareConcurrency', { value: undefined })");
    });
    expect(await tiny(page, {})).toMatchObject({ threads: 1, start: want });
    await page.close();
    errors.length = 0; // the browser's own line about a file that the tokenizer may have
  });
  test("a model of the Hub: kept in the page's Cache Storage, fetched once", async () => {
    const hub = await hubServer(TINY);
    const page = await open(false);
    const ids = [2, 5, 6, 3];
    type Call = (model: string, options: object, ids: readonly number[]) => Promise<number[]>;
    const ask = () =>
      page.evaluate(
        ([endpoint, ids]) => {
          const { startLogits } = window as unknown as { startLogits: Call };
          return startLogits('owner/name', { endpoint, device: 'reference', dtype: 'fp32' }, ids);
        },
        [hub.endpoint, ids] as const,
      );
    const node = await load(TINY, { device: 'reference', dtype: 'fp32' });
    const { start } = await node.logits({ inputIds: ids, tokenTypeIds: ids.map(() => 0) });
    expect(await ask()).toEqual([...start]);
    expect(hub.requests.some((line) => line.includes('model.safetensors'))).toBe(true);
    hub.requests.length = 0;
    expect(await ask()).toEqual([...start]);
    expect(hub.requests).toEqual(['GET /owner/name/resolve/main/config.json']); // what main is now; no file, not even one that is not there
    hub.close();
    expect(await ask(), 'without network').toEqual([...start]);
    errors.length = 0; // the browser's own line about the refused connection, and the tokenizer.json that is not there
  });
  test('owner/name is a folder beside the page, if there is one, and otherwise of the Hub', async () => {
    const hub = await hubServer(TINY);
    const page = await open(false);
    const queries = new Set<string>();
    await page.route(/\/test\/page\/owner\/name\//, (route) => {
      const { pathname, search } = new URL(route.request().url());
      queries.add(search);
      return route
        .fulfill({ path: join(TINY, pathname.split('/').at(-1)!) })
        .catch(() => route.fulfill({ status: 404 }));
    });
    const ask = (model: string) =>
      page.evaluate(
        ([model, endpoint]) => {
          type Call = (model: string, options: object, ids: readonly number[]) => Promise<number[]>;
          const { startLogits } = window as unknown as { startLogits: Call };
          return startLogits(model, { endpoint, device: 'reference', dtype: 'fp32' }, [2, 5, 6, 3]).catch(String);
        },
        [model, hub.endpoint] as const,
      );
    expect((await ask('owner/name')).length).toBe(4);
    expect([...queries]).toEqual(['']);
    queries.clear();
    expect((await ask('./owner/name?sig=a')).length).toBe(4);
    expect([...queries], 'a signature is that of each file').toEqual(['?sig=a']);
    expect(hub.requests).toEqual([]);
    expect(await ask('owner/other')).toMatch(
      /^BertletError: owner\/other: expected a folder here or a model of http.*, revision main, got HTTP status 404\. Check/,
    );
    expect(hub.requests).toEqual(['GET /owner/other/resolve/main/config.json']);
    hub.close();
    errors.length = 0; // the browser's own lines about files that are not there
    await page.close();
  });
  test.each(['open', 'put', 'match'])(
    'Cache Storage that is denied or full (%s): the model loads all the same',
    async (method) => {
      const hub = await hubServer(TINY);
      const page = await open(false);
      const logits = await page.evaluate(
        ([endpoint, method]) => {
          const refuse = () => Promise.reject(new DOMException('The quota has been exceeded.', 'QuotaExceededError'));
          const owner = method === 'open' ? CacheStorage.prototype : Cache.prototype;
          (owner as unknown as Record<string, unknown>)[method] = refuse;
          type Call = (model: string, options: object, ids: readonly number[]) => Promise<number[]>;
          const { startLogits } = window as unknown as { startLogits: Call };
          const options = { endpoint, revision: 'refs/pr/1', device: 'reference', dtype: 'fp32' };
          return startLogits('owner/name', options, [2, 5, 6, 3]);
        },
        [hub.endpoint, method] as const,
      );
      expect(logits.length).toBe(4);
      expect(hub.requests[0]).toBe('GET /owner/name/resolve/refs%2Fpr%2F1/config.json');
      hub.close();
      errors.length = 0; // the browser's own lines about files that are not there
    },
  );
  test('what it cannot have it says: threads without the headers, a folder that is not there', async () => {
    const page = await open(false);
    const refused = (options: object) =>
      page.evaluate((o) => (window as unknown as { refused: (o: object) => unknown }).refused(o), options);
    expect(await refused({ threads: 2 })).toMatchObject({
      code: 'device',
      message: expect.stringMatching(
        /expected shared memory for 2 threads, got none\. Serve the page with the headers COOP/,
      ),
    });
  });
});
