/** What the CPU backend does with broken kernels: they are compiled here, from a copy of the sources with one mistake. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { normal } from '../kernels/op.ts';
import { assetsOf, buildKernels } from '../scripts/build.ts';
import { CpuDevice } from '../src/devices/cpu/device.ts';
import {
  findKernels,
  floatName,
  int8Name,
  type Modules,
  newMemory,
  packageModules,
} from '../src/devices/cpu/kernels.ts';
import { startCpu } from '../src/devices/cpu/start.ts';
import { withV8Flags } from '../src/devices/cpu/v8Flags.ts';
import { Workers } from '../src/devices/cpu/workers.ts';
import { Runtime } from '../src/runtime.ts';
import * as assets from '../wasm/assets.js';
import { ACCUMULATOR_SIZES, expectError, OP_CASES, ROOT, shareOfBound, wrongAccumulators } from './support.ts';

/** The kernels that are found in these modules, where one is missing in the package's. */
const find = (modules: Partial<Modules>) =>
  withV8Flags(true, (compilation) => findKernels(true, compilation, { ...packageModules(true), ...modules }));
/** What a device with these modules says of its kernels. */
async function start(modules: Partial<Modules>) {
  const { choice, simd, reasons } = await find(modules);
  return { kernels: `${int8Name(choice)}, ${floatName(choice)}, ${simd}`, reason: reasons.join('; ') };
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
  type Change = [file: string, from: string, to: string];
  /** The modules of a copy of the kernels in which some text of files is replaced. */
  async function changed(changes: Change[], ...names: (keyof Modules)[]) {
    const copy = join(folder, `${Math.random()}`);
    mkdirSync(copy);
    cpSync(join(ROOT, 'kernels'), copy, { recursive: true });
    for (const [file, from, to] of changes) {
      const source = readFileSync(join(copy, file), 'utf8');
      expect(source).toContain(from);
      writeFileSync(join(copy, file), source.replaceAll(from, to));
    }
    for (const name of names) await buildKernels(copy, copy, `${name}-shared`, ['-O1']); // a tenth of the time
    const bytesOf = (name: string) => new Uint8Array(readFileSync(join(copy, `${name}-shared.wasm`)));
    return Object.fromEntries(names.map((name) => [name, bytesOf(name)])) as Partial<Modules>;
  }
  const broken = (file: string, from: string, to: string, ...names: (keyof Modules)[]) =>
    changed([[file, from, to]], ...names);
  test('a broken relaxed product: the grouped one is used, and said so', async () => {
    const modules = await broken('linearInt8.wasm.ts', 'c10 = dot(a, w0, c10)', 'c10 = dot(w0, a, c10)', 'relaxed');
    const { kernels, reason } = await start(modules);
    expect(kernels).toMatch(/^int8 grouped 4x16, .* relaxed SIMD,/);
    expect(reason).toMatch(/the kernels int8 relaxed 6x\d+ failed their self-test \(linearInt8, /);
  });
  test.each([
    ['a sum', 't11 = dot(a, w1, t11)', 't11 = dot(a, w0, t11)'],
    ['the order', '(offsets), a0', '(offsets) & 15, a0'],
    ['sizes of sets', 'size >>= 1', 'size >>= 2'],
  ])('a broken grouped product (%s): it is not used', async (_, from, to) => {
    const modules = await broken('linearInt8Grouped.wasm.ts', from, to, 'relaxed');
    const { kernels, reason } = await start(modules);
    expect(kernels).toMatch(/^int8 relaxed 6x/);
    expect(reason).toMatch(/the kernels int8 grouped 4x16 failed their self-test \(linearInt8, /);
  });
  test('both broken: the int16 one is used', async () => {
    const modules = await broken(
      'linearInt8.wasm.ts',
      'row << 2), z = zeros',
      'row << 2), z = product == INT16 ? zeros + <usize>(row << 2) : scales + <usize>(row << 2), unused = zeros',
      'relaxed',
    );
    const { kernels, reason } = await start(modules);
    expect(kernels).toMatch(/^int8 int16 4x8, .* relaxed SIMD,/);
    expect(reason).toMatch(/int8 grouped 4x16 failed .* int8 relaxed 6x\d+ failed/);
  });
  test('a broken layerNorm in the relaxed module: the baseline one is used', async () => {
    const modules = await broken('layerNorm.wasm.ts', '<f64>eps', '<f64>eps + 1.0', 'relaxed');
    const { kernels, reason } = await start(modules);
    expect(kernels).toMatch(/baseline SIMD, no fused multiply-add$/);
    expect(reason).toMatch(/float32 6x16 failed their self-test \(layerNorm.*float32 6x8 failed/);
  });
  describe('a CPU that reads activations as signed, as ARM does, by a dot product written out', () => {
    const signed: Change = [
      'linearInt8.wasm.ts',
      'return i32x4.relaxed_dot_i8x16_i7x16_add_s(w, x, c);',
      `{
        const low = i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(w), i16x8.extend_low_i8x16_s(x));
        const high = i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(w), i16x8.extend_high_i8x16_s(x));
        const even = v128.shuffle<i32>(low, high, 0, 2, 4, 6), odd = v128.shuffle<i32>(low, high, 1, 3, 5, 7);
        return i32x4.add(c, i32x4.add(even, odd));
      }`,
    ];
    let modules: Partial<Modules>;
    beforeAll(async () => {
      modules = await changed([signed], 'relaxed');
    });
    test('`signed` is chosen; what reads them as unsigned is not even tried', async () => {
      const { choice, measured, reasons } = await find(modules);
      expect([choice.int8, reasons]).toEqual(['signed', []]);
      expect(Object.keys(measured)).toEqual(['float32 6x16', 'float32 6x8']); // the only product is not timed
    });
    for (const tile of ['6x16', '6x8'] as const) {
      const device = () => {
        const module = new WebAssembly.Module(modules.relaxed!);
        return new CpuDevice(module, newMemory(true, 1024), { int8: 'signed', tile }, 1);
      };
      test.each(OP_CASES.filter(([name]) => name === 'linearInt8'))(`${tile}: %s, %s`, async (_, key, op) => {
        expect(await shareOfBound(device(), key, op)).toBeLessThanOrEqual(1);
      });
      test.each(ACCUMULATOR_SIZES)(`${tile}: exact sums of %d tokens, %d features, %d outputs`, async (...sizes) => {
        expect(await wrongAccumulators(device(), ...sizes)).toBe(0);
      });
    }
    test('a broken quantizer of `signed`: the int16 product is used, and said so', async () => {
      const unshifted: Change = ['quantize.wasm.ts', 'load<i32>(t, 4) - less', 'load<i32>(t, 4)'];
      const { kernels, reason } = await start(await changed([signed, unshifted], 'relaxed'));
      expect(kernels).toMatch(/^int8 int16 4x8, /);
      expect(reason).toMatch(/int8 signed 6x\d+ failed .*\(linearInt8/);
    });
  });
  test('an engine whose multiply-add rounds twice, as Bun: info says so', async () => {
    const change: Change = ['math.wasm.ts', 'f32x4.relaxed_madd(a, b, c)', 'f32x4.add(f32x4.mul(a, b), c)'];
    const [as, changedTo] = [await find({}), await find(await changed([change], 'relaxed'))];
    expect([as.simd, changedTo.simd]).toEqual([
      'relaxed SIMD, fused multiply-add',
      'relaxed SIMD, no fused multiply-add',
    ]);
    expect(changedTo.reasons).toEqual([]);
  });
  test('a module that is valid and does not compile: what the engine said, not a guess about its SIMD', async () => {
    const compile = vi.spyOn(WebAssembly, 'compile');
    compile.mockRejectedValueOnce(new WebAssembly.CompileError('WebAssembly.compile(): refused by a policy'));
    await expectError('device', /^cpu: expected WebAssembly to compile, got an error \(.*refused by a policy\)/, () =>
      find({}),
    );
    const refused = new WebAssembly.CompileError('Wasm code generation disallowed by embedder');
    vi.stubGlobal('navigator', { userAgent: 'Cloudflare-Workers' });
    compile.mockRejectedValueOnce(refused); // as workerd 1.20261117 says it
    await expectError('device', /disallowed by embedder\): workerd compiles none while it runs\. Use `reference`/, () =>
      find({}),
    );
    vi.unstubAllGlobals();
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
    ['halfToFloat.wasm.ts', 'i32x4.shr_u(h, 15), 31', 'i32x4.shr_u(h, 15), 30'],
  ])('a broken %s in the relaxed module: the baseline one is used', async (...change) => {
    const { kernels, reason } = await start(await broken(...change, 'relaxed'));
    expect(kernels).toMatch(/baseline SIMD, no fused multiply-add$/);
    expect(reason).toMatch(/failed their self-test \(quantizeWeight\)/);
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
      find(modules),
    );
  });
  test('a module that does not compile: the next one', async () => {
    const { kernels, reason } = await start({ relaxed: new Uint8Array([1, 2, 3]) });
    expect(kernels).toMatch(/baseline SIMD, no fused multiply-add$/);
    expect(reason).toMatch(/^this engine has no relaxed SIMD \(.*\)$/);
  });
  test('a trap in a thread is an error of that device', async () => {
    const modules = await broken(
      'layerNorm.wasm.ts',
      'const whole = hidden',
      'if (tokens == 77) unreachable();\n  const whole = hidden',
      'relaxed',
    );
    const { module, choice } = await find(modules);
    const shared = newMemory(true);
    const runtime = new Runtime(new CpuDevice(module, shared, choice, 2, await Workers.start(module, shared, 2)));
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
