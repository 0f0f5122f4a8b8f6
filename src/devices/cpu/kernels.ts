/**
 * Finds the kernels that the CPU device computes with: tests them against the reference on hard cases, keeps those that
 * this engine and CPU run correctly, and picks the fastest of them.
 */
import { EXPECTED, SHARED_FLAG, WASM } from '../../../wasm/assets.js';
import { type BertletError, fault, messageOf } from '../../errors.ts';
import { fromBase64, inNode } from '../../platform.ts';
import { Runtime } from '../../runtime.ts';
import { fastest, timedLinear } from '../race.ts';
import { type Example, firstWrong, quantizesRight, selfTestExamples } from '../selfTest.ts';
import type { KernelChoice, Tile } from './commands.ts';
import { CpuDevice } from './device.ts';
import { instantiate, WEIGHTS } from './threads.ts';
import type { Compilation } from './v8Flags.ts';

/** What the tests and timings of this process found. */
export interface Kernels {
  readonly module: WebAssembly.Module;
  readonly choice: KernelChoice;
  /** For `info`: the SIMD of the module, and whether its multiply-add rounds once. */
  readonly simd: string;
  /** Milliseconds of a product with each kernel that was timed, by the kernels' names. */
  readonly measured: Readonly<Record<string, number>>;
  /** Which kernels were not used, and why. */
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
    const contest = new Contest(module, memory, compilation, reasons);
    const choice = await contest.choose();
    if (!choice) continue;
    const fused = instantiate(module, memory).isFused() ? 'fused' : 'no fused';
    return { module, choice, simd: `${set} SIMD, ${fused} multiply-add`, measured: contest.measured, reasons };
  }
  throw fault('device', 'cpu', 'kernels that work', `none: ${reasons.join('; ')}`, 'Use `reference`.');
}

/** Makes the error for a module that this engine has the instructions of, and does not compile. */
function notCompiled(cause: unknown): BertletError {
  const { userAgent } = globalThis.navigator ?? {};
  const policy = inNode ? '' : "; a Content-Security-Policy needs `script-src 'wasm-unsafe-eval'`";
  const why = userAgent === 'Cloudflare-Workers' ? ': workerd compiles none while it runs' : policy;
  const got = `an error (${messageOf(cause)})${why}`;
  return fault('device', 'cpu', 'WebAssembly to compile', got, 'Use `reference`.', cause);
}

/** What kernels are chosen for. */
interface Kind {
  readonly nameOf: (choice: KernelChoice) => string;
  readonly isOfIt: (example: Example) => boolean;
  /** The weight of `timedLinear` that the timed product has. */
  readonly weight: 'weight' | 'quantized';
}
export const FLOAT32: Kind = {
  nameOf: ({ floatTile }) => `float32 ${floatTile}`,
  isOfIt: ({ op }) => op.name !== 'linearInt8',
  weight: 'weight',
};
export const INT8: Kind = {
  nameOf: ({ int8, tile }) => `int8 ${int8} ${{ relaxed: tile, signed: tile, grouped: '4x16', int16: '4x8' }[int8]}`,
  isOfIt: ({ op }) => op.name === 'linearInt8',
  weight: 'quantized',
};

/** Tests and times the kernels of one module. */
class Contest {
  readonly measured: Record<string, number> = {};
  readonly #module: WebAssembly.Module;
  readonly #memory: WebAssembly.Memory;
  readonly #compilation: Compilation;
  readonly #reasons: string[];
  /** Where the memory of the next device begins. */
  #next = WEIGHTS;

  /** @param reasons is told which kernels failed */
  constructor(module: WebAssembly.Module, memory: WebAssembly.Memory, compilation: Compilation, reasons: string[]) {
    this.#module = module;
    this.#memory = memory;
    this.#compilation = compilation;
    this.#reasons = reasons;
  }

  /**
   * Chooses the tile of float32, then the int8 product. What cannot win is not tested: 6x16 on x64 without registers of 256
   * bits, the products that read activations as unsigned where the CPU takes them as signed, and the other way round.
   * @returns null if no kernel of a kind works
   */
  async choose(): Promise<KernelChoice | null> {
    const dot = instantiate(this.#module, this.#memory).dotOf128();
    const tiles: readonly Tile[] = dot > 0 && !this.#compilation.revectorized ? ['6x8'] : ['6x16', '6x8'];
    const float = await this.#best(
      tiles.map((tile) => ({ int8: 'int16', tile, floatTile: tile })),
      FLOAT32,
    );
    if (!float) return null;
    const tiled = (int8: 'relaxed' | 'signed') => tiles.map((tile) => ({ ...float, int8, tile }));
    const unsigned = [{ ...float, int8: 'grouped' as const }, ...tiled('relaxed')];
    const relaxed = dot === 0 ? [] : dot > 0 ? unsigned : tiled('signed');
    return (await this.#best(relaxed, INT8)) ?? this.#best([{ ...float, int8: 'int16' }], INT8);
  }

  /** The fastest of those choices that pass the self-test; null if none does. */
  async #best(choices: readonly KernelChoice[], { nameOf, isOfIt, weight }: Kind): Promise<KernelChoice | null> {
    const examples = selfTestExamples(EXPECTED).filter(isOfIt);
    const { x, bias, ...weights } = timedLinear(130, 384, 96); // so small that it stays in the cache
    const works = [];
    for (const choice of choices) {
      const device = new CpuDevice(this.#module, this.#memory, choice, 1, null, this.#next);
      this.#next += TEST_ROOM;
      const wrong = (await firstWrong(device, examples)) ?? (quantizesRight(device) ? null : 'quantizeWeight');
      if (wrong) {
        this.#reasons.push(`the kernels ${nameOf(choice)} failed their self-test (${wrong})`);
        continue;
      }
      const runtime = new Runtime(device);
      works.push({ choice, y: runtime.linear(runtime.tensor(x), runtime.linearLayer(weights[weight], bias)) });
    }
    if (works.length === 0) return null;
    const { choice, milliseconds } = await fastest(works, this.#compilation.eager ? 0 : 100);
    for (const [i, time] of milliseconds.entries()) this.measured[nameOf(works[i]!.choice)] = time;
    return choice;
  }
}
