/** Reads the files of a checkpoint: from disk in Node, from a URL in a page. */

import { BertletError, messageOf } from '../errors.ts';
import { inNode, textOf } from '../platform.ts';
import { fetchBytes, HttpError } from './http.ts';

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

/** The error for a file that cannot be read. `others`: what was looked for as well. */
export const unreadable = (path: string, cause: unknown, others = ''): BertletError => {
  const message = `${path}: expected a readable file (${messageOf(cause)})${others}.`;
  return new BertletError('file', `${message} A checkpoint is a folder as Hugging Face saves it.`, { cause });
};

/** Whether this is the error of a file that is not there, and not of one that cannot be read. */
export const isMissing = (error: unknown): error is BertletError =>
  error instanceof BertletError &&
  ['ENOENT', 'ENOTDIR'].includes((error.cause as { code?: string } | undefined)?.code ?? '');

/** @throws BertletError `file` for what stands in place of a large file in a git repository cloned without Git LFS */
function refusePointer(path: string, begin: Uint8Array): void {
  if (!textOf(begin.subarray(0, 40)).startsWith('version https://git-lfs.github.com/spec/')) return;
  const advice = 'Run `git lfs pull` in that folder, or download the file itself.';
  throw new BertletError('file', `${path}: expected the file's content, got a Git LFS pointer to it. ${advice}`);
}

const MOST_ROOM = 2 ** 24; // bytes of a part whose memory is kept for the next: a layer's, and not the embeddings'
const MOST_WHOLE = 2 ** 28; // bytes; a tokenizer.json of 500,000 tokens has 40 MB

/**
 * Reads a whole file.
 * @throws BertletError `file` if the file cannot be read
 */
export async function readFile(path: string): Promise<WholeFile> {
  const { total, read, close } = await openFile(path);
  try {
    if (total > MOST_WHOLE) throw unreadable(path, new Error(`at most ${MOST_WHOLE} bytes, got ${total}`));
    return { name: path, bytes: read(0, total) };
  } finally {
    close();
  }
}

/**
 * Opens a file to read it in parts. In Node the parts come from disk, so the file is never in memory as a whole. In a
 * page the whole file is fetched first.
 * @throws BertletError `file` if the file cannot be read
 */
export async function openFile(path: string, onProgress?: OnProgress, signal?: AbortSignal): Promise<OpenFile> {
  const file = path.slice(path.lastIndexOf('/') + 1);
  if (!inNode) {
    const bytes = await fetched(path, (loaded, total) => onProgress?.({ file, loaded, total }), signal);
    refusePointer(path, bytes);
    return { total: bytes.length, read: (begin, end) => bytes.subarray(begin, end), close: () => {} };
  }
  const { closeSync, openSync, readSync, statSync } = process.getBuiltinModule('node:fs');
  let descriptor: number;
  let total: number;
  try {
    const about = statSync(path);
    if (!about.isFile()) throw new Error('it is no file');
    total = about.size;
    descriptor = openSync(path, 'r');
  } catch (cause) {
    throw unreadable(path, cause);
  }
  let room = new Uint8Array(0); // of the last part: new memory costs more than to read into it
  let loaded = 0;
  const read = (begin: number, end: number) => {
    if (room.length < end - begin || room.length > MOST_ROOM) {
      room.buffer.transfer(0); // frees the last part now; garbage collection would let parts pile up
      room = new Uint8Array(end - begin);
    }
    const bytes = room.subarray(0, end - begin);
    try {
      for (let at = 0; at < bytes.length; ) {
        const got = readSync(descriptor, bytes, at, bytes.length - at, begin + at);
        if (got === 0) throw new Error(`${bytes.length} bytes at ${begin}, got ${at}`);
        at += got;
      }
    } catch (cause) {
      throw unreadable(path, cause);
    }
    loaded += bytes.length;
    onProgress?.({ file, loaded, total });
    return bytes;
  };
  const close = () => closeSync(descriptor);
  try {
    refusePointer(path, total < 1000 ? read(0, total) : new Uint8Array(0));
  } catch (error) {
    close();
    throw error;
  }
  loaded = 0;
  return { total, read, close };
}

const CACHE = 'bertlet';
/**
 * What a page keeps of the Hub, in its Cache Storage. A page may be denied it, and it may be full: then nothing is kept,
 * and nothing fails.
 */
export const kept = {
  match: async (url: string): Promise<Response | undefined> => {
    try {
      return await (await globalThis.caches?.open(CACHE))?.match(url);
    } catch {
      return undefined;
    }
  },
  put: async (url: string, response: Response): Promise<void> => {
    try {
      await (await globalThis.caches?.open(CACHE))?.put(url, response);
    } catch {}
  },
};

async function fetched(
  url: string,
  onProgress?: (loaded: number, total: number) => void,
  signal: AbortSignal | null = null,
): Promise<Uint8Array> {
  // The files of a commit on the Hub never change, and none is added, so they are asked for once.
  const forever = /\/resolve\/[0-9a-f]{40}\//.test(url);
  try {
    const old = forever ? await kept.match(url) : undefined;
    if (old && !old.ok) throw new HttpError(old);
    if (old) {
      const bytes = new Uint8Array(await old.arrayBuffer());
      onProgress?.(bytes.length, bytes.length);
      return bytes;
    }
    const bytes = await fetchBytes(url, { signal }, ({ total, html }, loaded) => {
      // Hosts of single-page apps answer with an HTML page where a file is missing.
      if (html) throw Object.assign(new Error('an HTML page'), { code: 'ENOENT' });
      onProgress?.(loaded, total);
    });
    if (forever) await kept.put(url, new Response(bytes)); // only whole files are kept
    return bytes;
  } catch (cause) {
    const absent = forever && cause instanceof HttpError && cause.status === 404;
    if (absent) await kept.put(url, new Response(null, { status: 404 }));
    throw unreadable(url, cause);
  }
}
