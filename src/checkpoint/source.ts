/** Reads the files of a checkpoint: from disk in Node, from a URL in a page. */

import { BertletError } from '../errors.ts';
import { inNode } from '../platform.ts';

/** Called while a file is downloaded or read. `loaded` and `total` are bytes. */
export type OnProgress = (progress: { file: string; loaded: number; total: number }) => void;

/** A file in memory. */
export interface WholeFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}
/** A file that is read in parts. `read(begin, end)` returns bytes that are valid until the next `read`. */
export interface OpenFile {
  readonly total: number;
  readonly read: (begin: number, end: number) => Uint8Array;
  readonly close: () => void;
}

const unreadable = (path: string, cause: unknown) => {
  const message = `${path}: expected a readable file (${(cause as Error).message}).`;
  return new BertletError('file', `${message} A checkpoint is a folder as Hugging Face saves it.`, { cause });
};

/**
 * Reads a whole file.
 * @throws BertletError `file` if the file cannot be read
 */
export async function readFile(path: string): Promise<WholeFile> {
  if (!inNode) return { name: path, bytes: await fetched(path) };
  const { readFile } = await import('node:fs/promises');
  try {
    return { name: path, bytes: await readFile(path) };
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

/**
 * Opens a file to read it in parts. In Node the parts come from disk, so the file is never in memory as a whole. In a
 * page the whole file is fetched first.
 * @throws BertletError `file` if the file cannot be read
 */
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
    last?.transfer(0); // frees the last part now; garbage collection would let parts pile up
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

/** Name of bertlet's cache in the Cache Storage of a page. */
export const CACHE = 'bertlet';

async function fetched(url: string, onProgress?: (loaded: number, total: number) => void): Promise<Uint8Array> {
  try {
    // The files of a commit on the Hub never change, so they are fetched once and cached.
    const kept = /\/resolve\/[0-9a-f]{40}\//.test(url) ? await globalThis.caches?.open(CACHE) : undefined;
    const response = (await kept?.match(url)) ?? (await fetch(url));
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    // Hosts of single-page apps answer with an HTML page where a file is missing.
    if (response.headers.get('content-type')?.startsWith('text/html')) throw new Error('an HTML page');
    const total = Number(response.headers.get('content-length') ?? 0);
    let loaded = 0;
    const count = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, controller) {
        loaded += chunk.length;
        onProgress?.(loaded, Math.max(loaded, total)); // content-length counts compressed bytes
        controller.enqueue(chunk);
      },
    });
    const bytes = new Uint8Array(await new Response(response.body!.pipeThrough(count)).arrayBuffer());
    await kept?.put(url, new Response(bytes)); // only whole files are cached
    return bytes;
  } catch (cause) {
    throw unreadable(url, cause);
  }
}
