/** The kernels are compiled for 256 bits, and nothing else of the process is: V8's flags are set only while the kernels are tested. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { HAS_AVX2, ROOT, runScript } from './support.ts';

/** The running Node, and those that the environment variable BERTLET_NODES names: paths with commas between them. */
const NODES = [process.execPath, ...((process.env as { BERTLET_NODES?: string }).BERTLET_NODES?.split(',') ?? [])];

/** Compiles a module of other bytes, all functions at once, without touching the revectorizer's flag. */
const CODE = `import { setFlagsFromString } from 'node:v8';
  import { readFileSync } from 'node:fs';
  import { load } from ${JSON.stringify(join(ROOT, 'dist', 'src', 'index.js'))};
  const bytes = readFileSync(${JSON.stringify(join(ROOT, 'wasm', 'relaxed-shared.wasm'))});
  const inlining = Number(process.versions.node.split('.')[0]) >= 24 ? ['wasm-inlining'] : []; // Node 22 has no such flag
  const flags = [...inlining, 'liftoff', 'wasm-lazy-compilation'];
  const foreign = (id) => {
    for (const flag of flags) setFlagsFromString('--no-' + flag);
    new WebAssembly.Module(Uint8Array.from([...bytes, 0, 2, 1, id]));
    for (const flag of flags.toReversed()) setFlagsFromString('--' + flag);
  };
  setFlagsFromString('--trace-wasm-revectorize');
  if (process.argv[3] === 'host') setFlagsFromString('--experimental-wasm-revectorize');
  console.log('# before'); foreign(1);
  console.log('# load');
  const qa = await load(process.argv[1], { threads: 1, wideSimd: process.argv[2] === 'true' });
  console.log('# after'); foreign(2);
  console.log('# ' + qa.info.kernels);
  await qa.dispose();`;

describe.each(NODES)('%s', (node) => {
  const wideOf = (wideSimd: boolean, host = '', env = {}) => {
    const folder = join(ROOT, 'weights', 'minilm-l6-qa');
    const args = ['--input-type=module', '-e', CODE, folder, String(wideSimd), host];
    const { stdout, stderr, status } = spawnSync(node, args, {
      ...{ encoding: 'utf8', maxBuffer: 2 ** 28 },
      env: { ...process.env, ...env },
    });
    expect([status, stderr]).toEqual([0, '']);
    const [before, load, after, kernels] = stdout.split('# ').slice(1);
    const count = (part: string | undefined) => part!.split('store seeds:').length - 1;
    return { before: count(before), load: count(load), after: count(after), kernels };
  };
  test('the kernels are widened; a module compiled before or after is not', () => {
    const { before, load, after, kernels } = wideOf(true);
    expect([before, after]).toEqual([0, 0]);
    if (load === 0) console.warn(`${node}: V8 widens nothing here (an unknown Node, or a CPU without AVX2).`);
    if (HAS_AVX2 && node === process.execPath) expect(load).toBeGreaterThan(0);
    expect(kernels).toMatch(load > 0 ? /float32 6x16/ : /float32 6x8/);
  });
  test('a WebAssembly flag in NODE_OPTIONS: the flags are left alone', () => {
    const { load, kernels } = wideOf(true, '', { NODE_OPTIONS: '--disable-wasm-trap-handler' });
    expect(load).toBe(0);
    expect(kernels).toMatch(/float32 6x8/);
  });
  test('a flag that the program has switched on itself is still on after a load', () => {
    const { before, load, after } = wideOf(true, 'host');
    if (HAS_AVX2 && node === process.execPath) expect(Math.min(load, before, after)).toBeGreaterThan(0);
  });
  test('wideSimd: false leaves the flags alone', () => {
    const { before, load, after, kernels } = wideOf(false);
    expect([before, load, after]).toEqual([0, 0, 0]);
    expect(kernels).toMatch(/float32 6x8/);
  });
});

test('loads in several workers at once, with and without: right answers, exit code 0', () => {
  const { status, stdout, stderr } = runScript(`
    const { Worker } = await import('node:worker_threads');
    const code = "import { workerData as d } from 'node:worker_threads'; const { load } = await import(d.index);" +
      "for (let i = 0; i < 3; i++) { const qa = await load(d.folder, { threads: 1, wideSimd: d.wide });" +
      "console.log((await qa.answer(d.ask))[0].text); await qa.dispose(); }";
    const index = ${JSON.stringify(join(ROOT, 'dist', 'src', 'index.js'))};
    for (const wide of [true, false, true, false]) new Worker(code, { eval: true, workerData: { index, folder, ask, wide } });`);
  expect([status, stdout, stderr]).toEqual([0, 'Ada\n'.repeat(12), '']);
});
