/** Files of a checkpoint, wherever they are: in a folder, at an address, in memory. hub.ts has the Hub's. */

import { BertletError, fault, inputError } from '../errors.ts';
import { callback, check, type GivenOf, type Option, object, optionsOf, preview } from '../options.ts';
import { textOf } from '../platform.ts';
import { type Fetch, type HttpError, reasonOf, send } from './http.ts';

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

/**
 * Makes a file of a function that fills the beginning of `target`, and returns how many bytes it could: a system may read a
 * part of what is asked for.
 */
function fileOf(name: string, size: number, fill: (target: Uint8Array, begin: number) => number, close = () => {}) {
  const read = (begin: number, target: Uint8Array) => {
    try {
      for (let at = 0; at < target.length; ) {
        const got = fill(target.subarray(at), begin + at);
        if (got === 0) throw new Error(`${at} of ${target.length} bytes at ${begin}`);
        at += got;
      }
    } catch (cause) {
      throw unreadable(name, cause);
    }
  };
  return { name, size, read, close } satisfies OpenFile;
}

/** Whether this is what stands in place of a large file in a git repository cloned without Git LFS. */
const isPointer = (file: OpenFile) =>
  file.size < 1000 &&
  textOf(readPart(file, 0, Math.min(file.size, 40))).startsWith('version https://git-lfs.github.com/');

/** Whether an error says that there is no such file: one of the file system, or an answer. */
function isAbsence(cause: unknown): boolean {
  const { code, response } = Object(cause) as { code?: string } & Partial<HttpError>;
  return code === 'ENOENT' || code === 'ENOTDIR' || response?.status === 404 || response?.status === 410;
}

/** Makes files of a function that opens one, and returns null or throws what its source does where there is none. */
const filesBy = (name: string, openOne: (file: string, options: OpenOptions) => Promise<OpenFile | null>): Files => ({
  name,
  open: async (file, options = {}) => {
    let opened: OpenFile | null = null;
    try {
      opened = await openOne(file, options);
      if (!opened || !isPointer(opened)) return opened;
      const advice = 'Run `git lfs pull` in that folder, or download the file itself.';
      throw fault('file', opened.name, "the file's content", 'a Git LFS pointer to it', advice);
    } catch (cause) {
      opened?.close();
      options.signal?.throwIfAborted();
      if (isAbsence(cause)) return null;
      throw unreadable(`${name}/${file}`, cause);
    }
  },
});

/** The text of a path or an address. */
export function placeOf(what: string, value: unknown, expected: string): string {
  const text = (value as URL | null | undefined)?.href ?? value;
  if (typeof text === 'string' && text !== '') return text;
  throw inputError(what, expected, preview(value));
}

/** A folder of the disk, in Node. Its files are read in parts, so none is in memory as a whole. */
export const folder = (path: string): Files =>
  filesBy(placeOf('folder', path, 'a path'), async (file, { onProgress }) => {
    const fs = process.getBuiltinModule('node:fs');
    const name = `${path}/${file}`;
    const descriptor = fs.openSync(name, 'r');
    const { size } = fs.fstatSync(descriptor);
    let loaded = 0;
    const fill = (target: Uint8Array, begin: number) => {
      const got = fs.readSync(descriptor, target, 0, target.length, begin);
      loaded += got;
      onProgress?.({ file, loaded, total: size });
      return got;
    };
    return fileOf(name, size, fill, () => fs.closeSync(descriptor));
  });

/** A file that is in memory as a whole. */
export const inMemory = (name: string, bytes: Uint8Array): OpenFile =>
  fileOf(name, bytes.length, (target, begin) => {
    const part = bytes.subarray(begin, begin + target.length);
    target.set(part);
    return part.length;
  });

/** Whether it is bytes, or a Blob of any realm. */
const isContent = (file: unknown) => ArrayBuffer.isView(file) || typeof (file as Blob)?.arrayBuffer === 'function';
const isFile = ([name, file]: [unknown, unknown]) => typeof name === 'string' && isContent(file);

/**
 * Files that a program has already: `File`s, as the visitor of a page chooses them, or bytes by name.
 * @throws BertletError `input` for anything else, and for two files of one name
 */
export function blobs(files: Iterable<File> | Record<string, Blob | Uint8Array>): Files {
  const isList = typeof files === 'object' && Symbol.iterator in Object(files);
  if (!isList) check('blobs', files, object);
  const entries = isList
    ? Array.from(files as Iterable<File>, (file): [string, File] => [file?.name, file])
    : Object.entries(files as Record<string, Blob | Uint8Array>);
  const byName = new Map<string, Blob | Uint8Array>(entries);
  if (!entries.every(isFile) || byName.size < entries.length) {
    const got = entries.map(([name, file]) => `${name ?? 'without a name'}: ${preview(file)}`);
    throw inputError('blobs', 'a File, Blob or Uint8Array for each name, and each name once', got.join(', '));
  }
  return filesBy('the given files', async (name, { onProgress }) => {
    const file = byName.get(name);
    if (!file) return null;
    const { buffer, byteOffset, byteLength } = ArrayBuffer.isView(file)
      ? file
      : new Uint8Array(await file.arrayBuffer());
    onProgress?.({ file: name, loaded: byteLength, total: byteLength });
    return inMemory(name, new Uint8Array(buffer, byteOffset, byteLength));
  });
}

const SITE = {
  /** In place of the global `fetch`. */
  fetch: callback<Fetch>(),
  /** Sent with each request. */
  headers: object as Option<Record<string, string> | undefined>,
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
  return filesBy(name, async (file, { signal, onProgress }) => {
    const request = { fetch: fetchFile, headers, signal, most: maxSize(file) };
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    await send(`${name}/${file}${query}`, request, (chunk, loaded, total) => {
      chunks.push(chunk);
      onProgress?.({ file, loaded, total });
    });
    return inMemory(`${name}/${file}`, new Uint8Array(await new Blob(chunks).arrayBuffer()));
  });
}
