/**
 * The package with every bundler, for a page and for Node, as a module and as a script, and in Jest's kind of vm context:
 * each is built, or not, and runs, without any configuration. docs/use.md has the result: `BERTLET_WRITE=1` writes it there.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build as esbuild } from 'esbuild';
import { type Browser, chromium } from 'playwright-core';
import { rolldown } from 'rolldown';
import { build as vite } from 'vite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import webpack, { type Configuration } from 'webpack';
import { pageServer } from '../bench/pageServer.ts';
import { headlessChromium } from '../scripts/driver.ts';
import { load } from '../src/index.ts';
import { CHECKPOINT, ROOT, TINY } from './support.ts';

const FORMATS = ['page', 'ESM', 'CommonJS'] as const;
type Format = (typeof FORMATS)[number];
/** Builds a program, `entry`, to the file `main.js`, `main.mjs` or `main.cjs` of a folder. */
type Build = (entry: string, folder: string, format: Format) => Promise<unknown>;

const ASK = { question: 'Who wrote the program?', context: 'Ada wrote the first program in 1843.' };
const PROGRAM = `import { load } from 'bertlet';
(async () => {
  const page = globalThis.document;
  const qa = await load(page ? new URL('./model', page.baseURI) : 'model');
  const [best] = await qa.answer(${JSON.stringify(ASK)});
  const said = [best.text, best.start, best.end, qa.info.threads].join(' ');
  if (page) page.title = said;
  else console.log(said);
  await qa.dispose();
})();
`;
const NAMES: Record<Format, string> = { page: 'main.js', ESM: 'main.mjs', CommonJS: 'main.cjs' };

const withWebpack = (entry: string, path: string, format: Format) => {
  const configuration: Configuration = {
    ...{ mode: 'production', context: ROOT, entry, target: format === 'page' ? 'web' : 'node' },
    output: { path, filename: NAMES[format], module: format === 'ESM' },
    experiments: { outputModule: format === 'ESM' },
    optimization: { minimize: format === 'page' }, // once is enough: it takes seconds
  };
  return new Promise<void>((resolve, reject) => {
    webpack(configuration, (error, stats) => {
      const wrong = error ?? (stats!.hasErrors() || stats!.hasWarnings() ? new Error(stats!.toString()) : null);
      if (wrong) reject(wrong);
      else resolve();
    });
  });
};

/** A version as far as it tells one edition from another: 5, or 0.28. */
const versionOf = (name: string): string => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'node_modules', name, 'package.json'), 'utf8')) as {
    version: string;
  };
  return /^(0\.)?\d+/.exec(version)![0];
};

const BUNDLERS: Record<string, { formats: readonly Format[]; build: Build }> = {
  'no bundler': {
    formats: FORMATS,
    build: async (entry, folder, format) => {
      const required = PROGRAM.replace(/^import (.*) from (.*);/, 'const $1 = require($2);');
      writeFileSync(join(folder, NAMES[format]), format === 'CommonJS' ? required : readFileSync(entry));
      symlinkSync(join(entry, '..', 'node_modules'), join(folder, 'node_modules'));
    },
  },
  [`esbuild ${versionOf('esbuild')}`]: {
    formats: FORMATS,
    build: async (entry, folder, format) => {
      const { warnings } = await esbuild({
        ...{ entryPoints: [entry], outfile: join(folder, NAMES[format]), bundle: true, minify: true },
        ...{ format: format === 'CommonJS' ? 'cjs' : 'esm', platform: format === 'page' ? 'browser' : 'node' },
      });
      expect(warnings).toEqual([]);
    },
  },
  [`rolldown ${versionOf('rolldown')}`]: {
    formats: FORMATS,
    build: async (input, folder, format) => {
      const warnings: unknown[] = [];
      const platform = format === 'page' ? 'browser' : 'node';
      const bundle = await rolldown({ input, platform, onLog: (_, { message }) => warnings.push(message) });
      await bundle.write({ file: join(folder, NAMES[format]), format: format === 'CommonJS' ? 'cjs' : 'esm' });
      await bundle.close();
      expect(warnings).toEqual([]);
    },
  },
  [`Vite ${versionOf('vite')}`]: {
    formats: ['page'],
    build: (entry, outDir) =>
      vite({
        ...{ root: join(entry, '..'), configFile: false, logLevel: 'silent' },
        build: { outDir, rolldownOptions: { input: entry, output: { entryFileNames: NAMES.page } } },
      }),
  },
  [`webpack ${versionOf('webpack')}`]: { formats: FORMATS, build: withWebpack },
};

const folder = mkdtempSync(join(tmpdir(), 'bertlet-environments-'));
const entry = join(folder, 'project', 'main.js');
let browser: Browser;
/** What a program says of the tiny model's answer before the number of threads. */
let want: string;
const passed = new Set<string>();

beforeAll(async () => {
  const installed = join(folder, 'project', 'node_modules', 'bertlet');
  mkdirSync(installed, { recursive: true });
  cpSync(join(ROOT, 'dist'), join(installed, 'dist'), { recursive: true });
  cpSync(join(ROOT, 'package.json'), join(installed, 'package.json'));
  writeFileSync(entry, PROGRAM);
  const qa = await load(TINY);
  const [{ text, start, end }] = await qa.answer(ASK);
  await qa.dispose();
  expect(text).toMatch(/^\w/);
  want = [text, start, end].join(' ');
  browser = await chromium.launch(headlessChromium() as Parameters<typeof chromium.launch>[0]);
});
afterAll(async () => {
  await browser.close();
  rmSync(folder, { recursive: true });
});

/** Runs what is in a folder in Chromium, with threads and without. Returns what it says, and the scripts it fetched. */
async function runPage(path: string) {
  const scripts = { imports: { bertlet: './node_modules/bertlet/dist/src/index.js' } };
  const map = `<script type="importmap">${JSON.stringify(scripts)}</script>`;
  writeFileSync(join(path, 'index.html'), `${map}<script type="module" src="main.js"></script>`);
  const said: string[] = [];
  const fetched = new Set<string>();
  for (const isolated of [true, false]) {
    const server = await pageServer(path, { isolated });
    const page = await browser.newPage();
    page.on('request', (request) => fetched.add(request.url().replace(server.url, '')));
    await page.goto(server.url);
    await expect.poll(() => page.title(), { timeout: 60_000 }).not.toBe('');
    said.push(await page.title());
    await page.close();
    server.close();
  }
  return { said, fetched: [...fetched].filter((url) => !/^(blob:.*|model\/.*|favicon.ico|)$/.test(url)) };
}

test.each(Object.entries(BUNDLERS).flatMap(([name, { formats }]) => formats.map((format) => [name, format] as const)))(
  '%s, %s',
  async (name, format) => {
    const path = join(folder, `${name} ${format}`);
    mkdirSync(path);
    await BUNDLERS[name]!.build(entry, path, format);
    symlinkSync(TINY, join(path, 'model'));
    if (format === 'page') {
      const { said, fetched } = await runPage(path);
      expect(said).toEqual([expect.stringMatching(`^${want} \\d+$`), `${want} 1`]);
      if (name !== 'no bundler') expect(fetched).toEqual(['main.js']); // and nothing else is to be served
    } else {
      const { stdout, stderr } = spawnSync(process.execPath, [NAMES[format]], { cwd: path, encoding: 'utf8' });
      expect([stdout, stderr]).toEqual([expect.stringMatching(`^${want} \\d+\\n$`), '']);
    }
    passed.add(`${name} ${format}`);
  },
);

/**
 * Runs modules in a vm context, as Jest does, whose jsdom takes TextDecoder away. Globals are slow there: with one in the
 * loops of the quantizer, this load took nine times as long as outside.
 */
const IN_CONTEXT = `
  import { readFileSync } from 'node:fs';
  import { createContext, SourceTextModule } from 'node:vm';
  import { load } from 'bertlet';
  const globals = { atob, performance, process, setTimeout, clearTimeout, SharedArrayBuffer, URL };
  const context = createContext(globals);
  const modules = new Map();
  const moduleAt = (identifier) => {
    if (!modules.has(identifier))
      modules.set(identifier, new SourceTextModule(readFileSync(new URL(identifier), 'utf8'), { identifier, context }));
    return modules.get(identifier);
  };
  const index = moduleAt(import.meta.resolve('bertlet'));
  await index.link((specifier, { identifier }) => moduleAt(new URL(specifier, identifier).href));
  await index.evaluate();
  const seconds = async (load) => {
    const begin = process.cpuUsage();
    const qa = await load('model', { threads: 1, wideSimd: false });
    const { user } = process.cpuUsage(begin);
    const [{ text }] = await qa.answer({ question: 'Who wrote the program?', context: 'Ada wrote the first program.' });
    await qa.dispose();
    return [text, user / 1e6];
  };
  console.log(JSON.stringify([await seconds(load), await seconds(index.namespace.load)]));
`;
test("Jest's vm contexts, without TextDecoder as in jsdom: it answers, and loads nearly as fast as elsewhere", () => {
  const path = join(folder, 'project');
  symlinkSync(CHECKPOINT, join(path, 'model'));
  writeFileSync(join(path, 'context.mjs'), IN_CONTEXT);
  const args = ['--experimental-vm-modules', '--no-warnings', 'context.mjs'];
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: path, encoding: 'utf8' });
  expect(stderr).toBe('');
  const [outside, inside] = JSON.parse(stdout) as [string, number][];
  console.log(`load: ${outside![1]} s of CPU time, in a vm context ${inside![1]} s`);
  expect([outside![0], inside![0]]).toEqual(['Ada', 'Ada']);
  expect(inside![1]).toBeLessThan(4 * outside![1]);
});

test('the table of docs/use.md is what ran', () => {
  const row = (cells: string[]) => `| ${cells.join(' | ')} |`;
  const table = [
    row(['', 'page', 'Node, ESM', 'Node, CommonJS']),
    '|---|---|---|---|',
    ...Object.keys(BUNDLERS).map((name) =>
      row([name, ...FORMATS.map((format) => (passed.has(`${name} ${format}`) ? 'yes' : ''))]),
    ),
  ].join('\n');
  const path = join(ROOT, 'docs/use.md');
  const document = readFileSync(path, 'utf8');
  const updated = document.replace(
    /<!-- environments -->\n.*?<!-- \/environments -->/s,
    () => `<!-- environments -->\n${table}\n<!-- /environments -->`,
  );
  if (process.env.BERTLET_WRITE) writeFileSync(path, updated);
  else expect(document).toBe(updated);
  expect(updated).toContain(table);
});
