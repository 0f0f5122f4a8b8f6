/** Starts the CPU device: finds its kernels, once in a process, and starts its threads. */
import { fault, messageOf } from '../../errors.ts';
import { inNode } from '../../platform.ts';
import { CpuDevice } from './device.ts';
import { findKernels, floatName, int8Name, type Kernels, newMemory, packageModules } from './kernels.ts';
import { withV8Flags } from './v8Flags.ts';
import { Workers } from './workers.ts';

export interface CpuOptions {
  threads?: number | undefined;
  wideSimd?: boolean | undefined;
}

/** One entry for each kind of module. Every later start in this process takes what the first has found. */
const found = new Map<string, Promise<Kernels>>();

function kernelsFor(shared: boolean, wideSimd: boolean): Promise<Kernels> {
  const key = `${shared} ${wideSimd}`;
  const before = found.get(key);
  if (before) return before;
  const finding = withV8Flags(wideSimd, (compilation) => findKernels(shared, compilation, packageModules(shared)));
  found.set(key, finding);
  finding.catch(() => found.delete(key)); // the next start tries again
  return finding;
}

/**
 * Starts the device. Returns it with what `info` says of it.
 * @param int8 whether `kernels` names those of int8
 * @throws BertletError `device` if no kernels pass their self-test, or if threads that were asked for cannot start
 */
export async function startCpu(options: CpuOptions = {}, int8 = true) {
  const { threads: asked, wideSimd = true } = options;
  if (typeof WebAssembly === 'undefined') {
    throw fault('device', 'cpu', 'an engine with WebAssembly', 'one without', 'Use `reference`.');
  }
  const shared = typeof SharedArrayBuffer !== 'undefined';
  if (asked !== undefined && asked > 1 && !shared) {
    const isolate = 'Serve the page with the headers COOP: same-origin and COEP: require-corp, or';
    const advice = `${inNode || globalThis.crossOriginIsolated ? 'Ask for' : `${isolate} ask for`} 1 thread.`;
    throw fault('device', 'cpu', `shared memory for ${asked} threads`, 'none', advice);
  }
  const { module, choice, simd, measured, reasons } = await kernelsFor(shared, wideSimd);
  const memory = newMemory(shared);
  const { threads, workers, reason } = await startThreads(module, memory, shared, asked);
  const device = new CpuDevice(module, memory, choice, threads, workers);
  const kernels = [...(int8 ? [int8Name(choice)] : []), floatName(choice), simd].join(', ');
  const all = reason ? [...reasons, reason] : reasons;
  return { device, kernels, measured, ...(all.length > 0 && { reason: all.join('; ') }) };
}

/** The number of cores that this process may use. */
function cores(): number {
  const os = inNode ? process.getBuiltinModule('node:os') : null;
  const count = os ? os.availableParallelism() : globalThis.navigator?.hardwareConcurrency;
  return Math.min(count || 1, 256); // some engines do not tell
}

/**
 * Starts the threads. Without shared memory, and where no worker may start, the caller's thread computes alone; `reason`
 * then says so.
 * @throws BertletError `device` if no worker starts, and more than one thread was asked for
 */
async function startThreads(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  shared: boolean,
  asked: number | undefined,
): Promise<{ threads: number; workers: Workers | null; reason?: string }> {
  if (!shared) return { threads: 1, workers: null };
  const threads = asked ?? cores();
  try {
    return { threads, workers: await Workers.start(module, memory, threads) };
  } catch (cause) {
    const got = `no worker that starts (${messageOf(cause)})`;
    if (asked === undefined || asked === 1) {
      return { threads: 1, workers: null, reason: `the caller's thread computes: cpu got ${got}` };
    }
    const where = inNode ? 'with `--permission` it needs `--allow-worker`' : 'a policy needs `worker-src blob:`';
    const advice = `Let workers start (${where}), or leave \`threads\` out: the caller's thread then computes.`;
    throw fault('device', 'cpu', `${asked} threads`, got, advice, cause);
  }
}
