/**
 * Starts the CPU device in three steps. Test every kernel against the reference on hard cases and keep the kernels that
 * this engine and CPU run correctly, pick the fastest of them, and start the threads.
 */
import { SHARED_FLAG, WASM } from '../../../wasm/assets.js';
import { BertletError, messageOf } from '../../errors.ts';
import { check, integer } from '../../options.ts';
import { fromBase64, inNode } from '../../platform.ts';
import { Runtime } from '../../runtime.ts';
import { fastest, firstWrong, selfTestExamples, timedLinear } from '../race.ts';
import { CpuDevice, type KernelChoice } from './device.ts';
import { WEIGHTS } from './threads.ts';
import { whileWidening } from './widen.ts';
import { Workers } from './workers.ts';

export interface CpuOptions {
  threads?: number | undefined;
  wideSimd?: boolean | undefined;
  /** For tests: bytes of WebAssembly modules, used instead of the package's. */
  modules?: Partial<Record<ModuleName, Uint8Array<ArrayBuffer>>>;
}
type ModuleName = 'relaxed' | 'relaxed-shared' | 'baseline' | 'baseline-shared';
type Started = { device: CpuDevice; kernels: string; reason?: string };

const MOST_PAGES = 65536; // 4 GB of address space, reserved but not allocated
const TEST_ROOM = 2 ** 23; // bytes of memory for the tests of one choice of kernels

/** What the tests and timings of this process found. */
interface Kernels {
  readonly module: WebAssembly.Module;
  readonly choice: KernelChoice;
  /** For `info.kernels`. */
  readonly name: string;
  /** Which kernels were not used, and why. */
  readonly reasons: readonly string[];
}
/** One entry for each kind of module. Every later start in this process takes what the first has found. */
const found = new Map<string, Promise<Kernels>>();

/**
 * Starts the device.
 * @throws BertletError `device` if no kernels pass their self-test, or if threads are not available
 */
export async function startCpu(options: CpuOptions = {}): Promise<Started> {
  const { wideSimd = true, modules } = options;
  const threads = options.threads ?? (await cores());
  check('threads', threads, THREADS);
  if (typeof WebAssembly === 'undefined') {
    throw new BertletError('device', 'cpu: expected an engine with WebAssembly, got one without. Use `reference`.');
  }
  const shared = typeof SharedArrayBuffer !== 'undefined';
  if (threads > 1 && !shared) {
    const advice = 'Serve the page with the headers COOP: same-origin and COEP: require-corp, or ask for 1 thread.';
    throw new BertletError('device', `cpu: expected shared memory for ${threads} threads, got none. ${advice}`);
  }
  const key = `${shared} ${wideSimd}`;
  const finding =
    (!modules && found.get(key)) || whileWidening(wideSimd, (widened) => findKernels(shared, widened, modules));
  if (!modules) found.set(key, finding);
  const { module, choice, name, reasons } = await finding.catch((error: unknown) => {
    found.delete(key);
    throw error;
  });
  const memory = newMemory(shared);
  const workers = shared ? await Workers.start(module, memory, threads) : null;
  const device = new CpuDevice(module, memory, choice, threads, workers);
  return { device, kernels: name, ...(reasons.length > 0 && { reason: reasons.join('; ') }) };
}

/** Relaxed SIMD is tried first, then baseline SIMD. Kernels are tested, then timed. */
async function findKernels(
  shared: boolean,
  widened: ((module: Uint8Array) => Uint8Array<ArrayBuffer>) | null,
  modules: CpuOptions['modules'] = {},
): Promise<Kernels> {
  const reasons: string[] = [];
  const examples = selfTestExamples();
  const memory = newMemory(shared, 1024); // one for all: each reserves 10 GB of address space, however small it is
  const inputs = timedLinear(130, 384, 96); // so small that it stays in the cache
  for (const set of ['relaxed', 'baseline'] as const) {
    const name: ModuleName = shared ? `${set}-shared` : set;
    const bytes = modules[name] ?? moduleOf(set, shared);
    let module: WebAssembly.Module;
    try {
      module = await WebAssembly.compile(widened ? widened(bytes) : bytes);
    } catch (cause) {
      if (WebAssembly.validate(bytes)) throw notCompiled(cause);
      reasons.push(`this engine has no ${set} SIMD (${messageOf(cause)})`);
      continue;
    }
    const works: Choice[] = [];
    for (const int8 of set === 'relaxed' ? (['relaxed', 'grouped', 'int16'] as const) : (['int16'] as const)) {
      if (int8 === 'int16' && works.length > 0) break; // int16 is never faster than the other two
      for (const wide of widened ? [true, false] : [false]) {
        const choice = { int8, wide, wideFloat: wide };
        const device = new CpuDevice(module, memory, choice, 1, null, WEIGHTS + works.length * TEST_ROOM);
        const wrong = await firstWrong(device, examples);
        if (wrong) reasons.push(`the ${int8} kernels, ${wide ? 256 : 128} bits, failed their self-test (${wrong})`);
        else works.push({ choice, runtime: new Runtime(device) });
      }
    }
    if (works.length === 0) continue;
    // A widened module is optimized by now; otherwise V8 replaces its first, slow code in the background.
    const warmUp = widened ? 0 : 150;
    const { int8, wide } = await fastestOf(works, inputs, 'quantized', warmUp);
    const floats = works.filter(({ choice }) => choice.int8 === works[0]!.choice.int8); // the same kernels for all three
    const { wideFloat } = await fastestOf(floats, inputs, 'weight', warmUp && 20);
    const bits = (is: boolean) => (is ? 256 : 128);
    return {
      module,
      choice: { int8, wide, wideFloat },
      name: `int8 ${int8}, ${bits(wide)} bits, float32 ${bits(wideFloat)} bits, ${set} SIMD`,
      reasons,
    };
  }
  const got = `none: ${reasons.join('; ')}`;
  throw new BertletError('device', `cpu: expected kernels that work, got ${got}. Use \`reference\`.`);
}

/** The error for a module that this engine has the instructions of, and does not compile. */
function notCompiled(cause: unknown): BertletError {
  const policy = inNode ? '' : "; a Content-Security-Policy needs `script-src 'wasm-unsafe-eval'`";
  const message = `cpu: expected WebAssembly to compile, got an error (${messageOf(cause)})${policy}. Use \`reference\`.`;
  return new BertletError('device', message, { cause });
}

/** The bytes of a module of the package. All are there for a shared memory; for another, one byte says so. */
function moduleOf(set: keyof typeof WASM, shared: boolean): Uint8Array<ArrayBuffer> {
  const bytes = fromBase64(WASM[set]);
  if (!shared) bytes[SHARED_FLAG] = 1;
  return bytes;
}

/** How many threads may be asked for. */
export const THREADS = integer(1, 256);

/** Number of cores that this process may use. In a page without shared memory 1, since workers need it. */
async function cores(): Promise<number> {
  if (!inNode) return typeof SharedArrayBuffer === 'undefined' ? 1 : Math.min(navigator.hardwareConcurrency, 256);
  const { availableParallelism } = process.getBuiltinModule('node:os');
  return Math.min(availableParallelism(), 256);
}

/**
 * A memory that grows as needed, up to `maximum` pages of 64 KB: up to less where the process has not so much address
 * space (`ulimit -v`), since a shared memory reserves all of it.
 */
function newMemory(shared: boolean, maximum = MOST_PAGES): WebAssembly.Memory {
  const initial = WEIGHTS / 65536;
  try {
    return new WebAssembly.Memory({ initial, maximum, shared });
  } catch (cause) {
    if (maximum / 2 >= initial) return newMemory(shared, maximum / 2);
    const got = `none (${messageOf(cause)}). Dispose of other models, or raise the limit of this process (\`ulimit -v\`)`;
    throw new BertletError('device', `cpu: expected address space for a memory, got ${got}.`, { cause });
  }
}

/** Kernels that work. */
type Choice = { readonly choice: KernelChoice; readonly runtime: Runtime };
/** Times the choices on a linear, int8 or float32. */
function fastestOf(
  choices: readonly Choice[],
  { x, bias, ...inputs }: ReturnType<typeof timedLinear>,
  kind: 'quantized' | 'weight',
  warmUp: number,
): Promise<KernelChoice> {
  const candidates = choices.map(({ choice, runtime }) => {
    return { choice, y: runtime.linear(runtime.tensor(x), runtime.linearLayer(inputs[kind], bias)) };
  });
  return fastest(candidates, warmUp, 10);
}
