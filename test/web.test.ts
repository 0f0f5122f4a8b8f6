/** The page (web/) as it is built, in headless Chromium: what a visitor does with it, and what it says when that fails. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { source as axe } from 'axe-core';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { headlessChromium } from '../scripts/driver.ts';
import { load } from '../src/index.ts';
import { EngineError } from '../web/engine.ts';
import { EXAMPLES } from '../web/examples.ts';
import { inWords, missing } from '../web/problems.ts';
import { excerpt, pieces } from '../web/spans.ts';
import { type PageServer, pageServer } from './pageServer.ts';
import { CHECKPOINT, goldenJson, ROOT, TINY } from './support.ts';

const PICTURES = join(ROOT, 'test-output', 'web');
const ARTICLE = goldenJson<{ question: string; context: string }>('article');
/** Some windows: long enough to type meanwhile. */
const LONG = Array(15).fill(ARTICLE.context).join('\n');

describe('parts that need no browser', () => {
  test('pieces: the passage cut where answers begin and end, the best answer of each piece', () => {
    const spans = [
      { start: 4, end: 8 },
      { start: 0, end: 8 },
      { start: 6, end: 12 },
    ];
    expect(pieces('the cat sat down', spans)).toEqual([
      { text: 'the ', rank: 1 },
      { text: 'ca', rank: 0 },
      { text: 't ', rank: 0 },
      { text: 'sat ', rank: 2 },
      { text: 'down', rank: null },
    ]);
    expect(pieces('', [])).toEqual([]);
    expect(pieces('abc', [])).toEqual([{ text: 'abc', rank: null }]);
  });
  test('excerpt: whole words around an answer', () => {
    const text = 'one two three four five six seven';
    expect(excerpt(text, { start: 14, end: 18 }, 8)).toEqual({ before: '… three ', after: ' five …' });
    expect(excerpt(text, { start: 0, end: 3 }, 100)).toEqual({ before: '', after: ' two three four five six seven' });
  });
  test('missing: what the files of a model lack', () => {
    expect(missing(['config.json', 'model.safetensors', 'tokenizer.json'])).toBeNull();
    expect(missing(['config.json', 'pytorch_model.bin', 'vocab.txt', 'tokenizer_config.json'])).toBeNull();
    expect(missing(['notes.txt', 'config.json', 'vocab.txt'])).toMatch(
      /expected model\.safetensors or pytorch_model\.bin, tokenizer_config\.json as well, got notes\.txt/,
    );
  });
  test.each([
    ['file', 'Array buffer allocation failed', 'There is not enough memory'],
    ['file', 'https://huggingface.co: Failed to fetch', 'The network cannot be reached'],
    ['file', 'HTTP status 404', 'A file cannot be read'],
    ['device', 'got a device that is lost (reset)', 'The GPU was lost'],
    ['weights', 'expected finite values', 'This is not a model that bertlet runs'],
    ['unknown', 'x is undefined', 'Something went wrong'],
  ] as const)('an error %s, "%s", in words', (code, message, title) => {
    const problem = inWords(new EngineError(code, message));
    expect(problem.title).toBe(title);
    expect(problem.text).toContain(message);
  });
});

describe('the page', () => {
  let browser: Browser;
  let context: BrowserContext;
  let servers: Record<'isolated' | 'plain', PageServer>;
  /** What the browser complained of; a test that provokes complaints empties it. */
  const complaints: string[] = [];

  beforeAll(async () => {
    execFileSync('npm', ['run', 'build:web'], { cwd: ROOT, env: { ...process.env, NODE_ENV: 'production' } });
    rmSync(PICTURES, { recursive: true, force: true });
    mkdirSync(PICTURES, { recursive: true });
    const folder = join(ROOT, 'dist-web');
    servers = {
      isolated: await pageServer(folder, { isolated: true }),
      plain: await pageServer(folder, { isolated: false }),
    };
    const args = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader'];
    browser = await chromium.launch({ ...headlessChromium(), args } as Parameters<typeof chromium.launch>[0]);
  }, 60_000);
  afterAll(async () => {
    await browser?.close();
    servers?.isolated.close();
    servers?.plain.close();
  });
  afterEach(async () => {
    servers.isolated.halves.clear();
    await context?.close();
    expect(complaints).toEqual([]);
  });

  /** A visitor's browser, with nothing kept from other visits. */
  async function visit(server = servers.isolated, options: Parameters<Browser['newContext']>[0] = {}): Promise<Page> {
    complaints.length = 0;
    context = await browser.newContext({ viewport: { width: 1000, height: 1100 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(60_000);
    page.on('pageerror', ({ message }) => complaints.push(message));
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    await page.goto(server.url);
    return page;
  }
  const status = (page: Page, text: RegExp) => page.locator('#status', { hasText: text }).waitFor();
  const answered = (page: Page) => status(page, /^Answered in/);
  const answer = (page: Page) => page.locator('#answer .text').textContent();
  const error = (page: Page) => page.locator('#error').textContent();
  /** Chooses a radio button by its label, and waits for the model and the answer. */
  async function choose(page: Page, label: string): Promise<void> {
    await page.getByLabel(label, { exact: true }).check();
    await answered(page);
  }
  const engineOf = (page: Page) => page.workers().find((worker) => /\/worker-/.test(worker.url()))!;

  /** No violation in either theme; a picture of both, and on a phone, where nothing is wider than the screen. */
  async function looksRight(page: Page, name: string): Promise<void> {
    await page.evaluate(axe);
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: join(PICTURES, `${name}-${colorScheme}.png`), fullPage: true });
      expect(await violations(page), `${name}, ${colorScheme}`).toEqual([]);
    }
    await page.setViewportSize({ width: 390, height: 844 });
    await page.screenshot({ path: join(PICTURES, `${name}-phone.png`), fullPage: true });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
    expect(await violations(page), `${name}, phone`).toEqual([]);
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

  test("answers the article's question at once, and the next one faster", async () => {
    const page = await visit();
    await answered(page);
    const first = await page.evaluate(() => performance.now());
    expect(await answer(page)).toBe('New York Times');
    expect(await page.locator('#mirror mark:not(.next)').textContent()).toBe('New York Times');
    expect(await page.locator('#others tbody tr').count()).toBe(2);
    expect(await page.locator('#mirror').textContent()).toBe(`${ARTICLE.context}\n`);

    const node = await load(CHECKPOINT, { threads: 1 });
    const want = await node.answer({ ...ARTICLE, topK: 3 });
    await node.dispose();
    const scores = await page.locator('#others td.number').allTextContents();
    expect([await page.locator('#answer .muted').textContent(), ...scores]).toEqual([
      `Score ${want[0]!.score.toFixed(3)}.`, // the same bits as in Node
      ...want.slice(1).map(({ score }) => score.toFixed(3)),
    ]);

    const took: number[] = [];
    for (let i = 0; i < 9; i++) {
      await page.locator('#status').evaluate((element) => element.replaceChildren());
      await page.getByRole('button', { name: 'Answer' }).click();
      await answered(page);
      const text = (await page.locator('#status').textContent())!;
      expect(text).toMatch(/^Answered in [\d.]+ m?s on the CPU, \d+ threads, int8\.$/);
      took.push(Number.parseFloat(text.slice('Answered in '.length)));
    }
    const loaded = await page.locator('#runs-on').textContent();
    const median = took.toSorted((a, b) => a - b)[4]!;
    console.log(
      `answered ${(first / 1000).toFixed(1)} s after the page was opened, model ${/loaded in [^.]+(\.\d)? m?s/.exec(loaded!)![0]}; then median ${median} ms of ${took}`,
    );
    await looksRight(page, 'answer');
  });

  test('the main thread is never busy for 50 ms, from the first byte on', async () => {
    const page = await visit();
    await page.close();
    const watched = await context.newPage();
    await browser.startTracing(watched, {
      categories: ['toplevel', 'disabled-by-default-devtools.timeline', 'devtools.timeline'],
    });
    await watched.goto(servers.isolated.url);
    await answered(watched);
    await watched.locator('#passage').fill(LONG);
    await watched.getByRole('button', { name: 'Answer' }).click();
    await watched.locator('#question').pressSequentially(' And when was that, again?', { delay: 20 });
    await answered(watched);
    await watched.getByLabel('fp32', { exact: true }).check();
    await answered(watched);
    type Event = {
      name: string;
      ph: string;
      pid: number;
      tid: number;
      ts: number;
      dur?: number;
      tdur?: number;
      args: { name?: string };
    };
    const trace = JSON.parse((await browser.stopTracing()).toString()) as { traceEvents: Event[] };
    const mains = trace.traceEvents.filter(
      ({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain',
    );
    const tasks = trace.traceEvents.filter(
      ({ name, pid, tid }) => name === 'RunTask' && mains.some((main) => main.pid === pid && main.tid === tid),
    );
    expect(tasks.length).toBeGreaterThan(100);
    const longest = (key: 'dur' | 'tdur') => Math.max(...tasks.map((task) => (task[key] ?? 0) / 1000));
    console.log(
      `longest task of the main thread: ${longest('tdur').toFixed(1)} ms of CPU, ${longest('dur').toFixed(1)} ms by the clock`,
    );
    expect(longest('tdur')).toBeGreaterThan(0);
    expect(longest('tdur')).toBeLessThan(50); // CPU time, for a machine may be busy with other things
  });

  test('switches: arithmetic, scales, threads; a passage without the answer', async () => {
    const page = await visit();
    await answered(page);
    await choose(page, 'fp32');
    expect(await page.locator('#status').textContent()).toContain('fp32');
    expect(await page.locator('#answer .muted').textContent()).toBe('Score 0.463.'); // README's
    expect(await page.getByLabel('finer').isDisabled()).toBe(true);
    await choose(page, 'int8');
    await choose(page, 'finer');
    expect(await page.locator('#runs-on').textContent()).toContain('int8 with finer scales');
    await choose(page, 'Fastest');
    expect(await page.locator('#runs-on').textContent()).toMatch(/on the CPU.*expected a GPU, got google swiftshader/);
    await choose(page, 'CPU');
    await page.getByLabel('CPU threads').selectOption('1');
    await status(page, /^Answered in .* 1 thread, int8 with finer scales/);
    expect(await page.getByLabel('fp16').isDisabled()).toBe(true);
    const dress = EXAMPLES.find(({ name }) => name.includes('dress'))!.name;
    await page.getByRole('button', { name: dress }).click();
    await page.getByText('The passage does not say.').waitFor();
    expect(await page.locator('#mirror mark').count()).toBe(0);
    await looksRight(page, 'no-answer');
    await page.locator('#passage').fill('');
    await page.getByRole('button', { name: 'Answer' }).click();
    expect(await page.locator('#passage-problem').textContent()).toBe('Type or paste a passage first.');
    expect(await page.locator('#passage').evaluate((field) => field === document.activeElement)).toBe(true);
    await looksRight(page, 'empty');
  });

  test('loading shows how far it is, can be cancelled, and begun again', async () => {
    let rest = () => {};
    servers.isolated.halves.set(
      'model.safetensors',
      new Promise((resolve) => {
        rest = resolve;
      }),
    );
    const page = await visit();
    const bar = page.locator('#bar');
    await expect
      .poll(() => bar.evaluate((progress: HTMLProgressElement) => progress.value), { timeout: 30_000 })
      .toBeCloseTo(0.5, 1);
    await looksRight(page, 'loading');
    await page.getByRole('button', { name: 'Cancel' }).click();
    await status(page, /^Cancelled\. No model is loaded\.$/);
    expect(await page.locator('#progress').isVisible()).toBe(false);
    servers.isolated.halves.clear();
    rest();
    await page.getByRole('button', { name: 'Load the model' }).click();
    await answered(page);
    expect(await answer(page)).toBe('New York Times');
    complaints.length = 0; // the browser's own line about the download that ended
  });

  test('a long answer can be cancelled; the model is loaded again', async () => {
    const page = await visit();
    await answered(page);
    await page.locator('#passage').fill(LONG.repeat(20));
    await page.getByRole('button', { name: 'Answer' }).click();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await status(page, /^Cancelled\. The model is loaded again\.$/);
    await page.getByRole('button', { name: EXAMPLES[0]!.name }).click();
    await answered(page);
    expect(await answer(page)).toBe('New York Times');
  });

  test('without the headers: one thread, and it says why; after a reload the service worker adds them', async () => {
    const page = await visit(servers.plain);
    await status(page, /^Answered in .* 1 thread, int8/);
    expect(await page.locator('#hints').textContent()).toMatch(/One thread only.*does not send the headers.*Reload/);
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(false);
    await looksRight(page, 'one-thread');
    await page.reload();
    await status(page, /^Answered in .* \d+ threads, int8/);
    expect(await page.locator('#hints').textContent()).not.toContain('One thread');
  });

  test('the second visit needs no network', async () => {
    const own = await pageServer(join(ROOT, 'dist-web'), { isolated: true });
    const page = await visit(own);
    await answered(page);
    await expect
      .poll(() => page.evaluate(async () => (await (await caches.open('bertlet-models')).keys()).length), {
        timeout: 20_000,
      })
      .toBeGreaterThan(2);
    own.close();
    await context.setOffline(true);
    await page.reload();
    await answered(page);
    expect(await answer(page)).toBe('New York Times');
    await page.getByText('Another model').click();
    await page.getByLabel('Of the Hugging Face Hub').fill('owner/name');
    await page.getByRole('button', { name: 'Load' }).click();
    await page.getByText('The network cannot be reached').waitFor();
    await page.getByRole('button', { name: 'Use the embedded model' }).click();
    await answered(page);
    complaints.length = 0; // the browser's own lines about the network
  });

  test('files of a model: the wrong ones, damaged ones, and right ones', async () => {
    const page = await visit();
    await answered(page);
    await page.getByText('Another model').click();
    const files = page.getByLabel('Of this machine');
    const of = (name: string, buffer = readFileSync(join(TINY, name))) => ({
      name,
      mimeType: 'application/octet-stream',
      buffer,
    });
    await files.setInputFiles([of('notes.txt', Buffer.from('hello'))]);
    await page.getByText('A file cannot be read').waitFor();
    expect(await error(page)).toMatch(/expected config\.json, model\.safetensors .* got notes\.txt/);
    await looksRight(page, 'error');
    await page.evaluate(() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(['meow'], 'cat.png'));
      document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
    });
    await page.locator('#error', { hasText: 'got cat.png' }).waitFor();

    const damaged = readFileSync(join(TINY, 'model.safetensors')).subarray(0, 1000);
    await files.setInputFiles([
      of('config.json'),
      of('vocab.txt'),
      of('tokenizer_config.json'),
      of('model.safetensors', damaged),
    ]);
    await page.getByText('This is no safetensors file that can be read').waitFor();
    expect(await error(page)).not.toContain('dropped.invalid');
    await page.getByRole('button', { name: 'Answer' }).click();
    await answered(page); // by the model that was there before
    expect(await answer(page)).toBe('New York Times');

    await page.locator('#question').fill('Who came?'); // the tiny model has 64 positions
    await page.locator('#passage').fill('Ada came yesterday.');
    await files.setInputFiles(
      ['config.json', 'vocab.txt', 'tokenizer_config.json', 'model.safetensors'].map((name) => of(name)),
    );
    await status(page, /^Answered in/);
    expect(await page.locator('#runs-on').textContent()).toContain('Now: your model');
    await page.getByRole('button', { name: 'Back to the embedded model' }).click();
    await page.locator('#runs-on', { hasText: 'the embedded model' }).waitFor();
    await answered(page);
    expect(await answer(page)).toBe('Ada');
  });

  test('a name that the Hub does not have, and no memory', async () => {
    const page = await visit();
    await answered(page);
    await context.route('https://huggingface.co/**', (route) =>
      route.fulfill({ status: 404, headers: { 'access-control-allow-origin': '*' }, body: '{}' }),
    );
    await page.getByText('Another model').click();
    await page.getByLabel('Of the Hugging Face Hub').fill('owner/nothing');
    await page.getByRole('button', { name: 'Load' }).click();
    await page.getByText('A file cannot be read').waitFor();
    expect(await error(page)).toMatch(/owner\/nothing: .*HTTP status 404.*Check the name/);
    complaints.length = 0; // the browser's own line about the 404

    await engineOf(page).evaluate(() => {
      WebAssembly.Memory.prototype.grow = () => {
        throw new RangeError('WebAssembly.Memory.grow(): Unable to grow instance memory');
      };
    });
    await page.getByLabel('fp32', { exact: true }).check();
    await page.getByText('There is not enough memory').waitFor();
    expect(await page.getByLabel('int8', { exact: true }).isChecked()).toBe(true); // what is in use
    await page.getByRole('button', { name: 'Answer' }).click();
    await answered(page);
  });

  test('a worker that cannot be loaded is said in words', async () => {
    const page = await visit(servers.isolated, { serviceWorkers: 'block' }); // which would have it from its cache
    await answered(page);
    await context.route(/worker-.*\.js$/, (route) => route.abort());
    await page.reload();
    await page.getByText('Something went wrong').waitFor();
    expect(await error(page)).toMatch(/the worker ended.*Reload the page/);
    complaints.length = 0;
  });

  test('webgpu answers; a lost device is said in words, and the CPU takes over', { timeout: 120_000 }, async () => {
    const page = await visit();
    await answered(page);
    await engineOf(page).evaluate(() => {
      const { requestDevice } = GPUAdapter.prototype;
      GPUAdapter.prototype.requestDevice = async function (descriptor) {
        const device = await requestDevice.call(this, descriptor);
        Object.assign(globalThis, { device });
        return device;
      };
    });
    await page.getByLabel('WebGPU', { exact: true }).check();
    await status(page, /^Answered in .* swiftshader \(software\), int8/);
    expect(await answer(page)).toBe('New York Times');
    await engineOf(page).evaluate(() => (globalThis as unknown as { device: GPUDevice }).device.destroy());
    await page.getByRole('button', { name: 'Answer' }).click();
    await page.getByText('The GPU was lost').waitFor();
    await looksRight(page, 'lost');
    await page.getByRole('button', { name: 'Use the CPU' }).click();
    await status(page, /^Answered in .* on the CPU/);
  });

  test('by keyboard alone', async () => {
    const page = await visit();
    await answered(page);
    const focused = () =>
      page.evaluate(() => {
        const element = document.activeElement as HTMLInputElement;
        const ring = [element, element.parentElement!, element.closest('.page'), element.nextElementSibling]
          .filter((each) => each !== null)
          .some((each) => getComputedStyle(each).outlineStyle !== 'none');
        const own = element.id || element.value || element.textContent!.trim();
        return { name: element === document.body ? 'page' : own, ring };
      });
    const seen: string[] = [];
    for (;;) {
      await page.keyboard.press('Tab');
      const { name, ring } = await focused();
      if (name === 'page') break; // past the last one
      expect(ring, `focus of ${name} can be seen`).toBe(true);
      seen.push(name);
    }
    const [first, , second] = ['question', 'Answer', 'passage'];
    expect(seen.slice(0, 3)).toEqual([first, 'Answer', second]);
    expect(seen).toEqual(
      expect.arrayContaining(['cpu', 'int8', 'torch', 'threads', 'Another model', 'measure', 'explain']),
    );

    await page.locator('#question').focus();
    await page.keyboard.press('Control+A');
    await page.keyboard.type('What may explain why many Americans are rich?');
    await page.keyboard.press('Enter');
    await expect.poll(() => answer(page)).toBe('Inherited wealth');
    await page.locator('#passage').focus();
    await page.keyboard.press('Control+Enter');
    await answered(page);
    await page.locator('input[value=int8]').focus();
    await page.keyboard.press('ArrowRight');
    await status(page, /^Answered in .* fp32\.$/);
  });

  test('measures this machine: lines for the CPU, words for a GPU that is none; stops when told', async () => {
    const page = await visit();
    await answered(page);
    await page.getByRole('button', { name: 'Measure this machine' }).click();
    await status(page, /^Measured\.$/);
    const rows = await page.locator('#timings tbody tr').allTextContents();
    expect(rows.map((row) => row.slice(0, 8))).toEqual(['CPU fp32', 'CPU int8']);
    expect(rows[0]).toMatch(/1\.00 ×86 MB$/);
    expect(await page.locator('#timings > p').textContent()).toMatch(
      /^WebGPU fp32, WebGPU fp16, WebGPU int8: Not measured/,
    );
    await looksRight(page, 'benchmark');
    await page.getByRole('button', { name: 'Measure this machine' }).click();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await status(page, /^Stopped\.$/);
    await page.getByRole('button', { name: 'Answer' }).click();
    await answered(page); // the model is still there
  });

  test('what quantization did: three answers, a line for each of the 25 linears and scheme', async () => {
    const page = await visit();
    await answered(page);
    await page.getByRole('button', { name: 'What did it do to this question?' }).click();
    await status(page, /^Compared/);
    const table = page.locator('#explanation table').first();
    expect(await table.locator('tbody tr').allTextContents()).toEqual([
      expect.stringMatching(/^float32New York Times0\.463$/),
      expect.stringMatching(/^int8, as PyTorchNew York Times0\.660/),
      expect.stringMatching(/^int8, finer scalesNew York Times0\./),
    ]);
    expect(
      await page
        .locator('#explanation details table')
        .evaluateAll((all) => all.map((one) => (one as HTMLTableElement).tBodies[0]!.rows.length)),
    ).toEqual([25, 25]);
    await looksRight(page, 'explain');
  });
});
