/** The part of scripts/browsers.sh that runs in Node: serves the pages, starts the browsers, prints what the pages report. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { QUESTION, TEXT } from '../bench/article.ts';
import { pageServer } from '../bench/pageServer.ts';
import { load } from '../src/index.ts';

const ROOT = join(import.meta.dirname, '..');
const PICTURES = join(ROOT, 'test-output', 'browsers');
const ASKED = new URLSearchParams({ question: QUESTION, context: TEXT });
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

/** Prints what a page reports. */
function print(report: Report): void {
  const { facts, name, error, text, score = 0, loaded = 0, median = 0, info } = report;
  if (facts) console.log(`  ${JSON.stringify(facts)}`);
  if (error) console.log(`  ${name}: ${error}`);
  if (!info) return;
  const engine = info.adapter ?? `${info.threads} threads, ${info.kernels}`;
  const times = `load ${loaded.toFixed(0)} ms, answer ${median.toFixed(1)} ms`;
  console.log(`  ${name}: ${text} (${score.toFixed(3)})${comparison(report)}; ${times}; ${engine}`);
  if (info.reason) console.log(`    ${info.reason}`);
  const measured = Object.entries(info.measured ?? {}).map(([kernel, ms]) => `${kernel} ${ms.toFixed(2)} ms`);
  if (measured.length > 0) console.log(`    timed at start: ${measured.join(', ')}`);
}

mkdirSync(PICTURES, { recursive: true });
for (const browser of Object.keys(BROWSERS)) {
  for (const isolated of [true, false]) {
    console.log(`${browser}, ${isolated ? 'with the two headers' : 'without headers'}`);
    const ended = Promise.withResolvers<void>();
    const onPost = (body: string) => {
      const report: Report = JSON.parse(body);
      print(report);
      if (report.end) ended.resolve();
    };
    const library = await pageServer(ROOT, { isolated, onPost });
    await browse(browser, `${library.url}test/page/report.html?${ASKED}`, ended.promise).finally(library.close);
    const page = await pageServer(join(ROOT, 'dist-web'), { isolated });
    const picture = join(PICTURES, `${browser}-${isolated ? 'isolated' : 'plain'}.png`);
    const shown = sleep(20_000).then(() => void execFileSync('import', ['-window', 'root', picture]));
    await browse(browser, page.url, shown).finally(page.close);
  }
}
