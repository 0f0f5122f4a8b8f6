/**
 * bertlet and transformers.js in a page of headless Chromium, as peers of run.ts --answers: with threads, and without the
 * headers that threads need. Usage: page_answers.ts DIR isolated|plain THREADS QUESTION CONTEXT
 */
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { headlessChromium } from '../../scripts/driver.ts';
import { pageServer } from '../pageServer.ts';
import { serve } from './serve.ts';

const [dir, kind, threads, question, context] = process.argv.slice(2) as [string, string, string, string, string];
const PAGE = `<!doctype html>
  <script type="importmap">
    { "imports": {
      "onnxruntime-web/webgpu": "/peers/node_modules/onnxruntime-web/dist/ort.webgpu.min.mjs",
      "onnxruntime-common": "/peers/node_modules/onnxruntime-common/dist/esm/index.js"
    } }
  </script>
  <script type="module">
    import { load } from '/bertlet/dist/src/index.js';
    import { env, pipeline } from '/peers/node_modules/@huggingface/transformers/dist/transformers.web.js';

    env.allowRemoteModels = false;
    env.allowLocalModels = true;
    env.localModelPath = '/peers/';
    env.backends.onnx.wasm.wasmPaths = '/peers/node_modules/onnxruntime-web/dist/';
    env.backends.onnx.wasm.numThreads = crossOriginIsolated ? ${threads} : 1;
    const own = (options) => load('/bertlet/weights/minilm-l6-qa', options)
      .then((qa) => async (question, context) => (await qa.answer({ question, context }))[0].text);
    const peer = (dtype) => pipeline('question-answering', 'answers', { dtype, device: 'wasm' })
      .then((model) => async (question, context) => (await model(question, context)).answer);
    const engines = {
      'bertlet fp32': await own({ dtype: 'fp32' }),
      'bertlet int8 torch': await own({ scheme: 'torch' }),
      ['transformers.js ' + env.version + ' fp32']: await peer('fp32'),
      ['transformers.js ' + env.version + ' int8']: await peer('q8'),
    };
    window.names = Object.keys(engines);
    window.run = async (name, question, context) => {
      const begin = performance.now();
      const text = await engines[name](question, context);
      return { text, milliseconds: performance.now() - begin };
    };
  </script>`;

interface Window {
  names: string[];
  run(name: string, question: string, context: string): Promise<{ text: string; milliseconds: number }>;
}

const folder = mkdtempSync(join(tmpdir(), 'bertlet-page-'));
process.once('exit', () => rmSync(folder, { recursive: true }));
writeFileSync(join(folder, 'index.html'), PAGE);
symlinkSync(join(import.meta.dirname, '..', '..'), join(folder, 'bertlet'));
symlinkSync(dir, join(folder, 'peers'));
const server = await pageServer(folder, { isolated: kind === 'isolated' });

const browser = await chromium.launch(headlessChromium());
const page = await browser.newPage();
page.on('pageerror', ({ message }) => console.error(message));
await page.goto(server.url);
await page.waitForFunction('window.names', null, { timeout: 120_000 });
const names = await page.evaluate(() => (window as unknown as Window).names);
const runs = names.map((name) => {
  const run = async () => {
    const { text, milliseconds } = await page.evaluate(
      ([name, question, context]) => (window as unknown as Window).run(name, question, context),
      [name, question, context] as const,
    );
    if (text.trim().toLowerCase() !== 'new york times') throw new Error(`${name}: ${text}`);
    return milliseconds; // by the page's clock, without the way to this process
  };
  return [name, run] as const;
});
await serve(`Chromium ${browser.version()}, ${kind === 'isolated' ? 'threads' : '1 thread'}`, Object.fromEntries(runs));
