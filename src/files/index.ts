/** Files of a checkpoint, wherever they are: in a folder, at an address, in memory. hub.ts has the Hub's. */

import { BertletError, fault, inputError } from '../errors.ts';
import { callback, type GivenOf, optionsOf, preview, rule } from '../options.ts';
import { textOf } from '../platform.ts';
import { type Fetch, HttpError, reasonOf, send } from './http.ts';

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

const MAX_SMALL = 2 ** 28; // bytes; a tokenizer.json of 500,000 tokens has 40 MB
/** Most bytes of a file. All but the weights are small: whatever a server or a disk has in their place is refused. */
export const maxSize = (file: string): number => (/\.(safetensors|bin)$/.test(file) ? Infinity : MAX_SMALL);

const unreadable = (name: string, cause: unknown): BertletError =>
  cause instanceof BertletError ? cause : fault('file', name, 'a readable file', reasonOf(cause), '', cause);

/**
 * Reads a whole file; null: there is no such file.
 * @throws BertletError `file` if it cannot be read
 */
export async function readWhole(files: Files, file: string, options?: OpenOptions): Promise<WholeFile | null> {
  const opened = await files.open(file, options);
  if (!opened) return null;
  const { name, size } = opened;
  try {
    if (size > maxSize(file)) throw fault('file', name, `at most ${maxSize(file)} bytes`, size);
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
  const begin = readPart(file, 0, file.size < 1000 ? Math.min(file.size, 40) : 0);
  if (!textOf(begin).startsWith('version https://git-lfs.github.com/spec/')) return file;
  const advice = 'Run `git lfs pull` in that folder, or download the file itself.';
  throw fault('file', file.name, "the file's content", 'a Git LFS pointer to it', advice);
}

/** The text of a path or an address. */
export function placeOf(what: string, value: unknown, expected: string): string {
  const text = (value as URL | null | undefined)?.href ?? value;
  if (typeof text === 'string' && text !== '') return text;
  throw inputError(what, expected, preview(value));
}

/** A folder of the disk, in Node. Its files are read in parts, so none is in memory as a whole. */
export const folder = (path: string): Files => ({
  name: placeOf('folder', path, 'a path'),
  open: async (file, { onProgress } = {}) => {
    const fs = process.getBuiltinModule('node:fs');
    const name = `${path}/${file}`;
    let descriptor = -1;
    try {
      descriptor = fs.openSync(name, 'r');
      const about = fs.fstatSync(descriptor);
      if (!about.isFile()) throw new Error('no file');
      const { size } = about;
      let loaded = 0;
      const read = (begin: number, target: Uint8Array) => {
        readFully(name, descriptor, begin, target);
        loaded += target.length;
        onProgress?.({ file, loaded, total: size });
      };
      return refusePointer({ name, size, read, close: () => fs.closeSync(descriptor) });
    } catch (cause) {
      if (descriptor !== -1) fs.closeSync(descriptor);
      if (['ENOENT', 'ENOTDIR'].includes((cause as { code?: string }).code!)) return null;
      throw unreadable(name, cause);
    }
  },
});

/** Node: fills `target` from a file. The system may read a part of what is asked for. */
function readFully(name: string, descriptor: number, begin: number, target: Uint8Array): void {
  const { readSync } = process.getBuiltinModule('node:fs');
  try {
    for (let at = 0; at < target.length; ) {
      const got = readSync(descriptor, target, at, target.length - at, begin + at);
      if (got === 0) throw new Error(`${at} of ${target.length} bytes at ${begin}`);
      at += got;
    }
  } catch (cause) {
    throw unreadable(name, cause);
  }
}

/** A file that is in memory as a whole. */
export const inMemory = (name: string, bytes: Uint8Array): OpenFile =>
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

/**
 * Files that a program has already: `File`s, as the visitor of a page chooses them, or bytes by name.
 * @throws BertletError `input` for anything else, and for two files of one name
 */
export function blobs(files: Iterable<File> | Record<string, Blob | Uint8Array>): Files {
  if (!isObject(files)) throw inputError('blobs', 'an array of File, or bytes by name', preview(files));
  const entries: [string, Blob | Uint8Array][] =
    Symbol.iterator in files
      ? Array.from(files as Iterable<File>, (file) => [file?.name, file])
      : Object.entries(files);
  for (const [name, file] of entries) {
    const isContent = ArrayBuffer.isView(file) || typeof file?.arrayBuffer === 'function'; // of any realm
    if (!isContent || typeof name !== 'string') {
      throw inputError(`blobs: ${name}`, 'a File, or a name with a Blob or a Uint8Array', preview(file));
    }
  }
  const byName = new Map(entries);
  if (byName.size < entries.length)
    throw inputError(
      'blobs',
      'one file of each name',
      entries.map(([name]) => name),
    );
  return {
    name: 'the given files',
    open: async (name, { onProgress } = {}) => {
      const file = byName.get(name);
      if (!file) return null;
      const { buffer, byteOffset, byteLength } = ArrayBuffer.isView(file)
        ? file
        : new Uint8Array(await file.arrayBuffer());
      onProgress?.({ file: name, loaded: byteLength, total: byteLength });
      return inMemory(name, new Uint8Array(buffer, byteOffset, byteLength));
    },
  };
}
const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

const SITE = {
  /** In place of the global `fetch`. */
  fetch: callback<Fetch>(),
  /** Sent with each request. */
  headers: rule<Record<string, string>>('an object of headers', isObject),
};
export type SiteOptions = GivenOf<typeof SITE>;

/** A folder at an address, whose query, such as a signature, each file gets. A file is fetched whole when it is opened. */
export function site(address: string | URL, options: SiteOptions = {}): Files {
  const { fetch, headers = {} } = optionsOf('site', options, SITE);
  const [, path = '', query = ''] = /^([^?#]*)(\?[^#]*)?/.exec(placeOf('site', address, 'an address'))!;
  const name = path.replace(/\/+$/, '');
  let isReached = false;
  const fetchFile: Fetch = async (url, init) => {
    const response = await (fetch ?? globalThis.fetch)(url, init);
    // Hosts of single-page apps answer with a page where a file is missing, and stores that may not be listed with 403.
    const isPage = response.headers.get('content-type')?.startsWith('text/html');
    const isAbsent = isPage || (response.status === 403 && isReached);
    isReached ||= response.ok;
    return isAbsent ? new Response(null, { status: 404 }) : response;
  };
  return {
    name,
    open: async (file, { signal, onProgress } = {}) => {
      const request = { fetch: fetchFile, headers, signal: signal ?? null };
      const chunks: Uint8Array<ArrayBuffer>[] = [];
      let loaded = 0;
      try {
        await send(`${name}/${file}${query}`, request, (chunk, total) => {
          chunks.push(chunk);
          loaded += chunk.length;
          if (loaded > maxSize(file)) throw new Error(`more than ${maxSize(file)} bytes`);
          onProgress?.({ file, loaded, total });
        });
        return inMemory(`${name}/${file}`, new Uint8Array(await new Blob(chunks).arrayBuffer()));
      } catch (cause) {
        signal?.throwIfAborted();
        if (cause instanceof HttpError && [404, 410].includes(cause.response.status)) return null;
        throw unreadable(`${name}/${file}`, cause);
      }
    },
  };
}
