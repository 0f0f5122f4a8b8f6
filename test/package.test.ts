/**
 * What `npm pack` makes, installed into an empty project without network: README's first example in Node, in strict
 * TypeScript and in a page by Vite without configuration; the command; publint and arethetypeswrong.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { build, createServer } from 'vite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { pageServer } from '../bench/pageServer.ts';
import { headlessChromium } from '../scripts/driver.ts';
import { CHECKPOINT, ROOT, TINY } from './support.ts';

const MOST_BYTES = 1e6;
const folder = mkdtempSync(join(tmpdir(), 'bertlet-package-'));
const project = join(folder, 'project');
const inProject = join(project, 'node_modules', 'bertlet');
const OFFLINE = ['--cache', join(folder, 'cache'), '--offline', '--no-audit', '--no-fund'];
let tarball: string;
let weights: string;

/** Runs a program in the project, with nothing of this repository on its way. */
const run = (file: string, ...args: string[]) => spawnSync(file, args, { cwd: project, encoding: 'utf8' });
/** Tarballs of packages' folders. */
function pack(...paths: string[]): string[] {
  const args = ['pack', ...paths, '--ignore-scripts', '--silent', '--pack-destination', folder];
  const names = execFileSync('npm', args, { cwd: ROOT, encoding: 'utf8' }).trim().split('\n');
  return names.slice(-paths.length).map((name) => join(folder, name));
}
/** Names of all that a package needs to run. */
function needed(name: string, path = join(ROOT, 'node_modules', name)): string[] {
  const { dependencies = {} } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) as Record<string, object>;
  return [...new Set(Object.keys(dependencies).flatMap((each) => [each, ...needed(each)]))];
}
/** README's first example, `load` as the checkpoint's folder or address is here, and what it prints. */
const [, example, printed] = /```ts\n(import \{ load \} from 'bertlet';.*?\/\/ (Ada .*?)\n.*?)```/s.exec(
  readFileSync(join(ROOT, 'README.md'), 'utf8'),
)!;

beforeAll(() => {
  const dependencies = needed('bertlet', ROOT);
  const folders = ['.', './weights/minilm-l6-qa', ...dependencies.map((name) => `./node_modules/${name}`)];
  let tarballs: string[];
  [tarball, weights, ...tarballs] = pack(...folders) as [string, string, ...string[]];
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'project', private: true, type: 'module' }));
  const begin = performance.now();
  const { status, stderr } = run('npm', 'install', ...OFFLINE, tarball, ...tarballs);
  const seconds = ((performance.now() - begin) / 1000).toFixed(1);
  expect(stderr).not.toMatch(/install.scripts/i);
  expect(status, stderr).toBe(0);
  const { size } = statSync(tarball);
  console.log(
    `package: ${(size / 1000).toFixed(0)} kB, ${dependencies.length} dependencies (${dependencies.join(', ')}), installed in ${seconds} s`,
  );
  expect(size).toBeLessThan(MOST_BYTES);
  symlinkSync(join(CHECKPOINT, '..'), join(project, 'weights'));
});
afterAll(() => rmSync(folder, { recursive: true }));

test('what is in it: types, source maps with their sources, kernels for CPU and GPU, and no weights', () => {
  const files = readdirSync(inProject, { recursive: true, encoding: 'utf8' });
  const some = ['src/index.js', 'src/index.d.ts', 'src/index.js.map', 'wasm/assets.js'];
  for (const name of some) expect(files).toContain(join('dist', name));
  expect(files.filter((name) => /safetensors$|\.bin$|\btest\b|weights/.test(name))).toEqual([]);
  const { sourcesContent } = JSON.parse(readFileSync(join(inProject, 'dist/src/index.js.map'), 'utf8'));
  expect(sourcesContent).toEqual([readFileSync(join(ROOT, 'src/index.ts'), 'utf8')]);
});

test("README's first example in Node, as JavaScript", () => {
  writeFileSync(join(project, 'example.js'), example!);
  const { stdout, stderr } = run(process.execPath, 'example.js');
  expect([stderr, stdout]).toEqual(['', `${printed}\n`]);
});

test('the engine through its door: examples/linear.ts as it is, and explain', () => {
  cpSync(join(ROOT, 'examples', 'linear.ts'), join(project, 'linear.ts'));
  const { status, stdout, stderr } = run(process.execPath, 'linear.ts');
  expect([status, stderr]).toEqual([0, '']);
  expect(stdout).toMatch(
    /^xq {2}122 115 127 .*\nwq {2}80 -48 .*\nacc 1766 -61 5903 -936\ny {3}1\.225.*\ny {3}1\.234.*\n$/,
  );
  writeFileSync(
    join(project, 'explain.mjs'),
    "import { explain } from 'bertlet/explain'; console.log(typeof explain);",
  );
  expect(run(process.execPath, 'explain.mjs').stdout).toBe('function\n');
});

test('the same in strict TypeScript', () => {
  writeFileSync(
    join(project, 'example.ts'),
    example!.replace('console.log(best.text,', 'console.log(best.text satisfies string,'),
  );
  const strict = ['--strict', '--noUncheckedIndexedAccess', '--exactOptionalPropertyTypes', '--types', ''];
  for (const [module, resolution] of [
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ] as const) {
    const options = ['--noEmit', '--target', 'es2022', '--module', module, '--moduleResolution', resolution, ...strict];
    const { stdout, status } = run(join(ROOT, 'node_modules', '.bin', 'tsc'), ...options, 'example.ts');
    expect([stdout, status], module).toEqual(['', 0]);
  }
  writeFileSync(join(project, 'static.cts'), "import { load } from 'bertlet'; export = load;");
  writeFileSync(join(project, 'dynamic.cts'), "export const qa = async () => (await import('bertlet')).load('x');");
  const types = (module: string, file: string) =>
    run(
      join(ROOT, 'node_modules', '.bin', 'tsc'),
      '--noEmit',
      '--target',
      'es2022',
      '--module',
      module,
      ...strict,
      file,
    );
  expect(types('nodenext', 'static.cts')).toMatchObject({ stdout: '', status: 0 });
  expect(types('node16', 'dynamic.cts')).toMatchObject({ stdout: '', status: 0 });
  expect(types('node16', 'static.cts').stdout).toContain('TS1479'); // what docs/use.md has a line for
});

test('the command: an answer, help, exit codes', () => {
  const bin = join(project, 'node_modules', '.bin', 'bertlet');
  const bertlet = (...args: string[]) => run(bin, ...args);
  const ask = ['--question', 'Who came yesterday?', '--context', 'Ada came yesterday.', '--samples', '1'];
  const cpu = ['--dtype', 'int8', '--device', 'cpu'];
  const { status, stdout } = run('npx', '--offline', 'bertlet', 'qa', '--model', CHECKPOINT, ...cpu, ...ask, '--json');
  expect([status, JSON.parse(stdout).answers.int8.text]).toEqual([0, 'Ada']);
  expect(bertlet('--help').stdout).toMatch(/qa .*evaluate .*convert .*bench .*explain /s);
  const missing = bertlet('qa', '--model', './nowhere');
  expect([missing.status, missing.stderr]).toEqual([1, expect.stringMatching(/^BertletError \(file\): .*\n$/)]);
  for (const name of ['qa', 'answer', 'explain', 'bench']) {
    const { status, stdout, stderr } = bertlet(name); // without weights at hand: nothing is downloaded unasked
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^error: --model: expected a folder, or owner\/name .*, got none\. No model comes with/);
    expect(stderr).toContain(
      `\`bertlet ${name} --model deepset/bert-base-cased-squad2\` downloads one of 411 MB, once.`,
    );
  }
  expect(bertlet('bake').status).toBe(2);
  const tiny = ['--model', TINY];
  const explained = bertlet('explain', ...tiny, '--question', 'a b', '--context', 'c d', '--report', 'page.html');
  expect([explained.status, readFileSync(join(project, 'page.html'), 'utf8').includes('<svg')]).toEqual([0, true]);
  const bench = bertlet('bench', ...tiny, ...cpu, '--samples', '2', '--tokens', '8', '--json');
  const { benchmarks, environment } = JSON.parse(bench.stdout);
  expect([benchmarks.length, environment.commit]).toEqual([2, null]);
});

test('publint and arethetypeswrong find nothing', () => {
  for (const [name, ...args] of [
    ['publint', 'run', tarball, '--strict', '--level', 'warning'],
    ['attw', tarball, '--profile', 'esm-only'],
  ] as const) {
    const { status, stdout } = run(join(ROOT, 'node_modules', '.bin', name), ...args);
    expect(status, stdout).toBe(0);
  }
});

test("README's first example in a page: Vite without configuration, while developing and built", async () => {
  const root = join(folder, 'page');
  cpSync(project, root, { recursive: true, filter: (path) => !path.endsWith('weights') });
  cpSync(CHECKPOINT, join(root, 'public', 'weights', 'minilm-l6-qa'), { recursive: true });
  writeFileSync(join(root, 'index.html'), '<script type="module" src="./main.js"></script>');
  const here = example!.replace("'weights/", "'./weights/"); // in a page owner/name is the Hub's
  expect(here).not.toBe(example);
  writeFileSync(
    join(root, 'main.js'),
    here.replace('console.log(', 'document.title = [').replace('toFixed(2))', 'toFixed(2)].join(" ")'),
  );
  const isolation = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };
  const options = { root, configFile: false, logLevel: 'silent' } as const;
  const developing = await createServer({ ...options, server: { headers: isolation, port: 0 } });
  await developing.listen();
  await build(options);
  const built = await pageServer(join(root, 'dist'), { isolated: true });
  const plain = await pageServer(join(root, 'dist'), { isolated: false });
  const browser = await chromium.launch(headlessChromium() as Parameters<typeof chromium.launch>[0]);
  try {
    for (const url of [developing.resolvedUrls!.local[0]!, built.url, plain.url]) {
      const page = await browser.newPage();
      await page.goto(url);
      await expect.poll(() => page.title(), { timeout: 60_000 }).toBe(printed);
    }
  } finally {
    await browser.close();
    await developing.close();
    built.close();
    plain.close();
  }
});

test("the weights as a package of their own, which load finds by its name from the program's folder and from the current one", () => {
  const megabytes = (statSync(weights).size / 1e6).toFixed(1);
  console.log(`weights: ${megabytes} MB`);
  const { status, stderr } = run('npm', 'install', ...OFFLINE, weights);
  expect(status, stderr).toBe(0);
  writeFileSync(
    join(project, 'named.js'),
    `import { load } from 'bertlet';
    const qa = await load('bertlet-minilm-l6-qa');
    const [best] = await qa.answer({ question: 'Who came yesterday?', context: 'Ada came yesterday.' });
    console.log(best.text);
    await qa.dispose();`,
  );
  expect(run(process.execPath, 'named.js')).toMatchObject({ stdout: 'Ada\n', stderr: '' });
  const elsewhere = { cwd: tmpdir(), encoding: 'utf8' } as const;
  expect(spawnSync(process.execPath, [join(project, 'named.js')], elsewhere)).toMatchObject({ stdout: 'Ada\n' });
  const ask = ['--question', 'Who came yesterday?', '--context', 'Ada came yesterday.', '--dtype', 'int8', '--json'];
  const asked = run('npx', '--offline', 'bertlet', 'qa', '--model', 'bertlet-minilm-l6-qa', '--samples', '1', ...ask);
  expect(JSON.parse(asked.stdout).answers.int8.text).toBe('Ada');
});
