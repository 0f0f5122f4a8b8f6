// @unit
/** The CPU backend on one thread, in this process: every op, kernel and tile against the reference. cpuLife.test.ts has threads, cpuSelfTest.test.ts broken kernels. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { OPS } from '../kernels/index.ts';
import { normal, tensor, uniform } from '../kernels/op.ts';
import { Bert } from '../src/bert.ts';
import { openCheckpoint, weightsOf } from '../src/checkpoint/index.ts';
import { toFloat32 } from '../src/checkpoint/safetensors.ts';
import type { KernelChoice } from '../src/devices/cpu/commands.ts';
import { CpuDevice } from '../src/devices/cpu/device.ts';
import { instantiate, WEIGHTS } from '../src/devices/cpu/threads.ts';
import { quantizeWeight } from '../src/quantize.ts';
import { Runtime, type Tensor } from '../src/runtime.ts';
import { openRuntime } from '../src/tensor.ts';
import type { TestedOp } from './opCases.ts';
import {
  ACCUMULATOR_SIZES,
  CHECKPOINT,
  expectError,
  goldenJson,
  OP_CASES,
  ROOT,
  shareOfBound,
  TINY,
  wrongAccumulators,
} from './support.ts';

const module = (name: string) => new WebAssembly.Module(readFileSync(join(ROOT, 'wasm', `${name}.wasm`)));
const memory = () => new WebAssembly.Memory({ initial: 8, maximum: 65536 });

/** Every kernel and tile, on one thread. */
const CHOICES: [name: string, make: () => CpuDevice][] = (
  [
    ['relaxed', { int8: 'relaxed', tile: '6x16' }],
    ['relaxed', { int8: 'relaxed', tile: '6x8' }],
    ['relaxed', { int8: 'grouped', tile: '6x16' }],
    ['relaxed', { int8: 'int16', tile: '6x8' }],
    ['baseline', { int8: 'int16', tile: '6x16' }],
  ] as [string, KernelChoice][]
).map(([set, choice]) => [
  `${set} SIMD, ${choice.int8}, ${choice.tile}`,
  () => new CpuDevice(module(set), memory(), choice, 1),
]);

describe('every op within its bound of the reference', () => {
  /** Heads that fill no vector, which the GPU does not take. */
  const sixes = { '19 tokens, heads of 6': () => ({ qkv: normal([19, 54], 22), heads: 3 }) };
  for (const [name, make] of CHOICES) {
    test(`${name}: attention, heads of 6`, async () => {
      const op = { ...OPS.attention, cases: sixes } as unknown as TestedOp<unknown>;
      expect(await shareOfBound(make(), '19 tokens, heads of 6', op)).toBeLessThanOrEqual(1);
    });
    test.each(OP_CASES)(`${name}: %s, %s`, async (_, key, op) => {
      expect(await shareOfBound(make(), key, op)).toBeLessThanOrEqual(1);
    });
  }
});

describe('int32 accumulators equal exact sums', () => {
  for (const [name, make] of CHOICES) {
    test.each(ACCUMULATOR_SIZES)(`${name}: %d tokens, %d features, %d outputs`, async (tokens, features, out) => {
      expect(await wrongAccumulators(make(), tokens, features, out)).toBe(0);
    });
  }
});

describe('groups that are added up in 16 bits', () => {
  const LINE = 64; // bytes
  const SIZES = [8, 4, 2, 1]; // pairs of a set
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
    const panel = Int8Array.from({ length: 96 * LINE }, () => weight(next(), next()));
    const own = memory();
    const [at, table] = [WEIGHTS - 2 ** 17, WEIGHTS - 2 ** 16];
    const reordered = new Int8Array(own.buffer, at, panel.length);
    reordered.set(panel);
    instantiate(module('relaxed'), own).groupPanel(at, panel.length, table, at + 2 ** 14);
    const words = new Int32Array(own.buffer, table, 5 + 96);
    /** Places in the table, of the pairs of each size and of the single lines. */
    const places = [...words.subarray(0, 5)].map((end, i) =>
      [...words.subarray(i === 0 ? 5 : (words[i - 1]! - table) / 4, (end - table) / 4)].map((place) => place / 4),
    );
    const sets = places.slice(0, 4).map((all, i) => all.length / SIZES[i]!);
    const singles = places[4]!;
    console.log(
      `${name}: ${sets.map((n, i) => `${n} of ${SIZES[i]} pairs`).join(', ')}, ${singles.length} single lines`,
    );
    const lines = [...places.slice(0, 4).flatMap((all) => all.flatMap((line) => [line, line + 1])), ...singles];
    expect(lines.toSorted((a, b) => a - b)).toEqual(lines.map((_, line) => line));
    const wanted = lines.flatMap((line) => [...panel.subarray(line * LINE, (line + 1) * LINE)]);
    expect([...reordered], 'the lines, in the order of the table').toEqual(wanted);
    let begin = 0;
    for (const [i, size] of SIZES.entries()) {
      for (let set = 0; set < sets[i]!; set++, begin += 2 * size) {
        for (let at = 0; at < LINE; at += 2) {
          const added = lines.slice(begin, begin + 2 * size);
          const all = added.flatMap((line) => [panel[line * LINE + at]!, panel[line * LINE + at + 1]!]);
          const sum = (sign: number) => all.reduce((total, value) => total + Math.max(sign * value, 0), 0);
          expect(sum(1) * 128).toBeLessThan(2 ** 15);
          expect(sum(-1) * 128).toBeLessThanOrEqual(2 ** 15);
        }
      }
    }
    expect(begin).toBe(lines.length - singles.length);
    if (name === 'small weights') expect(sets[0]! + sets[1]!).toBeGreaterThan(0);
    if (name === '-128 alone') expect(singles.length).toBe(lines.length);
  });
});

test('every float16 is widened exactly by the device', async () => {
  const data = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
  const tensor = { dtype: 'F16', shape: [64, 1024], data } as const;
  const runtime = new Runtime(CHOICES[0]![1]());
  expect(await runtime.read(runtime.tensor(tensor))).toEqual(toFloat32(tensor));
  // Rows that are no multiple of a vector.
  const odd = { dtype: 'F16', shape: [3, 5], data: data.slice(15000, 15015) } as const;
  expect(await runtime.read(runtime.tensor(odd))).toEqual(toFloat32(odd));
});

test('tables of float16: the sums of the widened tables, also when an op has widened one of them', async () => {
  const table = (rows: number) => {
    const data = Uint16Array.from({ length: rows * 20 }, (_, i) => (i * 523 + rows) & 0xbbff);
    const half = { dtype: 'F16', shape: [rows, 20], data } as const;
    return [half, { ...half, dtype: 'F32', data: toFloat32(half) } as const] as const;
  };
  const [word, position, type] = [table(50), table(12), table(2)];
  const sums = async (halves: number, widened = false) => {
    const runtime = new Runtime(CHOICES[0]![1]());
    const upload = (bit: number, [half, wide]: typeof word) => runtime.tensor(halves & bit ? half : wide);
    const tables = { word: upload(1, word), position: upload(2, position), type: upload(4, type) };
    if (widened) expect(await runtime.read(tables.word)).toEqual(word[1].data);
    const ids = Int32Array.of(49, 0, 7, 7, 13, 3, 48, 1); // two sequences
    const types = Int32Array.of(0, 1, 0, 1, 0, 0, 1, 0);
    return runtime.read(runtime.embedding(ids, types, tables, [5, 3]));
  };
  const want = await sums(0);
  for (let halves = 1; halves < 8; halves++) expect(await sums(halves), `${halves}`).toEqual(want);
  expect(await sums(7, true)).toEqual(want);
  // In one program with an op that widens a table, and with a read of another table.
  const runtime = new Runtime(CHOICES[0]![1]());
  const [w, p, t] = [word, position, type].map(([half]) => runtime.tensor(half)) as [Tensor, Tensor, Tensor];
  const ones = runtime.tensor(tensor([20], new Float32Array(20).fill(1)));
  const sum = runtime.embedding(Int32Array.of(49), Int32Array.of(1), { word: w, position: p, type: t });
  const [values, , read] = await runtime.read(sum, runtime.layerNorm(w, null, { gamma: ones, beta: ones }, 1e-12), p);
  const { fround } = Math;
  const first = Array.from({ length: 20 }, (_, i) =>
    fround(fround(word[1].data[49 * 20 + i]! + type[1].data[20 + i]!) + position[1].data[i]!),
  );
  expect([...values!]).toEqual(first);
  expect(read).toEqual(position[1].data);
});

describe('weights that the device quantizes', () => {
  const device = CHOICES[0]![1]();
  const float32 = (shape: [number, number], size: number) => {
    const next = uniform(shape[0] * shape[1]);
    return tensor(
      shape,
      Float32Array.from({ length: shape[0] * shape[1] }, () => (next() - 0.5) * size),
    );
  };
  const matrices = {
    'rows that fill no vector': float32([7, 35], 1),
    'rows of vectors': float32([33, 64], 3),
    'one row of zeros': tensor(
      [2, 20],
      float32([2, 20], 1).data.map((value, i) => (i < 20 ? 0 : value)),
    ),
    subnormal: float32([3, 17], 1e-40),
    'of the largest numbers': float32([3, 17], 6e38),
    // At a scale of 1 these are halves, which round to even, and the largest become -127.5 and 127.5.
    halves: tensor(
      [1, 40],
      Float32Array.from({ length: 40 }, (_, i) => (i < 38 ? i - 18.5 : i === 38 ? -127.5 : 127.5)),
    ),
  };
  test.each(
    Object.entries(matrices).flatMap(([name, matrix]) =>
      (['torch', 'accurate'] as const).map((scheme) => [name, scheme, matrix] as const),
    ),
  )('%s, %s: the bits of quantizeWeight', (_, scheme, matrix) =>
    expect(device.quantizeWeight(matrix, scheme)).toEqual(quantizeWeight(matrix, scheme)),
  );
  test('from float16', () => {
    const data = Uint16Array.from({ length: 31 * 64 }, (_, i) => (i * 523) & 0xffff).map((bits) => bits & 0xbfff);
    const half = { dtype: 'F16', shape: [31, 64], data } as const;
    const wide = { ...half, dtype: 'F32', data: toFloat32(half, 'w') } as const;
    for (const scheme of ['torch', 'accurate'] as const)
      expect(device.quantizeWeight(half, scheme)).toEqual(quantizeWeight(wide, scheme));
  });
  test.each([Number.NaN, -Number.NaN, Infinity, -Infinity])('%d: the scale of its row is NaN', (value) => {
    for (const at of [3, 34]) {
      const matrix = float32([2, 35], 1);
      matrix.data[35 + at] = value;
      expect(Array.from(device.quantizeWeight(matrix, 'accurate').scale, Number.isNaN)).toEqual([false, true]);
      expect(device.quantizeWeight(matrix, 'torch').scale.every(Number.isNaN)).toBe(true);
    }
  });
});

describe('whole model', () => {
  test('logits equal between all int8 kernels and tiles of the engine', async () => {
    const { items } = goldenJson<{ items: { inputIds: number[]; typeIds: number[] }[] }>('minilm-questions');
    const [inputIds, typeIds] = [items[0]!.inputIds, items[0]!.typeIds].map((all) => Int32Array.from(all.slice(0, 40)));
    const checkpoint = await openCheckpoint(CHECKPOINT);
    const logits: Float32Array[] = [];
    for (const [, make] of CHOICES.slice(0, 4)) {
      const bert = new Bert(new Runtime(make()), checkpoint.config, weightsOf(checkpoint, 'torch'));
      logits.push(await bert.forward(inputIds!, typeIds!));
    }
    checkpoint.close();
    for (const other of logits) expect(other).toEqual(logits[0]);
  });
  test.each(['fp32', 'torch', 'accurate'] as const)(
    '%s: after the longest forward, 40 shorter ones allocate no WebAssembly memory',
    async (precision) => {
      const checkpoint = await openCheckpoint(TINY);
      const own = memory();
      const device = new CpuDevice(module('relaxed'), own, { int8: 'relaxed', tile: '6x8' }, 1);
      const bert = new Bert(new Runtime(device), checkpoint.config, weightsOf(checkpoint, precision));
      checkpoint.close();
      const forward = (tokens: number) =>
        bert.forward(
          Int32Array.from({ length: tokens }, (_, i) => i),
          new Int32Array(tokens),
        );
      await forward(64);
      const before = own.buffer.byteLength;
      for (let i = 0; i < 40; i++) await forward(1 + ((i * 37) % 64));
      expect(own.buffer.byteLength).toBe(before);
    },
  );
});

describe('options', () => {
  test.each([0, -1, 1.5, 1000])('threads: %d', (threads) =>
    expectError('input', /threads: expected an integer from 1 to 256, got/, () => openRuntime('cpu', { threads })),
  );
});
