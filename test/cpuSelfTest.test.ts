/** What the CPU backend does with broken kernels: they are compiled here, from a copy of the sources with one mistake. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { normal } from '../kernels/op.ts';
import { assetsOf, buildKernels } from '../scripts/build.ts';
import { type CpuOptions, startCpu } from '../src/devices/cpu/start.ts';
import { Runtime } from '../src/runtime.ts';
import * as assets from '../wasm/assets.js';
import { expectError, ROOT } from './support.ts';

/** What the start of a device with these modules finds. */
async function start(modules: Required<CpuOptions>['modules']) {
  const { device, ...about } = await startCpu({ threads: 1, modules });
  await device.dispose();
  return about;
}

test('what is built is of the sources as they are: else run `npm run build`', async () => {
  expect({ ...assets }).toEqual(await assetsOf(ROOT));
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
    const modules = names.map((name) => `${name}-shared`);
    for (const name of modules) await buildKernels(copy, copy, name);
    return Object.fromEntries(modules.map((name) => [name, new Uint8Array(readFileSync(join(copy, `${name}.wasm`)))]));
  }
  test('a broken relaxed product: the grouped one is used, and said so', async () => {
    const modules = await broken('linearInt8.wasm.ts', 'c10 = dot(a, w0, c10)', 'c10 = dot(w0, a, c10)', 'relaxed');
    const { kernels, reason } = await start(modules);
    expect(kernels).toMatch(/^int8 grouped, .* relaxed SIMD$/);
    expect(reason).toMatch(/the relaxed kernels, 128 bits, failed their self-test \(linearInt8, /);
  });
  test.each([
    ['a sum', 't11 = dot(a, w1, t11)', 't11 = dot(a, w0, t11)'],
    ['the order', '(offsets), a0', '(offsets) & 15, a0'],
    ['sizes of sets', 'size >>= 1', 'size >>= 2'],
  ])('a broken grouped product (%s): it is not used', async (_, from, to) => {
    const modules = await broken('linearInt8Grouped.wasm.ts', from, to, 'relaxed');
    const { kernels, reason } = await start(modules);
    expect(kernels).toMatch(/^int8 relaxed, /);
    expect(reason).toMatch(/the grouped kernels, 128 bits, failed their self-test \(linearInt8, /);
  });
  test('both broken: the int16 one is used', async () => {
    const modules = await broken(
      'linearInt8.wasm.ts',
      'row << 2), z = zeros',
      'row << 2), z = int16 ? zeros + <usize>(row << 2) : scales + <usize>(row << 2), unused = zeros',
      'relaxed',
    );
    const { kernels, reason } = await start(modules);
    expect(kernels).toMatch(/^int8 int16, .* relaxed SIMD$/);
    expect(reason).toMatch(/the relaxed kernels, .* failed .* the grouped kernels, .* failed/);
  });
  test('a broken layerNorm in the relaxed module: the baseline one is used', async () => {
    const modules = await broken('layerNorm.wasm.ts', '<f64>eps', '<f64>eps + 1.0', 'relaxed');
    const { kernels, reason } = await start(modules);
    expect(kernels).toMatch(/baseline SIMD$/);
    expect(reason).toMatch(/relaxed kernels, .* self-test \(layerNorm.*int16 kernels, .* failed/);
  });
  test('a module that is valid and does not compile: what the engine said, not a guess about its SIMD', async () => {
    const compile = vi.spyOn(WebAssembly, 'compile');
    compile.mockRejectedValueOnce(new WebAssembly.CompileError('WebAssembly.compile(): refused by a policy'));
    await expectError('device', /^cpu: expected WebAssembly to compile, got an error \(.*refused by a policy\)/, () =>
      startCpu({ modules: {} }),
    );
    compile.mockRestore();
  });
  test('address space for less than 4 GB: a smaller memory; for none: an error that says so', async () => {
    const { Memory } = WebAssembly;
    let most = 4096;
    const made: number[] = [];
    vi.spyOn(WebAssembly, 'Memory').mockImplementation(function (this: unknown, wanted: WebAssembly.MemoryDescriptor) {
      if (wanted.maximum! > most) throw new RangeError('WebAssembly.Memory(): could not allocate memory');
      made.push(wanted.maximum!);
      return new Memory(wanted);
    } as never);
    try {
      const { device } = await startCpu({ threads: 1 });
      await device.dispose();
      expect(made.at(-1)).toBe(4096);
      most = 4;
      await expectError('device', /^cpu: expected address space for a memory, got none \(.*ulimit -v/, () =>
        startCpu({ threads: 1 }),
      );
    } finally {
      vi.restoreAllMocks();
    }
  });
  test.each([
    ['quantizeWeight.wasm.ts', 'HALF_RANGE: f32 = 127.5', 'HALF_RANGE: f32 = 127'],
    ['widen.wasm.ts', 'i32x4.shr_u(h, 15), 31', 'i32x4.shr_u(h, 15), 30'],
  ])('a broken %s in the relaxed module: the baseline one is used', async (...change) => {
    const { kernels, reason } = await start(await broken(...change, 'relaxed'));
    expect(kernels).toMatch(/baseline SIMD$/);
    expect(reason).toMatch(/grouped kernels, .* failed their self-test \(quantizeWeight\)/);
  });
  test('all broken: an error', async () => {
    const modules = await broken(
      'attention.wasm.ts',
      'f32x4.mul(v128.load(from + j), all)',
      'v128.load(from + j)',
      'relaxed',
      'baseline',
    );
    await expectError('device', /expected kernels that work, got none: .*\(attention, .*Use `reference`/, () =>
      startCpu({ threads: 1, modules }),
    );
  });
  test('a module that does not compile: the next one', async () => {
    const { kernels, reason } = await start({ 'relaxed-shared': new Uint8Array([1, 2, 3]) });
    expect(kernels).toMatch(/baseline SIMD$/);
    expect(reason).toMatch(/^this engine has no relaxed SIMD \(.*\)$/);
  });
  test('a trap in a thread is an error of that device', async () => {
    const modules = await broken(
      'layerNorm.wasm.ts',
      'const whole = hidden',
      'if (tokens == 77) unreachable();\n  const whole = hidden',
      'relaxed',
    );
    const { device } = await startCpu({ threads: 2, modules });
    const runtime = new Runtime(device);
    const norm = { gamma: runtime.tensor(normal([64], 2)), beta: runtime.tensor(normal([64], 3)) };
    const y = (rows: number) =>
      runtime.read(runtime.layerNorm(runtime.tensor(normal([rows, 64], 1)), null, norm, 1e-12));
    expect((await y(76)).length).toBe(76 * 64);
    await expectError('device', /^cpu: expected 2 threads at work, got a worker that ended \(unreachable\)/, () =>
      y(77),
    );
    await expectError('device', /Load the model again/, () => y(76));
    await runtime.dispose();
  });
});
