/** The part of scripts/browsers.sh that runs in Node: serves the pages, starts the browsers, prints what the pages report. */
import { execFileSync, spawn } from 'node:child_process';
import { createReadStream, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { QUESTION, TEXT } from '../bench/article.ts';
import { load } from '../src/index.ts';

const ROOT = join(import.meta.dirname, '..');
const PICTURES = join(ROOT, 'test-output', 'browsers');
const TYPES: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };
const ISOLATED = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };
/** Milliseconds after which a browser that reports nothing is given up. */
const PATIENCE = 300_000;

interface Report {
  end?: true;
  facts?: Record<string, unknown>;
  name?: string;
  error?: string;
  text?: string;
  score?: number;
  loaded?: number;
  median?: number;
  start?: number[];
  info?: { kernels?: string; threads?: number; adapter?: string; reason?: string; measured?: Record<string, number> };
}

/** Serves a folder, and hands on what its pages post to /report. */
async function serve(folder: string, isolated: boolean, tell: (report: Report) => void) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url!, 'http://localhost');
    if (request.method === 'POST') {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      tell(JSON.parse(Buffer.concat(chunks).toString()) as Report);
      return response.end();
    }
    const headers = isolated ? ISOLATED : {};
    if (pathname === '/article.json') {
      return response.writeHead(200, headers).end(JSON.stringify({ question: QUESTION, context: TEXT }));
    }
    const path = join(folder, normalize(pathname.endsWith('/') ? `${pathname}index.html` : pathname));
    if (!existsSync(path)) return response.writeHead(404, headers).end();
    const type = TYPES[extname(path)] ?? 'application/octet-stream';
    response.writeHead(200, { 'content-type': type, 'content-length': statSync(path).size, ...headers });
    createReadStream(path).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}

/** Firefox's preferences: WebGPU on, and on a software driver as well; no first pages, no updates. */
const PREFERENCES = {
  'dom.webgpu.enabled': true,
  'gfx.webgpu.ignore-blocklist': true,
  'browser.shell.checkDefaultBrowser': false,
  'browser.aboutwelcome.enabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'app.update.auto': false,
};

const BROWSERS: Record<string, (url: string, profile: string) => string[]> = {
  Firefox: (url, profile) => {
    const lines = Object.entries(PREFERENCES).map(([name, value]) => `user_pref("${name}", ${value});\n`);
    writeFileSync(join(profile, 'user.js'), lines.join(''));
    return ['firefox-esr', '--no-remote', '--profile', profile, '--kiosk', url];
  },
  WebKitGTK: (url) => {
    const [browser] = ['4.1', '4.0']
      .map((version) => `/usr/lib/x86_64-linux-gnu/webkit2gtk-${version}/MiniBrowser`)
      .filter(existsSync);
    return [browser!, '--private', '--full-screen', url];
  },
};

/** Starts a browser with a page until `done` settles. */
async function browse(name: string, url: string, done: Promise<void>): Promise<void> {
  const profile = mkdtempSync(join(tmpdir(), 'bertlet-browser-'));
  const [file, ...args] = BROWSERS[name]!(url, profile);
  const env = { ...process.env, HOME: profile, WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1' };
  const child = spawn(file!, args, { stdio: 'ignore', env, detached: true });
  try {
    await Promise.race([done, sleep(PATIENCE, undefined, { ref: false }).then(() => console.log('  gave up waiting'))]);
  } finally {
    process.kill(-child.pid!, 'SIGKILL');
    await sleep(500);
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

const want = new Map<string, Float32Array>();
for (const [name, options] of Object.entries({
  fp32: { dtype: 'fp32' },
  'int8 torch': { scheme: 'torch' },
  'int8 accurate': { scheme: 'accurate' },
} as const)) {
  const qa = await load(join(ROOT, 'weights', 'minilm-l6-qa'), { ...options, threads: 1 });
  const { ids, typeIds } = qa.tokenizer.encodePair(QUESTION, TEXT);
  want.set(`cpu ${name}`, (await qa.logits({ inputIds: ids, tokenTypeIds: typeIds })).start);
  await qa.dispose();
}

/** Says how far the logits are from those of Node. */
function comparison({ name = '', start = [] }: Report): string {
  const own = want.get(name);
  if (!own) return '';
  const difference = Math.max(...start.map((value, i) => Math.abs(value - own[i]!)));
  return difference === 0 ? ", Node's bits" : `, up to ${difference.toExponential(1)} from Node's logits`;
}

mkdirSync(PICTURES, { recursive: true });
for (const browser of Object.keys(BROWSERS)) {
  for (const isolated of [true, false]) {
    console.log(`${browser}, ${isolated ? 'with the two headers' : 'without headers'}`);
    let finish = () => {};
    const done = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const { url, close } = await serve(ROOT, isolated, (report) => {
      const { end, facts, name, error, text, score = 0, loaded = 0, median = 0, info } = report;
      if (end) finish();
      else if (facts) console.log(`  ${JSON.stringify(facts)}`);
      else if (error) console.log(`  ${name}: ${error}`);
      else {
        const with_ = info?.adapter ?? `${info?.threads} threads, ${info?.kernels}`;
        console.log(
          `  ${name}: ${text} (${score.toFixed(3)})${comparison(report)}; load ${loaded.toFixed(0)} ms, answer ${median.toFixed(1)} ms; ${with_}`,
        );
        if (info?.reason) console.log(`    ${info.reason}`);
        const measured = Object.entries(info?.measured ?? {}).map(([kernel, ms]) => `${kernel} ${ms.toFixed(2)} ms`);
        if (measured.length > 0) console.log(`    timed at start: ${measured.join(', ')}`);
      }
    });
    await browse(browser, `${url}/test/page/report.html`, done).finally(close);
    const page = await serve(join(ROOT, 'dist-web'), isolated, () => {});
    const picture = join(PICTURES, `${browser}-${isolated ? 'isolated' : 'plain'}.png`);
    const shown = sleep(20_000).then(() => void execFileSync('import', ['-window', 'root', picture]));
    await browse(browser, `${page.url}/`, shown).finally(page.close);
  }
}
