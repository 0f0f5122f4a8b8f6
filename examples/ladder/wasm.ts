/** The host of the steps in WebAssembly: compiles AssemblyScript, lays out a memory, calls. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { main as asc } from 'assemblyscript/asc';

/** The product that all steps compute: y [tokens][out] = (x [tokens][features] - zeroPoint) w [out][features]^T */
export interface Problem {
  readonly x: Uint8Array;
  readonly w: Int8Array;
  readonly tokens: number;
  readonly features: number;
  readonly out: number;
  readonly zeroPoint: number;
}
type Multiply = (x: number, w: number, y: number, tokens: number, features: number, out: number, zero: number) => void;
interface Step {
  readonly multiply: Multiply;
  readonly pack: (from: number, to: number, features: number, out: number) => void;
  /** Step 7's signal before a product. */
  readonly open?: (w: number) => void;
}

/** Addresses of a problem. Below are the module's constants and, at WORDS, what the threads tell each other. */
const WORDS = 32768;
function layout({ x, w, tokens, out }: Problem) {
  const room = (bytes: number) => (bytes + 63) & ~63; // whole cache lines
  const [xAt, wAt] = [65536, 65536 + room(x.length)];
  const packed = wAt + room(w.length);
  const y = packed + room(2 * w.length + 4 * out + 64); // no step's weight is longer
  return { x: xAt, w: wAt, packed, y, end: y + 4 * tokens * out };
}

/**
 * Compiles a file of this folder.
 * @param edit changes a file's text first: for the test that breaks a step and sees it found
 */
export async function compile(file: string, edit = (text: string, _file: string) => text) {
  let bytes = new Uint8Array();
  const features = ['simd', 'relaxed-simd', 'threads'].flatMap((name) => ['--enable', name]);
  const memory = ['--importMemory', '--sharedMemory', '--initialMemory', '2', '--maximumMemory', '1024'];
  const { error, stderr } = await asc(
    [file, '--outFile', 'out.wasm', '-O3', '--noAssert', '--runtime', 'stub', ...features, ...memory],
    {
      readFile(name: string) {
        try {
          return edit(readFileSync(join(import.meta.dirname, name), 'utf8'), name);
        } catch {
          return null;
        }
      },
      writeFile(_: string, contents: string | Uint8Array) {
        bytes = new Uint8Array(contents as Uint8Array);
      },
    },
  );
  if (error) throw new Error(`${file}: ${error.message}\n${stderr}`);
  return new WebAssembly.Module(bytes);
}

/** Memory and module that a thread needs. */
export interface Shared {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly problem: Omit<Problem, 'x' | 'w'>;
  readonly at: { readonly [name in 'x' | 'w' | 'packed' | 'y']: number };
  /** How many threads there are, the caller's included. */
  readonly threads: number;
}

/** The step in this thread. */
export function instantiate({ module, memory, problem, at }: Shared) {
  const instance = new WebAssembly.Instance(module, { env: { memory, abort() {} } });
  const { multiply, pack, open } = instance.exports as unknown as Step;
  const { tokens, features, out, zeroPoint } = problem;
  return {
    pack: () => pack(at.w, at.packed, features, out),
    open: () => open?.(at.packed),
    multiply: () => multiply(at.x, at.packed, at.y, tokens, features, out, zeroPoint),
  };
}

/** Two words in the memory, a cache line each: the number of the product, and how many threads are done with it. */
export const wordsOf = ({ memory }: Shared) => new Int32Array(memory.buffer, WORDS, 32);
export const [PRODUCT, DONE] = [0, 16];
/** Instead of the number of a product: the thread ends. */
export const END = -1;

/**
 * Lays a problem into a memory of its own, packs the weight, and starts threads.
 * @param threads the caller's included; more than one for step 7 alone
 */
export async function prepare(module: WebAssembly.Module, { x, w, ...problem }: Problem, threads = 1) {
  const at = layout({ x, w, ...problem });
  const memory = new WebAssembly.Memory({ initial: Math.ceil(at.end / 65536), maximum: 1024, shared: true });
  const shared: Shared = { module, memory, problem, at, threads };
  const { pack, open, multiply } = instantiate(shared);
  new Uint8Array(memory.buffer).set(x, at.x);
  new Int8Array(memory.buffer).set(w, at.w);
  pack();
  const words = wordsOf(shared);
  const workers = Array.from({ length: threads - 1 }, () => {
    return new Worker(new URL('worker.ts', import.meta.url), { workerData: shared });
  });
  await Promise.all(workers.map((worker) => once(worker, 'message'))); // ready
  return {
    run() {
      open();
      Atomics.store(words, DONE, 0);
      Atomics.add(words, PRODUCT, 1);
      Atomics.notify(words, PRODUCT);
      multiply();
      for (let done = 0; done < threads - 1; done = Atomics.load(words, DONE)) Atomics.wait(words, DONE, done);
    },
    result: () => new Int32Array(memory.buffer, at.y, problem.tokens * problem.out).slice(),
    async close() {
      Atomics.store(words, PRODUCT, END);
      Atomics.notify(words, PRODUCT);
      await Promise.all(workers.map((worker) => once(worker, 'exit')));
    },
  };
}
