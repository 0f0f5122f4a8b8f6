/**
 * Starts the CPU device in three steps. Test every kernel against the reference on hard cases and keep the kernels that
 * this engine and CPU run correctly, pick the fastest of them, and start the threads.
 */
import { BertletError, inputError } from '../../errors.ts';
import { shown } from '../../options.ts';
import { inNode, readAsset } from '../../platform.ts';
import { Runtime } from '../../runtime.ts';
import { type Example, fastest, firstWrong, selfTestExamples, smallLinear } from '../check.ts';
import { CpuDevice, type KernelChoice } from './device.ts';
import type { WorkerData } from './threads.ts';

export interface CpuOptions {
  threads?: number | undefined;
  wideSimd?: boolean | undefined;
  /** For tests: bytes of WebAssembly modules, used instead of the modules' files. */
  modules?: Partial<Record<ModuleName, Uint8Array<ArrayBuffer>>>;
}
type ModuleName = 'relaxed' | 'relaxed-shared' | 'baseline' | 'baseline-shared';
type Started = { device: CpuDevice; kernels: string; reason?: string; endWorkers: () => Promise<unknown> };

/** Bundlers only find `new URL('<literal>', import.meta.url)`, so every file is written out. */
const MODULES: Record<ModuleName, URL> = {
  relaxed: new URL('../../../wasm/relaxed.wasm', import.meta.url),
  'relaxed-shared': new URL('../../../wasm/relaxed-shared.wasm', import.meta.url),
  baseline: new URL('../../../wasm/baseline.wasm', import.meta.url),
  'baseline-shared': new URL('../../../wasm/baseline-shared.wasm', import.meta.url),
};
/** Rows of a tile of each int8 product, for `info.kernels`. */
const ROWS = { relaxed: 6, grouped: 2, int16: 4 };
const MOST_PAGES = 65536; // 4 GB of address space, reserved but not allocated

/**
 * Starts the device. Relaxed SIMD is tried first, then baseline SIMD.
 * @throws BertletError `device` if no kernels pass their self-test, or if threads are not available
 */
export async function startCpu(options: CpuOptions = {}): Promise<Started> {
  const { wideSimd = false, modules = {} } = options;
  const threads = options.threads ?? (await cores());
  checkThreads(threads);
  if (typeof WebAssembly === 'undefined') {
    throw new BertletError('device', 'cpu: expected an engine with WebAssembly, got one without. Use `reference`.');
  }
  const shared = threads > 1;
  if (shared && typeof SharedArrayBuffer === 'undefined') {
    const advice = 'Serve the page with the headers COOP: same-origin and COEP: require-corp, or ask for 1 thread.';
    throw new BertletError('device', `cpu: expected shared memory for ${threads} threads, got none. ${advice}`);
  }
  if (wideSimd && inNode) {
    const { setFlagsFromString } = await import('node:v8');
    setFlagsFromString('--experimental-wasm-revectorize'); // process-wide; ignored by a V8 without the revectorizer
  }
  const reasons: string[] = [];
  const examples = await selfTestExamples();
  for (const set of ['relaxed', 'baseline'] as const) {
    const name: ModuleName = shared ? `${set}-shared` : set;
    const module = await WebAssembly.compile(modules[name] ?? (await readAsset(MODULES[name]))).catch(() => null);
    if (!module) {
      reasons.push(`this engine has no ${set} SIMD`);
      continue;
    }
    const works: KernelChoice[] = [];
    for (const int8 of set === 'relaxed' ? (['relaxed', 'grouped', 'int16'] as const) : (['int16'] as const)) {
      if (int8 === 'int16' && works.length > 0) break; // int16 is never faster than the other two
      for (const wide of wideSimd ? [true, false] : [false]) {
        const wrong = await selfTest(module, { int8, wide }, shared, examples);
        if (wrong) reasons.push(`the ${int8} kernels, ${wide ? 256 : 128} bits, failed their self-test (${wrong})`);
        else works.push({ int8, wide });
      }
    }
    if (works.length === 0) continue;
    const choice = await fastestOf(module, works, shared);
    const started = await startThreads(module, choice, threads);
    const tiles = `${ROWS[choice.int8]} x ${choice.wide ? '16 tiles for 256' : '8 tiles for 128'} bits`;
    const kernels = `int8 ${choice.int8}, ${tiles}, ${set} SIMD`;
    return { ...started, kernels, ...(reasons.length > 0 && { reason: reasons.join('; ') }) };
  }
  throw new BertletError(
    'device',
    `cpu: expected kernels that work, got none: ${reasons.join('; ')}. Use \`reference\`.`,
  );
}

/** @throws BertletError `input` if `threads` is not an integer from 1 to 256 */
export function checkThreads(threads: number): void {
  if (Number.isSafeInteger(threads) && threads >= 1 && threads <= 256) return;
  throw inputError('threads', 'an integer from 1 to 256', shown(threads));
}

/** Number of cores that this process may use. In a page without shared memory 1, since workers need it. */
async function cores(): Promise<number> {
  if (!inNode) return typeof SharedArrayBuffer === 'undefined' ? 1 : Math.min(navigator.hardwareConcurrency, 256);
  const { availableParallelism } = await import('node:os');
  return Math.min(availableParallelism(), 256);
}

const newMemory = (shared: boolean, maximum = MOST_PAGES) => new WebAssembly.Memory({ initial: 2, maximum, shared });
/** A memory for the self-test and the timing below: at most 64 MB. */
const testMemory = (shared: boolean) => newMemory(shared, 1024);

/** Runs the device's kernels on every example. Returns the name of the first example outside its bound, or null. */
const selfTest = (module: WebAssembly.Module, choice: KernelChoice, shared: boolean, examples: Example[]) =>
  firstWrong(new CpuDevice(module, testMemory(shared), choice, 1), examples);

/** Times the choices on an int8 linear small enough to stay in the cache. */
function fastestOf(module: WebAssembly.Module, choices: KernelChoice[], shared: boolean): Promise<KernelChoice> {
  const inputs = smallLinear();
  const candidates = choices.map((choice) => {
    const runtime = new Runtime(new CpuDevice(module, testMemory(shared), choice, 1));
    const layer = runtime.linearLayer(inputs.weight, inputs.bias);
    return { choice, y: runtime.linear(runtime.tensor(inputs.x), layer) };
  });
  return fastest(candidates, 150, 20); // warm up: V8 replaces its first, slow code in the background
}

/** Starts the workers, which share the module and the memory, and waits until every worker is ready. */
async function startThreads(module: WebAssembly.Module, choice: KernelChoice, threads: number) {
  const memory = newMemory(threads > 1);
  const workers: { terminate(): unknown }[] = [];
  const endWorkers = () => Promise.all(workers.map((worker) => worker.terminate()));
  const device = new CpuDevice(module, memory, choice, threads, endWorkers);
  const failed = (error: unknown) => device.fail(`a worker that ended (${error})`);
  const start = inNode ? await nodeWorkers() : pageWorker;
  const ready = Array.from({ length: threads - 1 }, (_, i) => {
    const data: WorkerData = { module, memory, thread: i + 1, threads };
    return new Promise<void>((resolve, reject) => {
      const end = (error: unknown) => {
        failed(error);
        reject(new BertletError('device', `cpu: expected ${threads} threads, got a worker that ended (${error}).`));
      };
      workers.push(start(data, resolve, end));
    });
  });
  await Promise.all(ready);
  return { device, endWorkers };
}

/** Starts a worker. Calls `ready` when the worker is ready, and `end` when the worker has ended or failed. */
type Start = (data: WorkerData, ready: () => void, end: (error: unknown) => void) => { terminate(): unknown };

async function nodeWorkers(): Promise<Start> {
  const { Worker } = await import('node:worker_threads');
  const file = import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js';
  const url = new URL(file, import.meta.url);
  return (data, ready, end) => {
    const worker = new Worker(url, { workerData: data, execArgv: [] }); // a worker may refuse this process's flags
    worker.once('message', () => {
      worker.unref(); // a model without dispose() does not keep the process alive
      ready();
    });
    worker.once('error', end);
    worker.once('exit', (code) => end(`exit code ${code}`));
    return worker;
  };
}

const pageWorker: Start = (data, ready, end) => {
  const worker = new Worker(new URL('./pageWorker.js', import.meta.url), { type: 'module' });
  worker.onmessage = ready;
  worker.onerror = (event) => end(event.message);
  worker.postMessage(data);
  return worker;
};
