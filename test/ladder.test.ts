/** examples/ladder: every step makes the integers of src/quantize.ts, is short, and is found out when it is broken. */
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { multiply } from '../examples/ladder/1-loop.ts';
import { openGpu, prepareGpu } from '../examples/ladder/gpu.ts';
import { GPU_STEPS, type LadderResult, STEPS } from '../examples/ladder/run.ts';
import { compile, type Problem, prepare } from '../examples/ladder/wasm.ts';
import { uniform } from '../kernels/op.ts';
import { matmulInt8 } from '../src/quantize.ts';
import { ROOT, spawnProgram } from './support.ts';

const FOLDER = join(ROOT, 'examples/ladder');
/** Whole tiles for all steps: tokens a multiple of 96, features of 64, outputs of 32. */
const SIZES = { tokens: 96, features: 192, out: 96 };

/** Weights of a size at which the runs of `grouped` differ, and some as large as they can be. */
function problem(seed: number, largest = 128): Problem {
  const next = uniform(seed);
  const { tokens, features, out } = SIZES;
  const x = Uint8Array.from({ length: tokens * features }, () => (next() < 0.3 ? 127 : Math.floor(next() * 128)));
  const w = Int8Array.from({ length: out * features }, () => {
    const size = next() < 0.02 ? largest : largest / 12;
    return Math.max(-128, Math.min(127, Math.round((2 * next() - 1) * size)));
  });
  return { ...SIZES, x, w, zeroPoint: 37 };
}
/** By src/quantize.ts, which PyTorch's goldens hold. */
function wanted({ x, w, tokens, features, out, zeroPoint }: Problem): Int32Array {
  const [scale, zeroPoints] = [new Float32Array(tokens), new Int32Array(tokens).fill(zeroPoint)];
  const weight = {
    dtype: 'I8',
    shape: [out, features],
    data: w,
    scale: new Float32Array(out),
    scheme: 'torch',
  } as const;
  return matmulInt8({ data: x, scale, zeroPoint: zeroPoints }, weight);
}
const isWanted = (got: Int32Array, given: Problem) => wanted(given).every((value, i) => value === got[i]);
const extremes = { ...problem(3), x: problem(3).x.fill(127), w: problem(3).w.map((_, i) => (i % 5 ? -128 : 127)) };
const PROBLEMS: [string, Problem][] = [
  ['as weights are', problem(1)],
  ['small weights', problem(2, 12)],
  ['the largest sums', extremes],
];
const wasmSteps = STEPS.map(({ name }) => name).filter((name) => name !== '1-loop');

type Options = { threads?: number; edit?: Parameters<typeof compile>[1] };
const compiled = new Map<unknown, Promise<WebAssembly.Module>>();
async function byWasm(name: string, given: Problem, { threads = 1, edit }: Options = {}) {
  const key = edit ?? name;
  if (!compiled.has(key)) compiled.set(key, compile(`${name}.wasm.ts`, edit)); // a second each
  const { run, result, close } = await prepare(await compiled.get(key)!, given, threads);
  run();
  run(); // a second product starts where the first did
  await close();
  return result();
}

test('a file for each step, at most 60 code lines, one signature', () => {
  const files = globSync(['[1-9]*', 'gpu-*'], { cwd: FOLDER }).toSorted();
  expect(files.map((file) => file.replace(/\..*/, ''))).toEqual([...STEPS, ...GPU_STEPS].map(({ name }) => name));
  for (const file of files) {
    const text = readFileSync(join(FOLDER, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
    expect(text.split('\n').filter((line) => line.trim() !== '').length, file).toBeLessThanOrEqual(60);
    if (file.endsWith('.wgsl')) continue;
    const [, parameters] = /export function multiply\(([^)]*)\)/.exec(text)!;
    const names = [...parameters!.matchAll(/(\w+):/g)].map(([, name]) => name);
    expect(names, file).toEqual(['x', 'w', 'y', 'tokens', 'features', 'out', 'zeroPoint']);
  }
});

describe.each(PROBLEMS)('%s', (_, given) => {
  const want = wanted(given);
  test('1-loop', () => {
    const got = new Int32Array(want.length);
    multiply(given.x, given.w, got, given.tokens, given.features, given.out, given.zeroPoint);
    expect(got).toEqual(want);
  });
  test.each(wasmSteps)('%s', async (name) => expect(await byWasm(name, given)).toEqual(want));
  test.each([2, 3])('7-threads, %d of them', async (threads) => {
    expect(await byWasm('7-threads', given, { threads })).toEqual(want);
  });
});

/** One change to each step. */
const BROKEN: Record<string, [from: string, to: string]> = {
  '2-bytes': ['load<u8>(x + k)', 'load<u8>(x + k + 1)'],
  '3-simd': ['2, 3, 0, 1', '1, 0, 3, 2'],
  '4-panel': ['line + 24', 'line + 16'],
  '5-tile': ['c53 = dot(c53, v, w3)', 'c53 = dot(c53, v, w2)'],
  '6-grouped': ['i16x8.splat(255)', 'i16x8.splat(2550)'],
  '7-threads': ['panel < out >> 4', 'panel < (out >> 4) - 1'],
  'gpu-1-loop': ['sizes.zeroPoint * sums', '(sizes.zeroPoint - 1) * sums'],
  'gpu-2-tile': ['c[3] += a.w * b', 'c[3] += a.z * b'],
  'gpu-3-packed': ['sizes.zeroPoint - 128', 'sizes.zeroPoint'],
};
const broken = (name: string) => (text: string) => {
  const [from, to] = BROKEN[name]!;
  return text.replace(from, to);
};
test('a change for each step, which its file has', () => {
  expect(Object.keys(BROKEN)).toEqual([...wasmSteps, ...GPU_STEPS.map(({ name }) => name)]);
  for (const [name, [from]] of Object.entries(BROKEN)) {
    const [file] = globSync(`${name}.*`, { cwd: FOLDER });
    expect(readFileSync(join(FOLDER, file!), 'utf8').split(from).length, name).toBe(2);
  }
});
test.each(wasmSteps)('%s, broken: other integers', async (name) => {
  const edit = (text: string, file: string) => (file.includes(name) ? broken(name)(text) : text);
  const right = await Promise.all(
    PROBLEMS.map(async ([, given]) => isWanted(await byWasm(name, given, { edit }), given)),
  );
  expect(right).toContain(false);
});

describe('on the GPU', () => {
  let gpu: Awaited<ReturnType<typeof openGpu>>;
  beforeAll(async () => {
    gpu = await openGpu(); // no adapter is a failure here, not a skip
  });
  afterAll(() => gpu.device.destroy());
  async function byGpu(name: string, given: Problem, edit?: (text: string) => string) {
    const { run, result, close } = await prepareGpu(gpu.device, name, given, edit);
    await run(2);
    return result().finally(close);
  }
  describe.each(GPU_STEPS.map(({ name }) => name))('%s', (name) => {
    test.each(PROBLEMS)('%s', async (_, given) => expect(await byGpu(name, given)).toEqual(wanted(given)));
    test('broken: other integers', async () => {
      const given = problem(1);
      expect(isWanted(await byGpu(name, given, broken(name)), given)).toBe(false);
    });
  });
});

test('the command: all steps, checked, and the figures as a file', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bertlet-'));
  const args = ['--seconds', '0.001', '--tokens', '96', '--json', join(folder, 'ladder.json')];
  const { status, out, error } = spawnProgram(args, { program: 'examples/ladder/run.ts' });
  expect([status, error]).toEqual([0, '']);
  const { steps, gpu, shape } = JSON.parse(readFileSync(join(folder, 'ladder.json'), 'utf8')) as LadderResult;
  rmSync(folder, { recursive: true });
  expect(shape).toEqual({ tokens: 96, features: 384, out: 1536 });
  expect([...steps, ...gpu!.steps].map(({ name }) => name)).toEqual([...STEPS, ...GPU_STEPS].map(({ name }) => name));
  for (const { name, title, rate } of [...steps, ...gpu!.steps]) {
    expect(rate, name).toBeGreaterThan(0);
    expect(out).toContain(`${name.padEnd(13)} ${title}`);
  }
  expect(steps.map(({ limit }) => limit !== null)).toEqual([false, false, true, true, true, true, true]);
  const refused = spawnProgram(['--tokens', '100'], { program: 'examples/ladder/run.ts' });
  expect(refused).toMatchObject({ status: 1, error: expect.stringContaining('expected a multiple of 96') });
});
