/** The page's side of the worker: calls as promises. */
import type { ErrorCode } from '../../src/index.ts';
import type { Calls, FromWorker, Name, ToWorker } from './protocol.ts';

export class EngineError extends Error {
  readonly code: ErrorCode | 'unknown' | 'cancelled';
  constructor(code: EngineError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

interface Pending {
  resolve: (value: unknown) => void;
  reject: (error: EngineError) => void;
  tell: ((value: never) => void) | undefined;
}

export class Engine {
  #worker: Worker | null = null;
  #pending = new Map<number, Pending>();
  #calls = 0;

  #start(): Worker {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'engine' });
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#hear(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#end('unknown', `the worker ended (${event.message || 'it could not be loaded'})`);
    };
    return worker;
  }

  #hear(message: FromWorker): void {
    const pending = this.#pending.get(message.id);
    if (message.kind === 'progress') pending?.tell?.(message.value as never);
    else this.#pending.delete(message.id);
    if (message.kind === 'result') pending?.resolve(message.value);
    if (message.kind === 'error') pending?.reject(new EngineError(message.code, message.message));
  }

  /**
   * @param options `signal` ends the call and keeps the worker and its model; `tell` hears of progress
   * @throws EngineError what the engine says is wrong, or `cancelled`
   */
  call<N extends Name>(
    name: N,
    input: Calls[N]['input'],
    { tell, signal }: { tell?: (progress: Calls[N]['progress']) => void; signal?: AbortSignal } = {},
  ): Promise<Calls[N]['output']> {
    const id = ++this.#calls;
    signal?.addEventListener('abort', () => this.#worker?.postMessage({ id, name: 'cancel' } satisfies ToWorker));
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve: resolve as Pending['resolve'], reject, tell });
      this.#worker ??= this.#start();
      this.#worker.postMessage({ id, name, input } satisfies ToWorker);
    });
  }

  /** Ends whatever is under way, at once, and with it the worker and its model: a download hears no signal. */
  end(): void {
    this.#end('cancelled', 'Cancelled.');
  }

  /** The next call starts a new worker. */
  #end(code: EngineError['code'], message: string): void {
    this.#worker?.terminate();
    this.#worker = null;
    const ended = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of ended) reject(new EngineError(code, message));
  }
}
