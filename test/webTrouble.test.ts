// @page
/** The page (web/) in headless Chromium: what it says and does when something is slow, cancelled, missing or lost. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { pageServer } from '../bench/pageServer.ts';
import { EXAMPLES } from '../programs/web/examples.ts';
import { ROOT, TINY } from './support.ts';
import {
  answer,
  answered,
  askButton,
  choice,
  engineOf,
  error,
  FOLDER,
  LONG,
  looksRight,
  pageTests,
  status,
} from './webPage.ts';

const web = pageTests();

test('loading shows how far it is, also where the server does not say; can be cancelled, and begun again', async () => {
  let rest = () => {};
  const own = await pageServer(FOLDER, { isolated: true, lengths: false });
  own.halves.set(
    'model.safetensors',
    new Promise((resolve) => {
      rest = resolve;
    }),
  );
  const page = await web.visit(own);
  const bar = page.locator('#bar');
  await expect
    .poll(() => bar.evaluate((progress: HTMLProgressElement) => progress.value), { timeout: 30_000 })
    .toBeCloseTo(0.5, 1);
  // The bar is close to a half some megabytes before the half that the server sends has come.
  await expect.poll(() => page.locator('#step').textContent(), { timeout: 30_000 }).toBe('17 MB of 33 MB');
  await looksRight(page, 'loading');
  // The place of the answer is there before the answer is.
  const card = page.locator('#result', { hasText: 'The answer comes here.' });
  expect((await card.boundingBox())!.height).toBeGreaterThan(250);
  expect(await card.locator('#bar').count()).toBe(1);
  await page.getByRole('button', { name: 'Cancel' }).click();
  await status(page, /^Cancelled\. No model is loaded\.$/);
  expect(await page.locator('#progress').isVisible()).toBe(false);
  await looksRight(page, 'cancelled');
  own.halves.clear();
  rest();
  await page.getByRole('button', { name: 'Load the model' }).click();
  await answered(page);
  expect(await answer(page)).toBe('New York Times');
  own.close();
  web.complaints.length = 0; // the browser's own line about the download that ended
});

test('a long answer can be cancelled, and makes way for the next; the model stays', async () => {
  const page = await web.stay();
  const engine = engineOf(page);
  const asks = async () => {
    await page.locator('#passage').fill(LONG.repeat(20));
    await askButton(page).click();
    await page.locator('#step', { hasText: /^window [2-9] of \d+$/ }).waitFor();
  };
  await asks();
  await looksRight(page, 'reading');
  await page.getByRole('button', { name: 'Cancel' }).click();
  await status(page, /^Cancelled\. The model is still loaded\.$/);
  expect(await page.locator('#progress').isVisible()).toBe(false);
  await asks();
  await page.getByRole('button', { name: EXAMPLES[0]!.name }).click();
  await answered(page);
  expect(await answer(page)).toBe('New York Times');
  expect(engineOf(page)).toBe(engine);
});

test('what cannot be asked: advice that a page can follow, and a button for it', async () => {
  const page = await web.stay();
  await page.locator('#question').fill('why '.repeat(400));
  await askButton(page).click();
  await page.getByText('This cannot be asked').waitFor();
  expect(await error(page)).toMatch(/expected at most 380 tokens, got 400\. A question is never cut: shorten it\.Edit/);
  await looksRight(page, 'too-long');
  await page.getByRole('button', { name: 'Edit the question' }).click();
  expect(await page.locator('#question').evaluate((field) => field === document.activeElement)).toBe(true);
});

test('the links of the footer lead somewhere', async () => {
  const page = await web.stay();
  const links = await page.locator('footer a').evaluateAll((all) => all.map((one) => (one as HTMLAnchorElement).href));
  expect(links.length).toBeGreaterThan(1);
  for (const link of links.filter((one) => one.startsWith(web.servers.isolated.url))) {
    expect([link, (await page.request.get(link)).status()]).toEqual([link, 200]);
  }
  expect(links.join(' ')).not.toMatch(/SOURCE|undefined/);
});

test('files of a model: the wrong ones, damaged ones, and right ones', async () => {
  const page = await web.stay();
  await page.getByText('Another model').click();
  const files = page.getByLabel('From this machine');
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
    dataTransfer.items.add(new File(['meow'], 'cat.png', { type: 'image/png' }));
    document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
  });
  await page.locator('#error', { hasText: 'cat.png: expected text, got image/png.' }).waitFor();

  const damaged = readFileSync(join(TINY, 'model.safetensors')).subarray(0, 1000);
  await files.setInputFiles([
    of('config.json'),
    of('vocab.txt'),
    of('tokenizer_config.json'),
    of('model.safetensors', damaged),
  ]);
  await page.getByText('This is no safetensors file that can be read').waitFor();
  expect(await error(page)).not.toContain('dropped.invalid');
  await askButton(page).click();
  await answered(page); // by the model that was there before
  expect(await answer(page)).toBe('New York Times');

  await page.locator('#question').fill('Who came yesterday?'); // the tiny model has 64 positions
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
  const page = await web.stay();
  await web.context.route('https://huggingface.co/**', () => {}); // a network that is slow without end
  await page.getByText('Another model').click();
  await page.getByLabel('From the Hugging Face Hub').fill('owner/nothing');
  const engine = engineOf(page);
  await page.getByRole('button', { name: 'Load' }).click();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await status(page, /^Cancelled\. Ready as before: the embedded model\.$/);
  expect(engineOf(page)).toBe(engine); // with its model, which is not loaded again
  await askButton(page).click();
  await answered(page);
  await web.context.unroute('https://huggingface.co/**');
  await web.context.route('https://huggingface.co/**', (route) =>
    route.fulfill({ status: 404, headers: { 'access-control-allow-origin': '*' }, body: '{}' }),
  );
  await page.getByRole('button', { name: 'Load' }).click();
  await page.getByText('A file cannot be read').waitFor();
  expect(await error(page)).toMatch(/owner\/nothing: .*HTTP status 404.*Check the name/);
  web.complaints.length = 0; // the browser's own line about the 404

  await engineOf(page).evaluate(() => {
    WebAssembly.Memory.prototype.grow = () => {
      throw new RangeError('WebAssembly.Memory.grow(): Unable to grow instance memory');
    };
  });
  await choice(page, 'fp32').check();
  await page.getByText('There is not enough memory').waitFor();
  expect(await choice(page, 'int8').isChecked()).toBe(true); // what is in use
  await askButton(page).click();
  await answered(page);
});

test('without the headers: one thread, and it says why; after a reload the service worker adds them', async () => {
  const page = await web.visit(web.servers.plain);
  await status(page, /^Answered in .* 1 thread, int8/);
  expect(await page.locator('#hints').textContent()).toMatch(/One thread only.*does not send the headers.*Reload/);
  expect(await page.evaluate(() => crossOriginIsolated)).toBe(false);
  await looksRight(page, 'one-thread');
  await page.reload();
  await status(page, /^Answered in .* \d+ threads, int8/);
  expect(await page.locator('#hints').textContent()).not.toContain('One thread');
});

test('under the Content-Security-Policy of docs/use.md; without a part of it, it says what is missing', async () => {
  const document = readFileSync(join(ROOT, 'docs', 'use.md'), 'utf8');
  const [, policy] = /<!-- policy -->\n```\n(.*)\n```/.exec(document)!;
  const page = await web.visit(web.servers.isolated, { serviceWorkers: 'block' }); // whose files have no policy
  await answered(page);
  let sent = policy!;
  await web.context.route('**', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, headers: { ...response.headers(), 'content-security-policy': sent } });
  });
  await page.reload();
  await status(page, /^Answered in .* [2-9]\d* threads, int8/);
  expect(web.complaints).toEqual([]);
  for (const [source, said] of [
    [' blob:', 'worker-src blob:'],
    [" 'wasm-unsafe-eval'", "script-src 'wasm-unsafe-eval'"],
  ] as const) {
    sent = policy!.replace(source, '');
    await page.reload();
    await page.getByText('This device cannot be used').waitFor();
    expect(await error(page)).toContain(said);
  }
  web.complaints.length = 0; // the browser's own line about the policy
});

test('a worker that cannot be loaded is said in words', async () => {
  const page = await web.visit(web.servers.isolated, { serviceWorkers: 'block' }); // which would have it from its cache
  await answered(page);
  await web.context.route(/worker-.*\.js$/, (route) => route.abort());
  await page.reload();
  await page.getByText('Something went wrong').waitFor();
  expect(await error(page)).toMatch(/the worker ended.*Reload the page/);
  web.complaints.length = 0;
});

test('webgpu answers; a lost device is said in words, and the CPU takes over', async () => {
  const page = await web.visit();
  await answered(page);
  await page.locator('#question').fill('Who wrote the tests?'); // short: a software adapter takes seconds for the article
  await page.locator('#passage').fill('Ada Brown wrote the tests on Friday.');
  await engineOf(page).evaluate(() => {
    const { requestDevice } = GPUAdapter.prototype;
    GPUAdapter.prototype.requestDevice = async function (descriptor) {
      const device = await requestDevice.call(this, descriptor);
      Object.assign(globalThis, { device });
      return device;
    };
  });
  await choice(page, 'webgpu').check();
  await status(page, /^Answered in .* swiftshader \(software\), int8/);
  expect(await answer(page)).toBe('Ada Brown');
  await engineOf(page).evaluate(() => (globalThis as unknown as { device: GPUDevice }).device.destroy());
  await askButton(page).click();
  await page.getByText('The GPU was lost').waitFor();
  await looksRight(page, 'lost');
  await page.getByRole('button', { name: 'Use the CPU' }).click();
  await status(page, /^Answered in .* on the CPU/);

  const files = () => new Set(web.requests.filter((one) => one.endsWith('.safetensors')));
  expect(files().size).toBe(1);
  await choice(page, 'auto').check();
  await choice(page, 'fp16').check();
  await expect.poll(() => files().size).toBe(2); // float16 is made of the float weights
});
