/**
 * Finds a model: a folder, or a model of the Hugging Face Hub, which is downloaded into the cache that Python's
 * huggingface_hub uses as well:
 *
 *   models--<owner>--<name>/blobs/<etag>               the content of each file
 *   models--<owner>--<name>/snapshots/<commit>/<file>  links to blobs
 *   models--<owner>--<name>/refs/<revision>            the commit of a branch or tag
 *
 * Source of the layout and of the environment variables: the guide "Understand caching" of huggingface_hub.
 */

import { openDescription, parseIndex, readConfig, WEIGHTS } from '../checkpoint/index.ts';
import { BertletError, inputError, messageOf } from '../errors.ts';
import { preview } from '../options.ts';
import { inNode, isOfSystem, isRunning, textOf, variables } from '../platform.ts';
import { TOKENIZER_FILES, VOCABULARIES } from '../text/json.ts';
import { fetchBytes, HttpError, isPassing, pieces } from './http.ts';
import { type Files, filesAt, folder as folderOf, kept, type OnProgress, readWhole } from './index.ts';

/** Options of `locate`. */
export interface HubOptions {
  /** Branch, tag or commit. Default main. */
  revision?: string | undefined;
  /** Address of the Hub. Default: the environment variable HF_ENDPOINT, or else https://huggingface.co. */
  endpoint?: string | undefined;
  onProgress?: OnProgress | undefined;
  /** Ends what is downloaded. */
  signal?: AbortSignal | undefined;
}
/** A file on the Hub. `etag`: the SHA-256 of a large file, the git hash (SHA-1) of a small one. */
interface Remote {
  readonly path: string;
  readonly size: number;
  readonly etag: string;
}

const FILES = ['config.json', ...WEIGHTS, ...TOKENIZER_FILES];
const HUB = 'https://huggingface.co';
const COMMIT = /^[0-9a-f]{40}$/;
const ETAG = /^([0-9a-f]{40}|[0-9a-f]{64})$/;
const ID = /^[\w-][\w.-]*\/[\w-][\w.-]*$/;
/** What git allows in the name of a branch or a tag. */
const REVISION = /^(?![-/.])(?!.*(\.\.|\/\/|\/\.|@\{|[./]$))[^\s\p{Cc}~^:?*[\\]+$/u;

/**
 * Finds the files of a model. A name `owner/name` that no folder here has, and its address on the Hub, is a model of the
 * Hub; every other name is returned unchanged, as a folder or an address. In Node, a `file:` address becomes a path, and a
 * model of the Hub is downloaded to the cache, and its folder is returned. In a page, the address of the model's files is
 * returned. A model that bertlet cannot run is refused before its weights are asked for.
 * @throws BertletError `file` if a file is missing, cannot be downloaded, or has another hash than on the Hub; `config` or
 * `tokenizer` if bertlet cannot run the model; `input` for an impossible name or revision
 */
export async function locate(model: string, options: HubOptions = {}): Promise<string> {
  const endpoint = (options.endpoint ?? (variables.HF_ENDPOINT || HUB)).replace(/\/$/, '');
  if (model.startsWith('file:')) return ofAddress(model);
  if (inNode && process.getBuiltinModule('node:fs').existsSync(model)) return model;
  const named = ofHub(model, endpoint);
  const { id = model, revision = options.revision ?? 'main' } = named;
  if (options.revision !== undefined && revision !== options.revision) {
    throw inputError('revision', `${revision}, as in the address`, preview(options.revision));
  }
  if (!ID.test(id) || id.includes('..')) {
    if (inNode) refuseName(model);
    return model;
  }
  if (!REVISION.test(revision)) throw inputError('revision', 'a branch, a tag or a commit', preview(revision));
  const hub = { ...options, revision, endpoint };
  return inNode ? download(id, hub) : address(id, hub);
}

/** The files that `model` names: a folder, an address, a model of the Hub; those of the Hub are downloaded. */
export const filesOf = async (model: string | URL | Files, options: HubOptions = {}): Promise<Files> => {
  const isUrl = typeof (model as URL | null)?.href === 'string';
  return filesAt(isUrl || (typeof model === 'string' && model !== '') ? await locate(String(model), options) : model);
};
/** A model of the Hub. */
export const hub = (id: string, options: HubOptions = {}): Promise<Files> => filesOf(id, options);

type Hub = HubOptions & Record<'revision' | 'endpoint', string>;
/** What each request to the Hub has. */
type Asking = { readonly headers: Record<string, string>; readonly signal: AbortSignal | null };

/** The model and the revision of an address of the Hub, as the browser shows it: .../owner/name/tree/<revision>. */
function ofHub(model: string, endpoint: string): { id?: string; revision?: string } {
  const hosts = ['huggingface.co', 'www.huggingface.co', 'hf.co', endpoint.replace(/^https?:\/\//, '')];
  const [, host, path] = /^(?:https?:\/\/)?([^/]+)\/([^?#]*)/.exec(model) ?? [];
  if (!path || !hosts.includes(host!)) return {};
  const [owner, name, kind, ...rest] = path.replaceAll('%2F', '/').split('/').filter(Boolean);
  if (!name || ['datasets', 'spaces', 'models'].includes(owner!)) {
    throw inputError('model', 'the address of a model, such as https://huggingface.co/owner/name', preview(model));
  }
  const revision = kind === 'tree' ? rest.join('/') : kind === 'blob' || kind === 'resolve' ? rest[0] : undefined;
  return { id: `${owner}/${name}`, ...(revision && { revision }) };
}

/** The path of a `file:` address, for Node. */
async function ofAddress(model: string): Promise<string> {
  if (!inNode) throw inputError('model', 'an address that a page may fetch', preview(model), 'Serve the folder.');
  const { fileURLToPath } = process.getBuiltinModule('node:url');
  try {
    return fileURLToPath(model);
  } catch (cause) {
    throw inputError('model', 'a file: address of this machine', preview(model), `${messageOf(cause)}.`);
  }
}

/** @throws BertletError for a name that is no path, and neither a folder nor a model */
function refuseName(model: string): void {
  if (/^\w{2,}:/.test(model)) {
    const advice = `Download its files to a folder, or write owner/name for a model of ${HUB}.`;
    throw inputError('model', 'in Node a folder, a file: address or owner/name', preview(model), advice);
  }
  if (/[/\\]|^\./.test(model)) return;
  const advice = `A model of the Hub has an owner, as deepset/${model}: ${HUB}/models?search=${encodeURIComponent(model.toWellFormed())} finds it.`;
  const message = `${model}/config.json: expected a readable file, or owner/name, got no folder of this name`;
  throw new BertletError('file', `${message}. ${advice}`);
}

const isHash = (value: unknown, pattern: RegExp): value is string => typeof value === 'string' && pattern.test(value);

/** Asks the Hub for the commit of a revision. */
async function commitOf(id: string, { revision, endpoint }: Hub, request: Asking) {
  const url = `${endpoint}/api/models/${id}/revision/${encodeURIComponent(revision)}`;
  const bytes = await fetchBytes(url, request);
  const { sha } = parsed(bytes) as { sha?: unknown };
  if (!isHash(sha, COMMIT)) throw new Error(`a commit that is none, ${preview(sha)}`);
  return { url, bytes, sha };
}

function parsed(bytes: Uint8Array): object {
  const value: unknown = JSON.parse(textOf(bytes));
  if (typeof value !== 'object' || value === null) throw new Error(`${preview(value)} in place of an object`);
  return value;
}

/** In a page: returns the address of a commit's files. Without a network, the commit is that of the last visit. */
async function address(id: string, hub: Hub): Promise<string> {
  const { revision, endpoint } = hub;
  const of = (sha: string) => `${endpoint}/${id}/resolve/${sha}`;
  try {
    const { url, bytes, sha } = await commitOf(id, hub, { headers: {}, signal: hub.signal ?? null });
    await kept.put(url, new Response(bytes));
    return of(sha);
  } catch (cause) {
    const url = `${endpoint}/api/models/${id}/revision/${encodeURIComponent(revision)}`;
    const last = cause instanceof HttpError && !isPassing(cause) ? undefined : await kept.match(url);
    if (!last) throw refusal(id, hub, cause);
    return of(((await last.json()) as { sha: string }).sha);
  }
}

/** Where the files of a model are looked for. */
interface Store {
  /** The folder that `get` puts them in. */
  readonly snapshot: string;
  /** Those of these files that the model has. */
  readonly has: (paths: string[]) => Promise<string[]>;
  readonly get: (path: string) => Promise<void>;
  /** The place, for the message of a missing file. */
  readonly where: string;
}

/**
 * Gets the files of a model in the order in which it can be refused: config.json, the tokenizer, and the weights last.
 * Prefers safetensors to pickles, and tokenizer.json to vocab.txt.
 * @throws BertletError `file` if a file is missing, and the errors of `openCheckpoint`
 */
async function collect(id: string, { snapshot, has, get, where }: Store): Promise<string> {
  const there = await has(FILES);
  const choose = (label: string, paths: string[]) => {
    const found = paths.find((path) => there.includes(path));
    if (found) return found;
    const files = `${FILES.join(', ')} of ${HUB}/${id}, as far as it has them,`;
    const advice = `Fetch ${files} into a folder and load that folder.`;
    throw new BertletError('file', `${id}: expected ${label} ${where}, got none. ${advice}`);
  };
  if (there.includes('config.json')) {
    await get('config.json');
    await readConfig(folderOf(snapshot));
  }
  const weights = choose('model.safetensors or pytorch_model.bin', WEIGHTS);
  choose('config.json', ['config.json']);
  const vocabulary = choose('tokenizer.json or vocab.txt', VOCABULARIES);
  const others = TOKENIZER_FILES.filter((path) => !VOCABULARIES.includes(path) && there.includes(path));
  for (const path of [vocabulary, ...others]) await get(path);
  await openDescription(folderOf(snapshot));
  await get(weights);
  if (!weights.endsWith('.json')) return snapshot;
  const { files } = parseIndex((await readWhole(folderOf(snapshot), weights))!);
  there.push(...(await has(files)));
  for (const path of files) await get(choose(path, [path]));
  return snapshot;
}

/**
 * In Node: returns the snapshot folder of a model, after downloading the files that the cache lacks. Reads the
 * environment variables HF_TOKEN, HF_HUB_OFFLINE, and those of `places`.
 */
async function download(id: string, hub: Hub): Promise<string> {
  const { revision, endpoint } = hub;
  const { existsSync, realpathSync } = process.getBuiltinModule('node:fs');
  const { rm } = process.getBuiltinModule('node:fs/promises');
  const { basename, join } = process.getBuiltinModule('node:path');
  const { cache, token } = await places();
  const folder = join(cache, `models--${id.replace('/', '--')}`);
  const where = `of revision ${revision} in the cache ${folder}`;
  const fromCache = async () => {
    const snapshot = join(folder, 'snapshots', (await cachedCommit(folder, revision)) ?? 'none');
    const get = async (path: string) => {
      const etag = basename(realpathSync(join(snapshot, path)));
      if (!ETAG.test(etag) || (await isWhole(join(snapshot, path), { etag }))) return; // copies, where links are not allowed
      throw new BertletError(
        'file',
        `${id}: expected a whole ${path} ${where}, got a damaged one. Load it with a network.`,
      );
    };
    const has = async (paths: string[]) => paths.filter((path) => existsSync(join(snapshot, path)));
    return collect(id, { snapshot, has, get, where });
  };
  const { HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE, HF_HUB_DISABLE_IMPLICIT_TOKEN } = variables;
  if (isSet(HF_HUB_OFFLINE || TRANSFORMERS_OFFLINE)) {
    return fromCache().catch((error: unknown) => {
      if (!(error instanceof BertletError)) throw error;
      throw new BertletError(error.code, `HF_HUB_OFFLINE is set, and ${error.message}`);
    });
  }
  if (COMMIT.test(revision)) {
    const snapshot = await fromCache().catch(() => null);
    if (snapshot) return snapshot; // a commit never changes
  }
  const secret = isSet(HF_HUB_DISABLE_IMPLICIT_TOKEN) ? '' : await token();
  const headers: Record<string, string> = secret ? { authorization: `Bearer ${secret}` } : {};
  const request = { headers, signal: hub.signal ?? null };
  const remote = new Map<string, Remote>();
  let commit = '';
  const has = async (paths: string[]) => {
    for (const file of await about(id, commit, paths, endpoint, request)) remote.set(file.path, file);
    return paths.filter((path) => remote.has(path));
  };
  let first: string[];
  try {
    ({ sha: commit } = await commitOf(id, hub, request));
    first = await has(FILES);
  } catch (cause) {
    const refused = cause instanceof HttpError && !isPassing(cause);
    const snapshot = refused ? null : await fromCache().catch(() => null); // no network, or an answer that is not the Hub's
    if (snapshot) return snapshot;
    throw refusal(id, hub, cause);
  }
  const snapshot = join(folder, 'snapshots', commit);
  const get = (path: string) => fetchFile(id, folder, commit, remote.get(path)!, { ...hub, request });
  const known = (paths: string[]) => (paths === FILES ? Promise.resolve(first) : has(paths));
  await collect(id, { snapshot, has: known, get, where: `at revision ${revision}` });
  await writeRef(folder, revision, commit);
  for (const path of await leftOvers(join(folder, 'blobs'))) await rm(path, { force: true }).catch(() => {});
  return snapshot;
}

const isSet = (variable: string | undefined) => /^(1|on|yes|true)$/i.test(variable ?? '');

/** Asks the Hub for the size and hash of those of these files that a commit has. */
async function about(
  id: string,
  commit: string,
  paths: string[],
  endpoint: string,
  request: Asking,
): Promise<Remote[]> {
  const found = parsed(
    await fetchBytes(`${endpoint}/api/models/${id}/paths-info/${commit}`, {
      ...request,
      method: 'POST',
      headers: { ...request.headers, 'content-type': 'application/json' },
      body: JSON.stringify({ paths }),
    }),
  );
  if (!Array.isArray(found)) throw new Error('an object in place of files');
  return (found as { path: string; size: number; oid: unknown; lfs?: { oid: unknown } }[]).flatMap((file) => {
    const { path, size, oid, lfs } = file;
    if (!paths.includes(path)) return [];
    const etag = lfs?.oid ?? oid;
    if (!isHash(etag, ETAG) || !(size >= 0)) throw new Error(`a hash or size that is none, for ${preview(path)}`);
    return [{ path, size, etag }];
  });
}

/** Makes the error for a model that is neither a folder nor available on the Hub. */
function refusal(id: string, { revision, endpoint }: Pick<Hub, 'revision' | 'endpoint'>, cause: unknown): BertletError {
  if (cause instanceof BertletError) return cause;
  const advice = adviceOf(cause) ?? 'Check the network and HF_ENDPOINT, or load a folder.';
  const message = `${id}: no folder here has this name, and of ${endpoint} an answer was expected for revision ${revision}, got ${reason(cause)}. ${advice}`;
  return new BertletError('file', message, { cause });
}
const adviceOf = (cause: unknown) =>
  ({
    401: 'Set HF_TOKEN to a token that may read it, and check the name.',
    403: 'Set HF_TOKEN to a token that may read it, and accept its terms on the Hub.',
    404: 'Check the name and the revision.',
  })[(cause as Partial<HttpError> | undefined)?.status ?? 0];
/** `fetch` says only that it failed; what failed is its cause. */
const reason = (error: unknown): string => {
  const { message, cause } = error as Error;
  return cause instanceof Error ? `${message}: ${cause.message || (cause as NodeJS.ErrnoException).code}` : message;
};

/** Puts a file of a commit into the cache, if it is not there as a whole. A cache that has it all may be read-only. */
async function fetchFile(
  id: string,
  folder: string,
  commit: string,
  file: Remote,
  hub: Hub & { request: Asking },
): Promise<void> {
  const fs = process.getBuiltinModule('node:fs');
  const { join } = process.getBuiltinModule('node:path');
  const link = join(folder, 'snapshots', commit, file.path);
  const blob = join(folder, 'blobs', file.etag);
  if (await isWhole(link, file)) return;
  try {
    for (const path of [join(folder, 'blobs'), join(folder, 'snapshots', commit)])
      fs.mkdirSync(path, { recursive: true });
    if (!(await isWhole(blob, file)))
      await fetchBlob(`${hub.endpoint}/${id}/resolve/${commit}/${file.path}`, blob, id, file, hub);
    const target = join('..', '..', 'blobs', file.etag);
    fs.rmSync(link, { force: true });
    try {
      fs.symlinkSync(target, link);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return; // another process was first
      fs.copyFileSync(blob, link); // Windows without permission to make links
    }
  } catch (cause) {
    if (!(cause instanceof Error && 'syscall' in cause)) throw cause;
    const message = `${folder}: expected a cache with room for the ${file.size} bytes of ${file.path}, got ${messageOf(cause)}`;
    throw new BertletError('file', `${message}. Set HF_HOME to a folder that can be written.`, { cause });
  }
}

/** Downloads a file under another name, and renames it to its blob after its size and hash were checked. */
async function fetchBlob(url: string, blob: string, id: string, file: Remote, hub: Hub & { request: Asking }) {
  const fs = process.getBuiltinModule('node:fs');
  const { hostname } = process.getBuiltinModule('node:os');
  const { dirname } = process.getBuiltinModule('node:path');
  const { randomUUID } = process.getBuiltinModule('node:crypto');
  const temporary = `${blob}.${hostname()}.${process.pid}.${randomUUID()}.incomplete`;
  const wrong = (expected: unknown, got: unknown, cause?: unknown) => {
    const advice = adviceOf(cause) ?? 'Nothing is kept of it: try again.';
    return new BertletError('file', `${id}/${file.path}: expected ${expected}, got ${got}. ${advice}`, { cause });
  };
  const [left] = await leftOvers(dirname(blob), file.etag);
  if (left) fs.renameSync(left, temporary); // of a process that was killed: it goes on where that one ended
  const hash = await gitHash(file);
  let loaded = 0;
  let begin = '';
  const take = (chunk: Uint8Array) => {
    if (loaded === 0) begin = textOf(chunk.subarray(0, 64));
    hash.update(chunk);
    loaded += chunk.length;
    hub.onProgress?.({ file: file.path, loaded, total: Math.max(file.size, loaded) });
  };
  const output = fs.openSync(temporary, 'a');
  try {
    if (left) for await (const chunk of fs.createReadStream(temporary)) take(chunk as Uint8Array);
    if (loaded < file.size || loaded === 0) {
      try {
        for await (const { chunk } of pieces(url, hub.request, loaded)) {
          for (let at = 0; at < chunk.length; ) at += fs.writeSync(output, chunk, at); // a full disk may take a part
          take(chunk);
          if (loaded > file.size) break;
        }
      } catch (cause) {
        if ('syscall' in (cause as Error)) throw cause;
        throw wrong(`${file.size} bytes`, loaded ? `${loaded} (${reason(cause)})` : reason(cause), cause);
      }
    }
    fs.fsyncSync(output);
    const kind = kindOf(begin);
    if (loaded !== file.size) throw wrong(`${file.size} bytes`, `${loaded > file.size ? 'more' : loaded}${kind}`);
    const digest = hash.digest('hex');
    if (digest !== file.etag) throw wrong(`the hash ${file.etag}`, `${digest}${kind}`);
    if (fs.fstatSync(output).size !== file.size) throw wrong(`${file.size} bytes on the disk`, 'fewer');
    fs.renameSync(temporary, blob);
  } finally {
    fs.closeSync(output);
    fs.rmSync(temporary, { force: true });
  }
}

/** What a wrong file is, by its first characters. */
function kindOf(begin: string): string {
  if (/^\s*<(!doctype|html)/i.test(begin)) return ', an HTML page';
  return begin.startsWith('version https://git-lfs') ? ', a git-LFS pointer' : '';
}

/** The hash that a file's etag is: SHA-256, or for a small file git's, which begins with a header. */
async function gitHash({ etag, size }: Pick<Remote, 'etag' | 'size'>) {
  const { createHash } = process.getBuiltinModule('node:crypto');
  return etag.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}

const MOST_HASHED = 2 ** 24; // bytes; a file of weights tells its size itself, and takes seconds to hash

/** Whether a file of the cache has the size that it should have, and a small one also the content. */
async function isWhole(path: string, { etag, size }: Pick<Remote, 'etag'> & Partial<Remote>): Promise<boolean> {
  const { readFile, stat } = process.getBuiltinModule('node:fs/promises');
  try {
    const { size: got } = await stat(path);
    if (size !== undefined && got !== size) return false;
    return (
      got > MOST_HASHED || (await gitHash({ etag, size: got })).update(await readFile(path)).digest('hex') === etag
    );
  } catch (error) {
    if (!isOfSystem(error)) throw error;
    return false; // it is not there, or cannot be read
  }
}

const DAY = 24 * 60 * 60 * 1000;
/** Partial files whose process is gone; those of another machine or program, if nobody wrote to them for a day. */
async function leftOvers(blobs: string, etag = ''): Promise<string[]> {
  const { existsSync, readdirSync, statSync } = process.getBuiltinModule('node:fs');
  const { join } = process.getBuiltinModule('node:path');
  const { hostname } = process.getBuiltinModule('node:os');
  const names = existsSync(blobs) ? readdirSync(blobs) : [];
  const partial = names.filter((name) => name.startsWith(etag) && name.endsWith('.incomplete'));
  return partial
    .filter((name) => {
      const [, host, pid] = /^\w+\.(.+)\.(\d+)\.[\w-]+\.incomplete$/.exec(name) ?? [];
      if (host === hostname()) return !isRunning(Number(pid));
      const written = statSync(join(blobs, name), { throwIfNoEntry: false })?.mtimeMs;
      return written !== undefined && Date.now() - written > DAY;
    })
    .map((name) => join(blobs, name));
}

interface Places {
  readonly cache: string;
  readonly token: () => Promise<string>;
}
/**
 * The cache folder and the token, by the rules of huggingface_hub: HF_HUB_CACHE, HF_HOME and XDG_CACHE_HOME; HF_TOKEN, or
 * else what `hf auth login` wrote, at HF_TOKEN_PATH.
 */
async function places(): Promise<Places> {
  const { homedir } = process.getBuiltinModule('node:os');
  const { join } = process.getBuiltinModule('node:path');
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HF_TOKEN_PATH } = variables;
  const { HF_TOKEN, HUGGING_FACE_HUB_TOKEN } = variables;
  const expanded = (path: string) =>
    path
      .replace(/^~(?=\/|\\|$)/, () => homedir())
      .replace(/\$(\w+|\{[^}]*\})/g, (whole, name: string) => variables[name.replace(/[{}]/g, '')] ?? whole);
  const home = expanded(HF_HOME ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface'));
  const token = async () => {
    const path = expanded(HF_TOKEN_PATH ?? join(home, 'token'));
    const { readFile } = process.getBuiltinModule('node:fs/promises');
    const secret = (HF_TOKEN || HUGGING_FACE_HUB_TOKEN || (await readFile(path, 'utf8').catch(() => ''))).trim();
    if (/^[!-~]*$/.test(secret)) return secret;
    throw inputError('HF_TOKEN', `a token of printable characters, here or in ${path}`, 'others');
  };
  return { cache: expanded(HF_HUB_CACHE ?? HUGGINGFACE_HUB_CACHE ?? join(home, 'hub')), token };
}

/** The commit of a revision at the last download, or null. */
async function cachedCommit(folder: string, revision: string): Promise<string | null> {
  if (COMMIT.test(revision)) return revision;
  const { readFile } = process.getBuiltinModule('node:fs/promises');
  const { join } = process.getBuiltinModule('node:path');
  const commit = (await readFile(join(folder, 'refs', revision), 'utf8').catch(() => '')).trim();
  return COMMIT.test(commit) ? commit : null;
}

/** Records the commit of a branch or tag in the cache. A cache that cannot be written works without it. */
async function writeRef(folder: string, revision: string, commit: string): Promise<void> {
  if ((await cachedCommit(folder, revision)) === commit) return;
  const { mkdir, rename, writeFile } = process.getBuiltinModule('node:fs/promises');
  const { dirname, join } = process.getBuiltinModule('node:path');
  const path = join(folder, 'refs', revision);
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(`${path}.${process.pid}`, commit);
    await rename(`${path}.${process.pid}`, path);
  } catch (error) {
    if (!isOfSystem(error)) throw error;
  }
}
