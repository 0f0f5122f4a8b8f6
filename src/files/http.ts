/** HTTP over a bad network: what fails in passing is tried again, and a download goes on where it broke off. */

import { unlessAborted } from '../options.ts';
import { inNode, variables } from '../platform.ts';

const TRIES = 5; // with no byte between them
const LONGEST_WAIT = 60; // seconds; who asks for more (Retry-After) is not waited for

/** An answer that is not the file. */
export class HttpError extends Error {
  readonly status: number;
  /** Seconds that the server asks to wait before the next try; NaN if it does not ask. */
  readonly wait: number;
  /** As a file system says that a file is not there: a static host answers 403 or 404. */
  readonly code: 'ENOENT' | undefined;
  constructor({ status, headers }: Response) {
    const after = headers.get('retry-after') ?? 'NaN';
    const wait = /^\d+$/.test(after) ? Number(after) : (Date.parse(after) - Date.now()) / 1000;
    super(`HTTP status ${status}${wait > 0 ? `, to be asked again in ${Math.ceil(wait)} s` : ''}`);
    this.status = status;
    this.wait = wait;
    this.code = [403, 404, 410].includes(status) ? 'ENOENT' : undefined;
  }
}
class Silence extends Error {}

/** Whether the same request may succeed a moment later. No network, an unknown host and a wrong address stay what they are. */
export function isPassing(error: unknown): boolean {
  if (error instanceof HttpError) return error.status >= 500 || [408, 429].includes(error.status);
  if (error instanceof Silence) return true;
  const code = (error as { cause?: { code?: string } }).cause?.code;
  if (inNode) return /^(UND_ERR_\w+|ECONNRESET|EPIPE|ETIMEDOUT)$/.test(code ?? '');
  return error instanceof TypeError && navigator.onLine; // a page is told nothing else
}

/** A part of a file, as it came. `total`: the bytes of the file, as far as the server says; `html`: a page, maybe of a proxy. */
export interface Piece {
  readonly chunk: Uint8Array<ArrayBuffer>;
  readonly total: number;
  readonly html: boolean;
}

/**
 * Fetches a file from byte `from` on, in pieces.
 * @throws HttpError, or what `fetch` throws, after the last try; the reason of the request's signal when it aborts
 */
export async function* pieces(url: string, init: RequestInit = {}, from = 0): AsyncGenerator<Piece> {
  const seconds = Number(variables.HF_HUB_DOWNLOAD_TIMEOUT || 10);
  const asked = init.signal ? [init.signal] : [];
  let at = from;
  for (let tries = 1; ; tries++) {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => stop.abort(new Silence(`no byte for ${seconds} s`)), seconds * 1000);
    };
    try {
      alive();
      // Sizes and ranges are those of the file, and not of a compressed form of it. A page decides that by itself.
      const plain = inNode && { 'accept-encoding': 'identity' };
      const headers = { ...plain, ...init.headers, ...(at > 0 && { range: `bytes=${at}-` }) };
      const response = await fetch(url, { ...init, headers, signal: AbortSignal.any([stop.signal, ...asked]) });
      if (!response.ok) throw new HttpError(response);
      const range = /^bytes (\d+)-/.exec(response.headers.get('content-range') ?? ''); // a page is not always told it
      const begin = response.status === 206 ? Number(range?.[1] ?? at) : 0;
      if (begin > at) throw new Error(`expected the bytes from ${at} on, got those from ${begin} on`);
      const total = begin + Number(response.headers.get('content-length') ?? 0);
      const html = response.headers.get('content-type')?.startsWith('text/html') ?? false;
      let known = at - begin; // a server without ranges begins anew
      const reader = response.body!.getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        alive();
        const chunk = value.subarray(Math.min(known, value.length));
        known -= value.length - chunk.length;
        if (chunk.length === 0) continue;
        at += chunk.length;
        tries = 0;
        yield { chunk, total: Math.max(total, at), html };
      }
    } catch (error) {
      init.signal?.throwIfAborted();
      const wait = ((error as Partial<HttpError>).wait || 2 ** tries / 8) * 1000;
      if (tries >= TRIES || !isPassing(error) || wait > LONGEST_WAIT * 1000) throw error;
      await pause(wait, init.signal);
    } finally {
      clearTimeout(timer);
      stop.abort();
    }
  }
}

/** Waits so many milliseconds, or rejects when the signal aborts: a timer left behind would keep the process. */
async function pause(wait: number, signal?: AbortSignal | null): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, wait);
  });
  await unlessAborted(over, signal ?? undefined).finally(() => clearTimeout(timer));
}

/** Fetches a whole file. */
export async function fetchBytes(url: string, init?: RequestInit, onPiece?: (piece: Piece, loaded: number) => void) {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let loaded = 0;
  for await (const piece of pieces(url, init)) {
    chunks.push(piece.chunk);
    loaded += piece.chunk.length;
    onPiece?.(piece, loaded);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}
