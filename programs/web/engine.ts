/** The page's side of the worker: calls as promises. */
import type { ErrorCode } from '../../src/index.ts';
import type { Said } from './protocol.ts';
import type { Calls } from './worker.ts';

export class EngineError extends Error {
  readonly code: ErrorCode | 'unknown' | 'cancelled';
  constructor(code: EngineError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/** Options of a call: `tell` hears of progress; `signal` ends the call, and keeps the worker and its model. */
type Talk<N extends keyof Calls> = Calls[N] extends (input: never, talk: infer T) => unknown ? Partial<T> : never;

/** The worker, and a promise that is rejected where it ends. The call after that starts a new one. */
let running: { worker: Worker; ended: Promise<never> } | null = null;

function start(): NonNullable<typeof running> {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'engine' });
  const { promise: ended, reject } = Promise.withResolvers<never>();
  ended.catch(() => {}); // nobody may be waiting
  worker.onerror = (event) => {
    event.preventDefault();
    worker.terminate();
    running = null;
    reject(new EngineError('unknown', `the worker ended (${event.message || 'it could not be loaded'})`));
  };
  return { worker, ended };
}

/** @throws EngineError what the engine says is wrong, or `cancelled` */
export function call<N extends keyof Calls>(
  name: N,
  input: Parameters<Calls[N]>[0],
  { tell, signal }: { tell?: (progress: never) => void; signal?: AbortSignal } & Talk<N> = {} as Talk<N>,
): Promise<Awaited<ReturnType<Calls[N]>>> {
  running ??= start();
  const { port1: port, port2: theirs } = new MessageChannel();
  const { promise: answer, resolve, reject } = Promise.withResolvers<Awaited<ReturnType<Calls[N]>>>();
  port.onmessage = ({ data }: MessageEvent<Said>) => {
    if ('progress' in data) tell?.(data.progress as never);
    else if ('result' in data) resolve(data.result as Awaited<ReturnType<Calls[N]>>);
    else reject(new EngineError(data.code, data.message));
  };
  signal?.addEventListener('abort', () => port.postMessage('cancel'));
  running.worker.postMessage({ name, input }, [theirs]);
  return Promise.race([answer, running.ended]).finally(() => port.close());
}
