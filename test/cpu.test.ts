/** The CPU backend against the reference: every op, kernel, tile and number of threads; then its life as a process. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { normal, runOp, uniform } from '../kernels/op.ts';
import { buildKernels } from '../scripts/build.ts';
import { CpuBackend, type KernelChoice } from '../src/backends/cpu.ts';
import { groupRows, ROW } from '../src/backends/grouping.ts';
import { startCpu } from '../src/backends/startCpu.ts';
import { Bert } from '../src/bert.ts';
import { openCheckpoint, weightsOf } from '../src/checkpoint/load.ts';
import { load } from '../src/index.ts';
import type { Runtime } from '../src/runtime.ts';
import {
  ACCUMULATOR_SIZES,
  CHECKPOINT,
  expectError,
  goldenJson,
  OP_CASES,
  ROOT,
  runScript,
  shareOfBound,
  wrongAccumulators,
} from './support.ts';

const module = (name: string) => new WebAssembly.Module(readFileSync(join(ROOT, 'dist', 'wasm', `${name}.wasm`)));
const memory = () => new WebAssembly.Memory({ initial: 2, maximum: 65536 });

/** Every kernel and tile, on one thread. */
const CHOICES: [name: string, make: () => CpuBackend][] = (
  [
    ['relaxed', { int8: 'relaxed', wide: true }],
    ['relaxed', { int8: 'relaxed', wide: false }],
    ['relaxed', { int8: 'grouped', wide: true }],
    ['relaxed', { int8: 'grouped', wide: false }],
    ['relaxed', { int8: 'int16', wide: true }],
    ['relaxed', { int8: 'int16', wide: false }],
    ['baseline', { int8: 'int16', wide: true }],
    ['baseline', { int8: 'int16', wide: false }],
  ] as [string, KernelChoice][]
).map(([set, choice]) => [
  `${set} SIMD, ${choice.int8}, ${choice.wide ? 'wide' : 'narrow'}`,
  () => new CpuBackend(module(set), memory(), choice, 1),
]);

describe('every op within its bound of the reference', () => {
  for (const [name, make] of CHOICES) {
    test.each(OP_CASES)(`${name}: %s, %s`, async (_, key, op) => {
      expect(await shareOfBound(make() as Backend, key, op)).toBeLessThanOrEqual(1);
    });
  }
  for (const threads of [2, 3, 7]) {
    test(`${threads} threads: all ops and cases, bits equal to one thread's`, { timeout: 60_000 }, async () => {
      const [one, many] = [(await startCpu({ threads: 1 })).backend, (await startCpu({ threads })).backend];
      for (const [name, key, op] of OP_CASES) {
        const inputs = op.cases[key]!();
        expect(await runOp(many, op, inputs), `${name}, ${key}`).toEqual(await runOp(one, op, inputs));
      }
      await many.dispose();
    });
  }
});

describe('int32 accumulators equal exact sums', () => {
  for (const [name, make] of CHOICES) {
    test.each(ACCUMULATOR_SIZES)(`${name}: %d tokens, %d features, %d outputs`, async (tokens, features, out) => {
      expect(await wrongAccumulators(make() as Backend, tokens, features, out)).toBe(0);
    });
  }
});

describe('groups that are added up in 16 bits', () => {
  const panels = {
    'small weights': (next: number) => Math.round((next - 0.5) * 40),
    'weights of the accurate scheme': (next: number, other: number) => {
      const normal = Math.sqrt(-2 * Math.log(next + 1e-9)) * Math.cos(2 * Math.PI * other);
      return Math.max(-128, Math.min(127, Math.round(normal * 40)));
    },
    'all bytes': (next: number) => Math.floor(next * 256) - 128,
    '-128 alone': () => -128,
  };
  test.each(Object.entries(panels))('%s: each row once, and no sum can leave 16 bits', (name, weight) => {
    const next = uniform(3);
    const panel = Int8Array.from({ length: 96 * ROW }, () => weight(next(), next()));
    const { order, fours, twos } = groupRows(panel);
    console.log(`${name}: ${fours} fours, ${twos} twos of ${order.length} rows`);
    expect(order.toSorted((a, b) => a - b)).toEqual(order.map((_, row) => row));
    const sets = [
      ...Array.from({ length: fours }, (_, i) => order.slice(4 * i, 4 * i + 4)),
      ...Array.from({ length: twos }, (_, i) => order.slice(4 * fours + 2 * i, 4 * fours + 2 * i + 2)),
    ];
    for (const rows of sets) {
      for (let at = 0; at < ROW; at += 2) {
        const all = rows.flatMap((row) => [panel[row * ROW + at]!, panel[row * ROW + at + 1]!]);
        const sum = (sign: number) => all.reduce((total, value) => total + Math.max(sign * value, 0), 0);
        expect(sum(1) * 128).toBeLessThan(2 ** 15);
        expect(sum(-1) * 128).toBeLessThanOrEqual(2 ** 15);
      }
    }
    if (name === 'small weights') expect(fours).toBe(order.length / 4);
    if (name === '-128 alone') expect(fours + twos).toBe(0);
  });
});

describe('whole model', () => {
  const { items } = goldenJson<{ items: { inputIds: number[]; typeIds: number[] }[] }>('minilm-questions');
  const inputs = items.slice(0, 4).map((item) => ({ inputIds: item.inputIds, tokenTypeIds: item.typeIds }));
  inputs.push({ inputIds: [101], tokenTypeIds: [0] });
  inputs.push({ inputIds: Array.from({ length: 512 }, (_, i) => 1000 + i), tokenTypeIds: Array(512).fill(0) });

  test.each(['fp32', 'torch', 'accurate'])(
    '%s: logits equal between 1, 2 and 5 threads',
    { timeout: 60_000 },
    async (p) => {
      const options = p === 'fp32' ? ({ dtype: 'fp32' } as const) : ({ scheme: p as 'torch' } as const);
      const models = await Promise.all([1, 2, 5].map((threads) => load(CHECKPOINT, { ...options, threads })));
      for (const input of inputs) {
        const [one, two, five] = await Promise.all(models.map((qa) => qa.logits(input)));
        expect(two).toEqual(one);
        expect(five).toEqual(one);
      }
      // Once more, after longer and shorter ones: nothing is left of them.
      expect(await models[1]!.logits(inputs[0]!)).toEqual(await models[0]!.logits(inputs[0]!));
      await Promise.all(models.map((qa) => qa.dispose()));
    },
  );
  test('logits equal between all int8 kernels and tiles of the engine', { timeout: 60_000 }, async () => {
    const checkpoint = await openCheckpoint(CHECKPOINT);
    const logits: Float32Array[] = [];
    for (const [, make] of CHOICES.slice(0, 6)) {
      const bert = new Bert(make() as Backend, checkpoint.config, weightsOf(checkpoint, 'torch'));
      const { inputIds, tokenTypeIds } = inputs[0]!;
      logits.push(await bert.forward(Int32Array.from(inputIds), Int32Array.from(tokenTypeIds)));
    }
    checkpoint.close();
    for (const other of logits) expect(other).toEqual(logits[0]);
  });
  test('200 forwards of mixed lengths leave memory as it was', { timeout: 120_000 }, async () => {
    const qa = await load(CHECKPOINT, { threads: 2 });
    const forward = (tokens: number) => {
      const ids = Array.from({ length: tokens }, (_, i) => 1000 + i);
      return qa.logits({ inputIds: ids, tokenTypeIds: ids.map(() => 0) });
    };
    await forward(512);
    for (let i = 0; i < 50; i++) await forward(1 + ((i * 37) % 200));
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 200; i++) await forward(1 + ((i * 37) % 200));
    const grown = (process.memoryUsage().rss - before) / 2 ** 20;
    console.log(`200 forwards of 1 to 200 tokens: RSS grew by ${grown.toFixed(1)} MB`);
    expect(grown).toBeLessThan(30);
    await qa.dispose();
  });
});

describe('self-test', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'bertlet-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  /** The modules of a copy of the kernels in which some text of a file is replaced. */
  async function broken(file: string, from: string, to: string, ...names: ('relaxed' | 'baseline')[]) {
    const copy = join(folder, `${Math.random()}`);
    mkdirSync(copy);
    cpSync(join(ROOT, 'kernels'), copy, { recursive: true });
    const source = readFileSync(join(copy, file), 'utf8');
    expect(source).toContain(from);
    writeFileSync(join(copy, file), source.replaceAll(from, to));
    for (const name of names) await buildKernels(copy, copy, name);
    return Object.fromEntries(names.map((name) => [name, new Uint8Array(readFileSync(join(copy, `${name}.wasm`)))]));
  }
  test('a broken relaxed product: the grouped one is used, and said so', { timeout: 60_000 }, async () => {
    const modules = await broken('linearInt8.wasm.ts', 'c10 = dot(a, w0, c10)', 'c10 = dot(w0, a, c10)', 'relaxed');
    const { kernels, reason } = await startCpu({ threads: 1, modules });
    expect(kernels).toMatch(/^int8 grouped, .* relaxed SIMD$/);
    expect(reason).toMatch(/the relaxed kernels, 128 bits, failed their self-test \(linearInt8, /);
  });
  test.each([
    ['a sum', 'pairs(a, w1, t11)', 'pairs(a, w0, t11)'],
    ['the order', '(order);', '(order) & 15;'],
    ['twos as ones', 'size >>= 1', 'size >>= 2'],
  ])('a broken grouped product (%s): it is not used', { timeout: 60_000 }, async (_, from, to) => {
    const modules = await broken('linearInt8Grouped.wasm.ts', from, to, 'relaxed');
    const { kernels, reason } = await startCpu({ threads: 1, modules });
    expect(kernels).toMatch(/^int8 relaxed, /);
    expect(reason).toMatch(/the grouped kernels, 128 bits, failed their self-test \(linearInt8, /);
  });
  test('both broken: the int16 one is used', { timeout: 60_000 }, async () => {
    const modules = await broken(
      'linearInt8.wasm.ts',
      'features << 1 : features)',
      'features << 1 : features + 16)',
      'relaxed',
    );
    const { kernels, reason } = await startCpu({ threads: 1, modules });
    expect(kernels).toMatch(/^int8 int16, .* relaxed SIMD$/);
    expect(reason).toMatch(/the relaxed kernels, .* failed .* the grouped kernels, .* failed/);
  });
  test('a broken layerNorm in the relaxed module: the baseline one is used', { timeout: 60_000 }, async () => {
    const modules = await broken('layerNorm.wasm.ts', '<f64>eps', '<f64>eps + 1.0', 'relaxed');
    const { kernels, reason } = await startCpu({ threads: 1, modules });
    expect(kernels).toMatch(/baseline SIMD$/);
    expect(reason).toMatch(/relaxed kernels, .* self-test \(layerNorm.*int16 kernels, .* failed/);
  });
  test('all broken: an error', { timeout: 60_000 }, async () => {
    const modules = await broken('attention.wasm.ts', '* inverse);', '* inverse * 1.01);', 'relaxed', 'baseline');
    await expectError('device', /expected kernels that work, got none: .*\(attention, .*Use `reference`/, () =>
      startCpu({ threads: 1, modules }),
    );
  });
  test('a module that does not compile: the next one', async () => {
    const { kernels, reason } = await startCpu({ threads: 1, modules: { relaxed: new Uint8Array([1, 2, 3]) } });
    expect(kernels).toMatch(/baseline SIMD$/);
    expect(reason).toBe('this engine has no relaxed SIMD');
  });
});

describe('life of a process', () => {
  test.each([
    [
      'disposed',
      'const qa = await load(folder, { threads: 2 }); await qa.answer(ask); await qa.dispose(); console.log("end")',
    ],
    ['not disposed', 'const qa = await load(folder, { threads: 2 }); await qa.answer(ask); console.log("end")'],
    [
      'loaded and disposed five times',
      'for (let i = 0; i < 5; i++) { const qa = await load(folder, { threads: 3 }); await qa.answer(ask); await qa.dispose(); } console.log("end")',
    ],
  ])('%s: exits by itself with code 0', { timeout: 60_000 }, (_, body) => {
    const { status, stdout, stderr } = runScript(body);
    expect([status, stdout, stderr]).toEqual([0, 'end\n', '']);
  });
  test('many more threads than cores', { timeout: 60_000 }, () => {
    const { status, stdout } = runScript(
      'const qa = await load(folder, { threads: 16 }); console.log((await qa.answer(ask))[0].text); await qa.dispose()',
    );
    expect([status, stdout]).toEqual([0, 'Ada\n']);
  });
  test('dispose during an answer; use after it', { timeout: 60_000 }, () => {
    const { status, stdout } = runScript(`const qa = await load(folder, { threads: 2 });
      const answer = qa.answer(ask); const end = qa.dispose(); console.log((await answer)[0].text); await end; await qa.dispose();
      await qa.answer(ask).catch((error) => console.log(error.code));`);
    expect([status, stdout]).toEqual([0, 'Ada\ndisposed\n']);
  });
  test('without WebAssembly: cpu says so, auto uses the reference and says why', { timeout: 60_000 }, () => {
    const { status, stdout } = runScript(`delete globalThis.WebAssembly;
      await load(folder, { device: 'cpu' }).catch((error) => console.log(error.code));
      const qa = await load(folder, { device: 'auto' }); console.log(qa.info.device, qa.info.reason); await qa.dispose();`);
    expect(status).toBe(0);
    expect(stdout).toMatch(
      /^device\nreference webgpu: .*; cpu: expected an engine with WebAssembly, got one without. Use `reference`.; reference is the fastest device that starts here\n$/,
    );
  });
  test('a worker that dies is an error, not a hang', { timeout: 60_000 }, async () => {
    const { backend, endWorkers } = await startCpu({ threads: 2 });
    const x = backend.upload(normal([4, 64], 1));
    const norm = { gamma: backend.upload(normal([64], 2)), beta: backend.upload(normal([64], 3)) };
    expect((await backend.read(backend.layerNorm(x, null, norm, 1e-12))).length).toBe(256);
    await endWorkers(); // as if the system had killed it
    await expectError('device', /expected 2 threads at work, got a worker that ended/, () =>
      backend.read(backend.layerNorm(x, null, norm, 1e-12)),
    );
    await backend.dispose();
  });
});

describe('options', () => {
  test.each([0, -1, 1.5, 1000])('threads: %d', (threads) =>
    expectError('input', /threads: expected an integer from 1 to 256, got/, () => startCpu({ threads })),
  );
});
