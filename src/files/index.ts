/** Files of a checkpoint, wherever they are: in a folder, at an address, in memory. The Hub's are in hub.ts. */

import { BertletError, fault, inputError, messageOf } from '../errors.ts';
import { preview } from '../options.ts';
import { inNode, textOf } from '../platform.ts';
import { fetchBytes, HttpError } from './http.ts';

/** Called while a file is downloaded or read. `loaded` and `total` are bytes. */
export type OnProgress = (progress: { file: string; loaded: number; total: number }) => void;

/** A file that is read in parts. */
export interface OpenFile {
  /** Path or URL, for messages. */
  readonly name: string;
  readonly size: number;
  /**
   * Fills `target`, which is the caller's, with the bytes from `begin` on.
   * @throws BertletError `file` if they cannot be read, or the file ends before
   */
  read(begin: number, target: Uint8Array): void;
  close(): void;
}
export interface OpenOptions {
  signal?: AbortSignal | undefined;
  onProgress?: OnProgress | undefined;
}
/** Where a checkpoint's files come from. */
export interface Files {
  /** For messages. */
  readonly name: string;
  /**
   * Opens a file; null: there is no such file.
   * @throws BertletError `file` if it is there and cannot be read; the reason of `signal` if it aborts
   */
  open(file: string, options?: OpenOptions): Promise<OpenFile | null>;
}
/** A file in memory. */
export interface WholeFile {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

const unreadable = (name: string, cause: unknown): BertletError =>
  fault('file', name, 'a readable file', messageOf(cause), '', cause);

const MAX_WHOLE = 2 ** 28; // bytes; a tokenizer.json of 500,000 tokens has 40 MB

/**
 * Reads a whole file; null: there is no such file.
 * @throws BertletError `file` if it cannot be read
 */
export async function readWhole(files: Files, file: string, options?: OpenOptions): Promise<WholeFile | null> {
  const opened = await files.open(file, options);
  if (!opened) return null;
  const { name, size } = opened;
  try {
    if (size > MAX_WHOLE) throw fault('file', name, `at most ${MAX_WHOLE} bytes`, size);
    return { name, bytes: readPart(opened, 0, size) };
  } finally {
    opened.close();
  }
}

/** Reads `length` bytes of a file from `begin` on. */
export function readPart(file: OpenFile, begin: number, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  file.read(begin, bytes);
  return bytes;
}

/** @throws BertletError `file` for what stands in place of a large file in a git repository cloned without Git LFS */
function refusePointer(file: OpenFile): OpenFile {
  const begin = new Uint8Array(file.size < 1000 ? Math.min(file.size, 40) : 0);
  file.read(0, begin);
  if (!textOf(begin).startsWith('version https://git-lfs.github.com/spec/')) return file;
  const advice = 'Run `git lfs pull` in that folder, or download the file itself.';
  throw fault('file', file.name, "the file's content", 'a Git LFS pointer to it', advice);
}

/** A folder of the disk, in Node. Its files are read in parts, so none is in memory as a whole. */
export const folder = (path: string): Files => ({
  name: path,
  open: async (file, { onProgress } = {}) => {
    const { closeSync, fstatSync, openSync, readSync } = process.getBuiltinModule('node:fs');
    const name = `${path}/${file}`;
    let descriptor: number;
    try {
      descriptor = openSync(name, 'r');
    } catch (cause) {
      if (['ENOENT', 'ENOTDIR'].includes((cause as { code?: string }).code!)) return null;
      throw unreadable(name, cause);
    }
    const about = fstatSync(descriptor);
    const { size } = about;
    let loaded = 0;
    const read = (begin: number, target: Uint8Array) => {
      try {
        for (let at = 0; at < target.length; ) {
          const got = readSync(descriptor, target, at, target.length - at, begin + at);
          if (got === 0) throw new Error(`${at} of ${target.length} bytes at ${begin}`);
          at += got;
        }
      } catch (cause) {
        throw unreadable(name, cause);
      }
      loaded += target.length;
      onProgress?.({ file, loaded, total: size });
    };
    const close = () => closeSync(descriptor);
    try {
      if (!about.isFile()) throw unreadable(name, 'no file');
      return refusePointer({ name, size, read, close });
    } catch (error) {
      close();
      throw error;
    }
  },
});

/** A file that is in memory as a whole. */
const inMemory = (name: string, bytes: Uint8Array): OpenFile =>
  refusePointer({
    name,
    size: bytes.length,
    read: (begin, target) => {
      const part = bytes.subarray(begin, begin + target.length);
      if (part.length < target.length) throw unreadable(name, `${part.length} of ${target.length} bytes at ${begin}`);
      target.set(part);
    },
    close: () => {},
  });

/** Files of an own kind: `File`s by their names, or bytes by name. */
export function blobs(files: readonly File[] | Record<string, Blob | Uint8Array>): Files {
  const named = Array.isArray(files) ? files.map((file: File) => [file.name, file] as const) : Object.entries(files);
  const byName = new Map<string, Blob | Uint8Array>(named);
  return {
    name: 'the given files',
    open: async (name, { onProgress } = {}) => {
      const file = byName.get(name);
      if (!file) return null;
      const bytes = ArrayBuffer.isView(file) ? file : new Uint8Array(await file.arrayBuffer());
      onProgress?.({ file: name, loaded: bytes.length, total: bytes.length });
      return inMemory(name, bytes);
    },
  };
}

/** A folder at an address. A file is fetched as a whole when it is opened. */
export const site = (address: string | URL): Files => {
  const name = String(address).replace(/\/+$/, '');
  return {
    name,
    open: async (file, { onProgress, signal } = {}) => {
      const url = `${name}/${file}`;
      const bytes = await fetched(url, (loaded, total) => onProgress?.({ file, loaded, total }), signal);
      return bytes && inMemory(url, bytes);
    },
  };
};

/**
 * The files that are meant: those given, or those of a folder or an address.
 * @throws BertletError `input` if `model` is none of them
 */
export function filesAt(model: string | URL | Files): Files {
  if (typeof (model as Files | null)?.open === 'function') return model as Files;
  const isUrl = typeof (model as URL | null)?.href === 'string';
  if (!isUrl && (typeof model !== 'string' || model === '')) {
    throw inputError('model', 'a folder, an address, owner/name, or Files', preview(model));
  }
  const place = String(model as string | URL);
  if (!inNode) return site(place);
  return folder(isUrl ? process.getBuiltinModule('node:url').fileURLToPath(place) : place);
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

class Html extends Error {}

async function fetched(
  url: string,
  onProgress?: (loaded: number, total: number) => void,
  signal: AbortSignal | null = null,
): Promise<Uint8Array | null> {
  // The files of a commit on the Hub never change, and none is added, so they are asked for once.
  const forever = /\/resolve\/[0-9a-f]{40}\//.test(url);
  try {
    const old = forever ? await kept.match(url) : undefined;
    if (old && !old.ok) return null;
    if (old) {
      const bytes = new Uint8Array(await old.arrayBuffer());
      onProgress?.(bytes.length, bytes.length);
      return bytes;
    }
    const bytes = await fetchBytes(url, { signal }, ({ total, html }, loaded) => {
      // Hosts of single-page apps answer with an HTML page where a file is missing.
      if (html) throw new Html();
      onProgress?.(loaded, total);
    });
    if (forever) await kept.put(url, new Response(bytes)); // only whole files are kept
    return bytes;
  } catch (cause) {
    signal?.throwIfAborted();
    const absent = cause instanceof Html || (cause instanceof HttpError && [403, 404, 410].includes(cause.status));
    if (!absent) throw cause instanceof BertletError ? cause : unreadable(url, cause);
    const forGood = forever && cause instanceof HttpError && cause.status === 404;
    if (forGood) await kept.put(url, new Response(null, { status: 404 }));
    return null;
  }
}
