// @unit
/** The runtime on the reference and on the CPU: values, refusals, failures that leave nothing behind, random programs. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { constant, normal, uniform } from '../kernels/op.ts';
import { toFloat16 } from '../src/checkpoint/safetensors.ts';
import { CpuDevice } from '../src/devices/cpu/device.ts';
import { Workers } from '../src/devices/cpu/workers.ts';
import { ReferenceDevice } from '../src/devices/reference.ts';
import { Runtime } from '../src/runtime.ts';
import { expectError, ROOT } from './support.ts';
import { compareRandomPrograms, PROGRAMS, runtimeTests } from './tensorPrograms.ts';

const module = new WebAssembly.Module(readFileSync(join(ROOT, 'wasm', 'relaxed.wasm')));
const memory = (maximum = 65536) => new WebAssembly.Memory({ initial: 8, maximum });
const cpu = (own = memory()) => new CpuDevice(module, own, { int8: 'grouped', tile: '6x8' }, 1);

describe('reference', () => runtimeTests(() => new ReferenceDevice()));
describe('cpu', () => runtimeTests(() => cpu()));

/** Every product and tile, on the caller's thread and on two or three. */
const CHOICES = [1, 2, 3].flatMap((threads) =>
  (
    [
      ['relaxed', 'relaxed'],
      ['relaxed', 'grouped'],
      ['relaxed', 'int16'],
      ['baseline', 'int16'],
    ] as const
  ).flatMap(([set, int8]) => (['6x16', '6x8'] as const).map((tile) => ({ threads, set, int8, tile }))),
);
test(`${2000 * PROGRAMS} random programs on the cpu agree with the reference`, async () => {
  const modules = Object.fromEntries(
    ['relaxed', 'baseline'].map((set) => [
      set,
      new WebAssembly.Module(readFileSync(join(ROOT, 'wasm', `${set}-shared.wasm`))),
    ]),
  );
  let worst = 0;
  for (let group = 0; group < 40 * PROGRAMS; group++) {
    const { threads, set, int8, tile } = CHOICES[group % CHOICES.length]!;
    const shared = new WebAssembly.Memory({ initial: 8, maximum: 65536, shared: true });
    const workers = threads > 1 ? await Workers.start(modules[set]!, shared, threads) : null;
    const device = new CpuDevice(modules[set]!, shared, { int8, tile }, threads, workers);
    const seeds = Array.from({ length: 50 }, (_, i) => 50 * group + i);
    worst = Math.max(worst, await compareRandomPrograms(device, seeds));
    await device.dispose();
  }
  console.log(
    `${2000 * PROGRAMS} programs on ${CHOICES.length} choices of kernels and threads: at most ${worst} apart`,
  );
}, 3_600_000);

test('read: a signal that is none is refused', () =>
  expectError('input', /^signal: expected an AbortSignal, got true\./, () => {
    const rt = new Runtime(new ReferenceDevice());
    return rt.read(rt.tensor(constant([2, 2], 1)), { signal: true as never });
  }));

test('a memory that cannot grow fails that read and that upload only', async () => {
  const rt = new Runtime(cpu(memory(18))); // 1.2 MB
  const x = rt.tensor(normal([4, 64], 1));
  const y = rt.linear(x, rt.linearLayer(normal([64, 64], 2), constant([64], 0)));
  const before = await rt.read(y);
  const large = normal([2000, 64], 3);
  const none = /^cpu: expected \d+ bytes of memory, got none/;
  await expectError('device', none, () => rt.tensor({ shape: [20_000, 64], data: new Float32Array(20_000 * 64) }));
  const wide = rt.linearLayer(normal([640, 64], 4), constant([640], 0));
  await expectError('device', none, () =>
    rt.read(rt.linear(rt.tensor({ ...large, shape: [500, 64], data: large.data.subarray(0, 32_000) }), wide)),
  );
  expect(await rt.read(y)).toEqual(before);
});

test(`a loop of ${2000 * PROGRAMS} uploads that are computed with, read and disposed of needs no more memory than its largest round`, async () => {
  const own = memory();
  const rt = new Runtime(cpu(own));
  const layer = rt.linearLayer(normal([48, 64], 1), constant([48], 0));
  const next = uniform(1);
  const largest = normal([300, 64], 2);
  const round = async (rows: number) => {
    using x = rt.tensor({ shape: [rows, 64], data: largest.data.subarray(0, rows * 64) });
    const y = await rt.read(rt.linear(x, layer));
    expect(y.length).toBe(rows * 48);
  };
  await round(300);
  const kept = Array.from({ length: 20 }, (_, i) => rt.tensor(normal([1 + i, 64], i)));
  await round(300);
  const before = own.buffer.byteLength;
  const megabytes: number[] = [];
  for (let i = 0; i < 2000 * PROGRAMS; i++) {
    await round(1 + Math.floor(next() * 300));
    if (i % 100 === 0) kept[i / 100]?.dispose();
    if ((i + 1) % (500 * PROGRAMS) === 0) megabytes.push(Math.round(process.memoryUsage.rss() / 2 ** 20));
  }
  expect(own.buffer.byteLength).toBe(before);
  console.log(`RSS after each quarter of ${2000 * PROGRAMS} rounds: ${megabytes.join(', ')} MB`);
  expect(megabytes[3]! - megabytes[1]!).toBeLessThan(50); // garbage that is not collected yet
}, 3_600_000);

test('an upload after a read takes the place of its activations', async () => {
  const own = memory();
  const rt = new Runtime(cpu(own));
  const wide = rt.linearLayer(normal([640, 64], 1), constant([640], 0));
  await rt.read(rt.linear(rt.tensor(normal([500, 64], 2)), wide)); // 1.3 MB
  const before = own.buffer.byteLength;
  rt.tensor(constant([400, 640], 1)); // 1 MB
  expect(own.buffer.byteLength).toBe(before);
});

test.each([
  ['reference', () => new ReferenceDevice()],
  ['cpu', () => cpu()],
] as const)('%s refuses a float16 weight', async (_, open) => {
  const layer = () => new Runtime(open()).linearLayer(toFloat16(normal([4, 8], 1)), constant([4], 0), 'dense');
  await expectError(
    'input',
    /^dense: expected a weight of float32 or int8, got F16\. Widen it with `toFloat32`/,
    layer,
  );
});

test('after dispose() ops, uploads and reads are refused; dispose() waits for a read and may be called twice', async () => {
  const rt = new Runtime(cpu());
  const x = rt.tensor(normal([4, 9], 1));
  const reading = rt.read(x);
  const disposed = Promise.all([rt.dispose(), rt.dispose()]);
  expect((await reading).length).toBe(36);
  await disposed;
  const message = /^runtime: expected a runtime in use, got a disposed one\.$/;
  await expectError('disposed', message, () => rt.read(x));
  await expectError('disposed', message, () => rt.tensor(normal([1, 1], 1)));
  await expectError('disposed', message, () => rt.attention(x, 1));
  await expectError('disposed', message, () => rt.linearLayer(normal([1, 1], 1), constant([1], 0)));
});

test('a program of more commands than there is room for is refused, and the next one is right', async () => {
  const rt = new Runtime(cpu());
  const layer = rt.linearLayer(normal([4, 4], 1, 0.1), constant([4], 0));
  const x = rt.tensor(normal([1, 4], 2));
  let y = x;
  for (let i = 0; i < 8000; i++) y = rt.linear(y, layer);
  await expectError(
    'input',
    /^read: expected a program of at most \d+ calls of kernels, got 8000\. Read a tensor between/,
    () => rt.read(y),
  );
  expect(await rt.read(x)).toEqual(normal([1, 4], 2).data);
});
