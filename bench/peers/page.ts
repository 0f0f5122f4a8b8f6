/** bertlet or transformers.js in a page of headless Chromium, as an engine of run.ts: with the headers that threads need, or without. Usage: page.ts JOB */
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { headlessChromium } from '../../scripts/driver.ts';
import { pageServer } from '../pageServer.ts';
import { VERSION } from '../version.ts';
import { type Job, ROOT } from './engines.ts';
import { serve } from './serve.ts';

const { engine, dtype, threads, dir, isolated = false, question, context }: Job = JSON.parse(process.argv[2]!);
const OWN = `import { load } from '/bertlet/dist/src/index.js';
    const [dtype, scheme] = '${dtype}'.split(' ');
    const qa = await load('/bertlet/weights/minilm-l6-qa', { dtype, ...(scheme && { scheme }) });
    window.about = { version: '${VERSION}', kernels: qa.info.kernels };
    const answer = async ({ question, context }) => (await qa.answer({ question, context }))[0].text;`;
const PEER = `import { env, pipeline } from '/peers/node_modules/@huggingface/transformers/dist/transformers.web.js';
    env.allowRemoteModels = false;
    env.allowLocalModels = true;
    env.localModelPath = '/peers/';
    env.backends.onnx.wasm.wasmPaths = '/peers/node_modules/onnxruntime-web/dist/';
    env.backends.onnx.wasm.numThreads = crossOriginIsolated ? ${threads} : 1;
    const qa = await pipeline('question-answering', 'answers', { dtype: '${dtype === 'int8' ? 'q8' : dtype}', device: 'wasm' });
    window.about = { version: env.version };
    const answer = async ({ question, context }) => (await qa(question, context)).answer.trim();`;
const PAGE = `<!doctype html>
  <script type="importmap">
    { "imports": {
      "onnxruntime-web/webgpu": "/peers/node_modules/onnxruntime-web/dist/ort.webgpu.min.mjs",
      "onnxruntime-common": "/peers/node_modules/onnxruntime-common/dist/esm/index.js"
    } }
  </script>
  <script type="module">
    ${engine === 'bertlet' ? OWN : PEER}
    window.answer = async (asked) => {
      const begin = performance.now();
      const text = await answer(asked);
      return { text, milliseconds: performance.now() - begin }; // by the page's clock, without the way to the other process
    };
  </script>`;

type Asked = Partial<Record<'question' | 'context', string>>;
interface Window {
  about: { version: string; kernels?: string };
  answer(asked: Asked): Promise<{ text: string; milliseconds: number }>;
}

const folder = mkdtempSync(join(tmpdir(), 'bertlet-page-'));
process.once('exit', () => rmSync(folder, { recursive: true }));
writeFileSync(join(folder, 'index.html'), PAGE);
symlinkSync(ROOT, join(folder, 'bertlet'));
symlinkSync(dir, join(folder, 'peers'));
const server = await pageServer(folder, { isolated });
const browser = await chromium.launch(headlessChromium());
await serve(
  async () => {
    const page = await browser.newPage();
    page.on('pageerror', ({ message }) => console.error(message));
    await page.goto(server.url);
    await page.waitForFunction('window.answer', null, { timeout: 120_000 });
    const about = await page.evaluate(() => (window as unknown as Window).about);
    const place = `Chromium ${browser.version()}, ${isolated ? 'threads' : '1 thread'}`;
    const answer = ({ question, context }: Asked) =>
      page.evaluate((asked) => (window as unknown as Window).answer(asked), { question, context } as Asked);
    return { engine, dtype, place, ...about, answer };
  },
  { question, context },
);
