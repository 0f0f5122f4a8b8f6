/**
 * Finds the kernels that the CPU device computes with: tests them against the reference on hard cases, keeps those that
 * this engine and CPU run correctly, and picks the fastest of them.
 */
import { EXPECTED, SHARED_FLAG, WASM } from '../../../wasm/assets.js';
import { type BertletError, fault, messageOf } from '../../errors.ts';
import { fromBase64, inNode } from '../../platform.ts';
import { fastest, timedProduct } from '../race.ts';
import { type Example, firstWrong, quantizesRight, selfTestExamples } from '../selfTest.ts';
import { type KernelChoice, TILES } from './commands.ts';
import { CpuDevice } from './device.ts';
import { instantiate, WEIGHTS } from './threads.ts';
import type { Compilation } from './v8Flags.ts';

/** Results of the tests and timings of this process. */
export interface Kernels {
  readonly module: WebAssembly.Module;
  readonly choice: KernelChoice;
  /** For `info`: the SIMD of the module, and whether its multiply-add rounds once. */
  readonly simd: string;
  /** Milliseconds of a product with each kernel that was timed, by the kernels' names. */
  readonly measured: Readonly<Record<string, number>>;
  /** Kernels that were not used, and why. */
  readonly reasons: readonly string[];
}
/** Modules of the kernels: with relaxed SIMD, and without. */
export type Modules = Readonly<Record<'relaxed' | 'baseline', Uint8Array<ArrayBuffer>>>;

const MAX_PAGES = 65536; // 4 GB of address space, reserved but not allocated
const TEST_ROOM = 2 ** 23; // bytes of memory for the tests of one choice of kernels
const TEST_PAGES = 1024; // room for the tests of all

/** The modules of the package. All are there for a shared memory; for another, one byte says so. */
export function packageModules(shared: boolean): Modules {
  const bytesOf = (text: string) => {
    const bytes = fromBase64(text);
    if (!shared) bytes[SHARED_FLAG] = 1;
    return bytes;
  };
  return { relaxed: bytesOf(WASM.relaxed), baseline: bytesOf(WASM.baseline) };
}

/**
 * Makes a memory that grows as needed, up to `maximum` pages of 64 KB: up to less where the process has not so much
 * address space (`ulimit -v`), since a shared memory reserves all of it.
 */
export function newMemory(shared: boolean, maximum = MAX_PAGES): WebAssembly.Memory {
  const initial = WEIGHTS / 65536;
  try {
    return new WebAssembly.Memory({ initial, maximum, shared });
  } catch (cause) {
    if (maximum / 2 >= initial) return newMemory(shared, maximum / 2);
    const advice = 'Dispose of other models, or raise the limit of this process (`ulimit -v`).';
    throw fault('device', 'cpu', 'address space for a memory', `none (${messageOf(cause)})`, advice, cause);
  }
}

/**
 * Tests the kernels of each module, relaxed SIMD first, and times those that work.
 * @throws BertletError `device` if none do
 */
export async function findKernels(shared: boolean, compilation: Compilation, modules: Modules): Promise<Kernels> {
  const reasons: string[] = [];
  const examples = selfTestExamples(EXPECTED);
  const memory = newMemory(shared, TEST_PAGES); // one for all: each reserves 10 GB of address space, however small it is
  for (const set of ['relaxed', 'baseline'] as const) {
    let module: WebAssembly.Module;
    try {
      module = await WebAssembly.compile(compilation.bytesOf(modules[set]));
    } catch (cause) {
      if (WebAssembly.validate(modules[set])) throw notCompiled(cause);
      reasons.push(`this engine has no ${set} SIMD (${messageOf(cause)})`);
      continue;
    }
    const trial: Trial = { module, memory, compilation, examples, reasons, measured: {}, next: WEIGHTS };
    const choice = await choose(trial);
    if (!choice) continue;
    const fused = instantiate(module, memory).isFused() ? 'fused' : 'no fused';
    return { module, choice, simd: `${set} SIMD, ${fused} multiply-add`, measured: trial.measured, reasons };
  }
  throw fault('device', 'cpu', 'kernels that work', `none: ${[...new Set(reasons)].join('; ')}`, 'Use `reference`.');
}

/** Makes the error for a module that this engine has the instructions of, and does not compile. */
function notCompiled(cause: unknown): BertletError {
  const { userAgent } = globalThis.navigator ?? {};
  const policy = inNode ? '' : "; a Content-Security-Policy needs `script-src 'wasm-unsafe-eval'`";
  const why = userAgent === 'Cloudflare-Workers' ? ': workerd compiles none while it runs' : policy;
  const got = `an error (${messageOf(cause)})${why}`;
  return fault('device', 'cpu', 'WebAssembly to compile', got, 'Use `reference`.', cause);
}

/** The names of the kernels of a choice. */
export const floatName = ({ tile }: KernelChoice): string => `float32 ${tile}`;
export const int8Name = ({ int8, tile }: KernelChoice): string =>
  `int8 ${int8} ${{ relaxed: tile, signed: tile, grouped: '4x16', int16: '4x8' }[int8]}`;

/** The tests and timings of a module's kernels. */
interface Trial {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly compilation: Compilation;
  readonly examples: readonly Example[];
  readonly reasons: string[];
  readonly measured: Record<string, number>;
  /** Where the memory of the next choice begins. */
  next: number;
}

/**
 * Chooses the tile by its float32 products, then the int8 product. What cannot win is not tested: 6x16 on x64 without
 * registers of 256 bits, the products that read activations as unsigned where the CPU takes them as signed, and the other
 * way round; and int16 only if no other works.
 * @returns null if no kernel works for one of the two
 */
async function choose(trial: Trial): Promise<KernelChoice | null> {
  const dot = instantiate(trial.module, trial.memory).dotOf128();
  const tiles = dot > 0 && !trial.compilation.revectorized ? (['6x8'] as const) : TILES;
  const floats = tiles.map((tile) => ({ int8: 'int16', tile }) as const);
  const float = await best(trial, floats, false);
  if (!float) return null;
  const products = dot === 0 ? [] : dot > 0 ? (['grouped', 'relaxed'] as const) : (['signed'] as const);
  const { tile } = float;
  const choices = products.map((int8) => ({ int8, tile }));
  return (await best(trial, choices, true)) ?? best(trial, [float], true);
}

/** The fastest of those choices by their int8 or float32 products, of those that pass the self-test; null if none does. */
async function best(trial: Trial, choices: readonly KernelChoice[], int8: boolean): Promise<KernelChoice | null> {
  const nameOf = int8 ? int8Name : floatName;
  const examples = trial.examples.filter(({ op }) => int8 === (op.name === 'linearInt8'));
  const works = [];
  for (const choice of choices) {
    const device = new CpuDevice(trial.module, trial.memory, choice, 1, null, trial.next);
    trial.next += TEST_ROOM;
    const wrong = (await firstWrong(device, examples)) ?? (quantizesRight(device) ? null : 'quantizeWeight');
    if (wrong) trial.reasons.push(`the kernels ${nameOf(choice)} failed their self-test (${wrong})`);
    else works.push({ choice, y: timedProduct(device, int8) });
  }
  if (works.length === 0) return null;
  const { choice, milliseconds } = await fastest(works, trial.compilation.eager ? 0 : 100);
  for (const [i, time] of milliseconds.entries()) trial.measured[nameOf(works[i]!.choice)] = time;
  return choice;
}
