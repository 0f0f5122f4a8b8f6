/** Starts the worker threads of the CPU device, in Node and in a page, and tells when they have run a program. */
import { WORKER } from '../../../wasm/assets.js';
import { type BertletError, fault, messageOf } from '../../errors.ts';
import { inNode } from '../../platform.ts';
import type { WorkerData } from './threads.ts';

/** Running workers that share a memory. */
export class Workers {
  readonly #all: WorkerHandle[] = [];
  #failed: BertletError | null = null;
  /** Settles the promise of `start` or `run`. */
  #settle: { resolve: () => void; reject: (error: unknown) => void } | null = null;

  /**
   * Starts the workers and waits until each is ready.
   * @throws what the system says, if a worker does not start; the others are then ended
   */
  static async start(module: WebAssembly.Module, memory: WebAssembly.Memory, threads: number): Promise<Workers> {
    const workers = new Workers();
    const start = inNode ? nodeWorker : pageWorker;
    try {
      let ready = 0;
      await new Promise<void>((resolve, reject) => {
        workers.#settle = { resolve: () => ++ready === threads && resolve(), reject };
        for (let thread = 0; thread < threads; thread++) {
          const say = () => workers.#settle?.resolve();
          const end = (error: unknown) => {
            reject(error); // while it starts
            workers.#fail(error);
          };
          workers.#all.push(start({ module, memory, thread }, say, end));
        }
      });
    } catch (error) {
      await workers.end();
      throw error;
    } finally {
      workers.#settle = null;
    }
    for (const worker of workers.#all) worker.keepAlive(false); // a model without dispose() does not keep Node alive
    return workers;
  }

  #fail(error: unknown): void {
    const got = `a worker that ended (${messageOf(error)})`;
    this.#failed ??= fault('device', 'cpu', `${this.#all.length} threads at work`, got, 'Load the model again.', error);
    this.#settle?.reject(this.#failed);
  }

  /**
   * Starts a program and waits until it has ended.
   * @param begin opens the program to the workers
   * @throws BertletError `device` if a worker has ended, now or earlier
   */
  async run(begin: () => void): Promise<void> {
    if (this.#failed) throw this.#failed;
    const [worker] = this.#all;
    worker!.keepAlive(true);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#settle = { resolve, reject };
        begin();
      });
    } finally {
      this.#settle = null;
      worker!.keepAlive(false);
    }
  }

  /** Ends all workers, at once. */
  async end(): Promise<void> {
    this.#failed ??= fault('disposed', 'cpu', 'threads at work', 'none after dispose()');
    await Promise.all(this.#all.splice(0).map((worker) => worker.terminate()));
  }
}

/** A worker of Node or of a page. */
interface WorkerHandle {
  terminate(): unknown;
  /** Whether the process waits for this worker. */
  keepAlive(keep: boolean): void;
}
/** Starts a worker. Calls `say` for each of its messages, and `end` when it has ended or failed. */
type Start = (data: WorkerData, say: () => void, end: (error: unknown) => void) => WorkerHandle;

// Both start the worker from its text: a file would have an address, which is another one after each bundler.
const nodeWorker: Start = (data, say, end) => {
  const { Worker } = process.getBuiltinModule('node:worker_threads');
  // No flags: a worker may refuse those of this process.
  const worker = new Worker(WORKER, { eval: true, workerData: data, execArgv: [] });
  worker.on('message', say);
  worker.once('error', end);
  worker.once('exit', (code) => end(`exit code ${code}`));
  return {
    terminate: () => worker.terminate(),
    keepAlive: (keep) => (keep ? worker.ref() : worker.unref()),
  };
};

let address: string | undefined;
const pageWorker: Start = (data, say, end) => {
  address ??= URL.createObjectURL(new Blob([WORKER], { type: 'text/javascript' }));
  const worker = new Worker(address);
  worker.onmessage = say;
  worker.onerror = ({ message }) => end(message ?? 'none: a Content-Security-Policy needs `worker-src blob:`');
  worker.postMessage(data);
  return { terminate: () => worker.terminate(), keepAlive: () => {} };
};
