/** Where a checkpoint's files come from: in Node the disk, in a page a URL. */

import { BertletError } from '../errors.ts';
import { inNode } from '../platform.ts';

export type OnProgress = (progress: { file: string; loaded: number; total: number }) => void;

export interface WholeFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}
/** Bytes of a file by their place in it, good until the next are read. */
export interface OpenFile {
  readonly total: number;
  readonly read: (begin: number, end: number) => Uint8Array;
  readonly close: () => void;
}

const unreadable = (path: string, cause: unknown) => {
  const message = `${path}: expected a readable file (${(cause as Error).message}).`;
  return new BertletError('file', `${message} A checkpoint is a folder as Hugging Face saves it.`, { cause });
};

/** @throws BertletError `file` where it cannot be read, as the others here. */
export async function readFile(path: string): Promise<WholeFile> {
  if (!inNode) return { name: path, bytes: await fetched(path) };
  const { readFile } = await import('node:fs/promises');
  try {
    return { name: path, bytes: await readFile(path) };
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

/** Opens a file whose parts are read one by one: from disk, so that it is never in memory whole, or fetched first. */
export async function openFile(path: string, onProgress?: OnProgress): Promise<OpenFile> {
  const file = path.slice(path.lastIndexOf('/') + 1);
  if (!inNode) {
    const bytes = await fetched(path, (loaded, total) => onProgress?.({ file, loaded, total }));
    return { total: bytes.length, read: (begin, end) => bytes.subarray(begin, end), close: () => {} };
  }
  const { closeSync, fstatSync, openSync, readSync } = await import('node:fs');
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (cause) {
    throw unreadable(path, cause);
  }
  const total = fstatSync(descriptor).size;
  let last: ArrayBuffer | undefined;
  let loaded = 0;
  const read = (begin: number, end: number) => {
    last?.transfer(0); // frees it now: garbage collection would let a whole file's worth pile up
    const bytes = new Uint8Array(end - begin);
    last = bytes.buffer;
    const got = readSync(descriptor, bytes, 0, bytes.length, begin);
    if (got !== bytes.length) throw unreadable(path, new Error(`${bytes.length} bytes at ${begin}, got ${got}`));
    loaded += got;
    onProgress?.({ file, loaded, total });
    return bytes;
  };
  return { total, read, close: () => closeSync(descriptor) };
}

/** Name of the page's Cache Storage. */
export const CACHE = 'bertlet';

async function fetched(url: string, onProgress?: (loaded: number, total: number) => void): Promise<Uint8Array> {
  try {
    // A commit's files never change: those of the Hub are fetched once.
    const kept = /\/resolve\/[0-9a-f]{40}\//.test(url) ? await globalThis.caches?.open(CACHE) : undefined;
    const response = (await kept?.match(url)) ?? (await fetch(url));
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    // What hosts of pages with a router answer for a file that is not there.
    if (response.headers.get('content-type')?.startsWith('text/html')) throw new Error('an HTML page');
    const total = Number(response.headers.get('content-length') ?? 0);
    let loaded = 0;
    const count = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, controller) {
        loaded += chunk.length;
        onProgress?.(loaded, Math.max(loaded, total)); // the length is that of the compressed bytes, where they are
        controller.enqueue(chunk);
      },
    });
    const bytes = new Uint8Array(await new Response(response.body!.pipeThrough(count)).arrayBuffer());
    await kept?.put(url, new Response(bytes)); // whole, or not at all
    return bytes;
  } catch (cause) {
    throw unreadable(url, cause);
  }
}
