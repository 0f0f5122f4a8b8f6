/** HTTP over a bad network: a request that fails in passing is sent again, and a download goes on where it broke off. */
import { messageOf } from '../errors.ts';
import { unlessAborted } from '../options.ts';
import { inNode } from '../platform.ts';

const TRIES = 5; // without a byte between them
const MAX_WAIT = 60; // seconds; a server that asks for more (Retry-After) is not waited for

/** An answer that is an error. */
export class HttpError extends Error {
  readonly response: Response;
  /** Seconds that the server asks to wait before the next try; NaN if it does not ask. */
  readonly wait: number;
  constructor(response: Response) {
    const after = response.headers.get('retry-after') ?? 'NaN';
    const wait = /^\d+$/.test(after) ? Number(after) : (Date.parse(after) - Date.now()) / 1000;
    super(`HTTP status ${response.status}${wait > 0 ? `, to be asked again in ${Math.ceil(wait)} s` : ''}`);
    this.response = response;
    this.wait = wait;
  }
}

/** Whether a server refuses a request, now and a moment later. */
export const isRefusal = (error: unknown): error is HttpError =>
  error instanceof HttpError && error.response.status < 500 && ![408, 429].includes(error.response.status);

/** Whether a request may succeed a moment later. No network, an unknown host and a wrong address stay what they are. */
function isPassing(error: unknown): boolean {
  if (error instanceof HttpError) return !isRefusal(error);
  if (!inNode) return error instanceof TypeError && navigator.onLine; // a page is told nothing else
  const { cause } = error as { cause?: { code?: string } };
  return /^(UND_ERR_\w+|ECONNRESET|EPIPE|ETIMEDOUT)$/.test(cause?.code ?? '');
}

/** Says what failed: `fetch` says only that it failed, and has the reason as its cause. */
export function reasonOf(error: unknown): string {
  const { cause } = Object(error) as { cause?: { message?: string; code?: string } };
  const inner = cause?.message || cause?.code;
  return inner ? `${messageOf(error)}: ${inner}` : messageOf(error);
}

/** Sends a request: the global `fetch`, or one that adds what a private store asks for. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface RequestOptions extends Omit<RequestInit, 'signal'> {
  fetch?: Fetch | undefined;
  signal?: AbortSignal | undefined;
  /** Seconds without a byte after which a connection is given up. Default 10. */
  seconds?: number | undefined;
  /** Most bytes of the body. */
  most?: number;
}
/** Takes a part of a file as it came. `loaded`: bytes so far. `total`: bytes of the file, as far as the server says. */
type Take = (chunk: Uint8Array<ArrayBuffer>, loaded: number, total: number) => void;

/**
 * Sends a request, and hands on the body of its answer in parts.
 * @throws HttpError, or what `fetch` or `take` throws, after the last try; the reason of the request's signal
 */
export async function send(url: string, options: RequestOptions, take: Take = () => {}): Promise<Response> {
  const { fetch = globalThis.fetch, seconds = 10, most = Infinity, signal, ...init } = options;
  let at = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const after = (seconds: number, run: () => void) => {
    clearTimeout(timer);
    timer = setTimeout(run, seconds * 1000);
  };
  for (let tries = 1; ; tries++) {
    const stop = new AbortController();
    const expectByte = () => after(seconds, () => stop.abort(new Error(`no byte for ${seconds} s`)));
    try {
      expectByte();
      // Sizes and ranges are those of the file, and not of a compressed form of it. A page decides that by itself.
      const plain = inNode && { 'accept-encoding': 'identity' };
      const headers = { ...plain, ...init.headers, ...(at > 0 && { range: `bytes=${at}-` }) };
      const signals = [stop.signal, ...(signal ? [signal] : [])];
      const response = await fetch(url, { ...init, headers, signal: AbortSignal.any(signals) });
      if (response.status >= 400) throw new HttpError(response);
      const range = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? ''); // a page is not always told it
      let from = response.status === 206 ? Number(range?.[1] ?? at) : 0; // a server without ranges begins anew
      if (from > at) throw new Error(`expected the bytes from ${at} on, got those from ${from} on`);
      const total = from + Number(response.headers.get('content-length') ?? 0);
      const reader = response.body?.getReader();
      for (let part = await reader?.read(); part?.value; part = await reader?.read()) {
        expectByte();
        const chunk = part.value.subarray(Math.min(at - from, part.value.length)); // without what is known
        from += part.value.length;
        if (chunk.length === 0) continue;
        at = from;
        tries = 0;
        if (at > most) throw new Error(`more than ${most} bytes`);
        take(chunk, at, Math.max(total, at));
      }
      return response;
    } catch (error) {
      signal?.throwIfAborted();
      const wait = (error as Partial<HttpError>).wait || 2 ** tries / 8;
      const mayPass = stop.signal.aborted || isPassing(error);
      stop.abort(); // what is left of the answer
      if (!mayPass || tries >= TRIES || wait > MAX_WAIT) throw error;
      await unlessAborted(new Promise<void>((resolve) => after(wait, resolve)), signal);
    } finally {
      clearTimeout(timer); // left behind, it would keep the process
    }
  }
}
