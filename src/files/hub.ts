/**
 * Files of a model of the Hugging Face Hub. In Node a file is downloaded when it is opened, into the cache that Python's
 * huggingface_hub uses as well:
 *
 *   models--<owner>--<name>/blobs/<etag>                the content of each file
 *   models--<owner>--<name>/snapshots/<commit>/<file>   links to blobs
 *   models--<owner>--<name>/.no_exist/<commit>/<file>   empty: the commit has no such file
 *   models--<owner>--<name>/refs/<revision>             the commit of a branch or tag
 *
 * Sources: huggingface_hub's guide "Understand caching", and its file_download.py. The headers of an answer to HEAD have
 * the commit, the hash (ETag) and the size of a file, so whatever serves Python serves bertlet.
 */

import { BertletError, fault, inputError, messageOf } from '../errors.ts';
import { type GivenOf, optionsOf, preview, string } from '../options.ts';
import { inNode, isOfSystem, variables } from '../platform.ts';
import { type Fetch, isRefusal, type RequestOptions, reasonOf, send } from './http.ts';
import { type Files, folder, maxSize, type OpenOptions, placeOf, readWhole, site } from './index.ts';

export const HUB_OPTIONS = {
  /** Only for a model of the Hub: branch, tag or commit. Default main. */
  revision: string,
  /** Address of the Hub. Default: the environment variable HF_ENDPOINT, or else https://huggingface.co. */
  endpoint: string,
};
export type HubOptions = GivenOf<typeof HUB_OPTIONS>;
type Model = Readonly<Record<'id' | 'revision' | 'endpoint', string>>;

const HUB = 'https://huggingface.co';
const HUB_HOST = /^(https?:\/\/)?(www\.)?(huggingface\.co|hf\.co)\//;
/** The address of a model on another endpoint has an owner and a name. */
const MAY_BE_OWN = /^https?:\/\/[^/]+\/[\w.-]+\/[\w.-]+/;
/** owner/name, maybe with a revision: as the address of a model has it, or as some write it. */
const MODEL =
  /^([\w-]+(?:\.[\w-]+)*(?:\/[\w-]+(?:\.[\w-]+)*)?)(?:\/(?:tree|blob|resolve)\/([^/]+).*|[@:](\w[\w./-]*)|\/)?$/;
/** Names that git allows for a branch or a tag. */
const REVISION = /^(?![-/.])(?!.*(\.\.|\/\/|\/\.|@\{|[./]$))[^\s\p{Cc}~^:?*[\\]+$/u;
const COMMIT = /^[0-9a-f]{40}$/;

/** Node's; in a page nothing asks for it. */
const fs = inNode ? process.getBuiltinModule('node:fs') : (undefined as never);

/** Runs what may fail without harm. Undefined: it did. */
function tried<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch {
    return undefined;
  }
}
const parentOf = (path: string) => path.slice(0, path.lastIndexOf('/'));
/** Node: whether there is something of this name. Node's permissions hide what may not be read. */
const isThere = (path: string) => tried(() => fs.existsSync(path)) ?? false;

/**
 * Makes the files that `model` means: those given; a folder or an address; or a model of the Hub, by `owner/name` or its
 * address there. A folder of that name comes first, in Node and beside a page.
 * @throws BertletError `input` if it can be none of them
 */
export async function filesOf(model: string | URL | Files, options: HubOptions = {}): Promise<Files> {
  const { revision, endpoint } = optionsOf('filesOf', options, HUB_OPTIONS);
  if (typeof (model as Files | null)?.open === 'function') return model as Files;
  const expected = 'a folder, an address, owner/name, or Files';
  const text = placeOf('model', model, expected);
  if (text.startsWith('file:')) return folder(pathOf(text));
  if (isThere(text) && !fs.statSync(text).isDirectory())
    throw fault('file', text, "a checkpoint's folder", 'a file', 'Load the folder that it is in.');
  const path = isThere(text) ? text : packageOf(text);
  if (path) return folder(path);
  const isUrl = /^https?:/.test(text);
  const own = MAY_BE_OWN.test(text) ? `${endpoint ?? variables.HF_ENDPOINT}/` : '';
  const behindHost = text.replace(HUB_HOST, '').replace(own, '');
  const isOfHub = behindHost !== text;
  const [, id, inAddress, behind] = MODEL.exec(isOfHub ? behindHost.replace(/[?#].*/, '') : text) ?? [];
  if (isOfHub && (!id || behind))
    throw inputError('model', `the address of a model, as ${HUB}/owner/name`, preview(text));
  if (behind)
    throw inputError('model', id, preview(text), `Give the revision as an option: { revision: ${preview(behind)} }.`);
  if (id && (isOfHub || !inAddress)) {
    const beside = inNode || isOfHub ? null : await readWhole(site(text), 'config.json').catch(() => null);
    if (beside) return site(text);
    const named = inAddress?.replaceAll('%2F', '/') ?? revision;
    if (revision && named !== revision) throw inputError('revision', `${named}, as in the address`, preview(revision));
    return hub(id, { revision: named, endpoint });
  }
  if (!isUrl && /^\w{2,}:/.test(text)) throw inputError('model', expected, preview(text));
  return inNode && !isUrl ? folder(text) : site(text);
}

/** Node: the path of a `file:` address. */
function pathOf(address: string): string {
  const path = tried(() => process.getBuiltinModule('node:url').fileURLToPath(address));
  if (path) return path;
  const advice = inNode ? '' : 'A page cannot read files: serve the folder.';
  throw inputError('model', 'a file: address of this machine', preview(address), advice);
}

/**
 * Node: the folder of an installed package that is a checkpoint, such as bertlet-minilm-l6-qa, seen from the program or from
 * the folder that the program runs in; undefined: there is none.
 */
const packageOf = (name: string): string | undefined =>
  tried(() => {
    const { resolve } = process.getBuiltinModule('node:module').createRequire(`${process.cwd()}/`);
    return resolve(`${name}/config.json`, { paths: [process.argv[1] ?? '.', '.'] }).slice(0, -'/config.json'.length);
  });

/**
 * A model of the Hub, or of a mirror. In Node its files are kept in the cache of Python's huggingface_hub, by its
 * environment variables; in a page, in its Cache Storage. Without a network there is what there was at the last visit.
 * @param id `owner/name`
 * @throws BertletError `input` for an impossible name or revision. `open`: `file` if a file cannot be downloaded, or has
 * another size or hash than the Hub says
 */
export function hub(id: string, options: HubOptions = {}): Files {
  const { revision = 'main', endpoint = variables.HF_ENDPOINT || HUB } = optionsOf('hub', options, HUB_OPTIONS);
  if (MODEL.exec(placeOf('model', id, 'owner/name'))?.[1] !== id) throw inputError('model', 'owner/name', preview(id));
  if (!REVISION.test(revision)) throw inputError('revision', 'a branch, a tag or a commit', preview(revision));
  const model = { id, revision, endpoint: endpoint.replace(/\/$/, '') };
  return inNode ? inCache(model) : inPage(model);
}

const addressOf = ({ id, endpoint }: Model, revision: string, file = '') =>
  `${endpoint}/${id}/resolve/${encodeURIComponent(revision)}/${file}`;

const ADVICE: Record<number, string> = {
  401: 'Set HF_TOKEN to a token that may read it, and check the name.',
  403: 'Set HF_TOKEN to a token that may read it, and accept its terms on the Hub.',
  404: 'Check the name and the revision. A package with weights is found in Node alone.',
};
/** Advice about an answer of the Hub, or about none. */
function adviceOf(cause: unknown, otherwise: string): string {
  const { HTTPS_PROXY, https_proxy, NODE_USE_ENV_PROXY } = variables;
  if (isRefusal(cause)) return ADVICE[cause.response.status] ?? otherwise;
  if (!(HTTPS_PROXY || https_proxy) || NODE_USE_ENV_PROXY) return otherwise;
  return 'HTTPS_PROXY is set: Node goes by it where NODE_USE_ENV_PROXY=1 is set as well.';
}

/** Makes the error for a model that is neither here nor on the Hub. */
function refusal({ id, revision, endpoint }: Model, cause: unknown, cached = ''): BertletError {
  const expected = `a folder here or a model of ${endpoint}, revision ${revision}`;
  const search = `A model of the Hub is owner/name: ${HUB}/models?search=${id} finds it.`;
  const others = adviceOf(cause, 'Check the network, HF_ENDPOINT and HF_HUB_OFFLINE, or load a folder.');
  const advice = isRefusal(cause) && !id.includes('/') ? search : others;
  return fault('file', id, expected, `${reasonOf(cause)}${cached}`, advice, cause);
}

type Remote = Awaited<ReturnType<typeof describe>>;
/**
 * Node: asks for the commit, the hash and the size of a file, and follows redirects until all are known: a redirect to a
 * CDN has them in its own headers. Another host is not told the token.
 */
async function describe(url: string, { headers, ...request }: RequestOptions) {
  let [commit, etag, size]: (string | null)[] = [null, null, null];
  for (let [at, hops] = [url, 0]; at && hops < 5 && !(commit && etag && size); hops++) {
    const secret = new URL(at).origin === new URL(url).origin && headers && { headers };
    const { headers: got } = await send(at, { ...request, ...secret, method: 'HEAD', redirect: 'manual' });
    const location = got.get('location');
    commit ??= got.get('x-repo-commit');
    etag ??= got.get('x-linked-etag') ?? (location ? null : got.get('etag'));
    size ??= got.get('x-linked-size') ?? (location ? null : got.get('content-length'));
    at = location ? new URL(location, at).href : '';
  }
  return { commit: commit ?? '', etag: etag?.replace(/^W\/|"/g, '') ?? '', size: Number(size ?? Number.NaN) };
}

const isSet = (variable: string | undefined) => /^(1|on|yes|true)$/i.test(variable ?? '');

/** Node: a path of an environment variable. */
function expanded(path: string): string {
  if (!/^~(?=[/\\]|$)/.test(path)) return path;
  const home = tried(() => process.getBuiltinModule('node:os').homedir()); // a container may have a user without one
  if (!home) throw fault('file', 'the cache of models', 'a home folder', 'none', 'Set HF_HOME to a folder for it.');
  return home + path.slice(1);
}
const homeFolder = () => expanded(variables.HF_HOME || `${variables.XDG_CACHE_HOME || '~/.cache'}/huggingface`);

/** Node: the token and the patience of each request. The token is that of HF_TOKEN, or else of `hf auth login`. */
function requestOf({ signal }: OpenOptions): RequestOptions {
  const login = () => fs.readFileSync(expanded(variables.HF_TOKEN_PATH || `${homeFolder()}/token`), 'utf8');
  const isUnasked = isSet(variables.HF_HUB_DISABLE_IMPLICIT_TOKEN);
  const token = isUnasked ? '' : (variables.HF_TOKEN || tried(login) || '').trim();
  if (!/^[!-~]*$/.test(token))
    throw inputError('HF_TOKEN', 'a token of printable characters, here or of `hf auth login`', 'others');
  const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};
  return { headers, signal, seconds: Number(variables.HF_HUB_DOWNLOAD_TIMEOUT || 10) };
}

/** Node: writes a small file of the cache. A cache that cannot be written works without it. */
const note = (path: string, text: string) =>
  tried(() => {
    fs.mkdirSync(parentOf(path), { recursive: true });
    fs.writeFileSync(path, text);
  });

/** Node: the files of a model in the cache. A file is downloaded when it is first opened. */
function inCache(model: Model): Files {
  const { id, revision } = model;
  const cache = expanded(variables.HF_HUB_CACHE || `${homeFolder()}/hub`);
  const store = `${cache}/models--${id.replaceAll('/', '--')}`;
  const ref = `${store}/refs/${revision}`;
  let commit = COMMIT.test(revision) ? revision : '';
  let isReached = false;
  /** Why the cache must do. */
  let alone: unknown = isSet(variables.HF_HUB_OFFLINE || variables.TRANSFORMERS_OFFLINE) && 'HF_HUB_OFFLINE is set';
  const linkOf = (file: string) => `${store}/snapshots/${commit}/${file}`;
  const absenceOf = (file: string) => `${store}/.no_exist/${commit}/${file}`;

  /** Takes the commit of an answer for that of the revision: all files are of one commit. */
  const learn = (answered: string) => {
    if (!COMMIT.test(answered)) throw new Error('an answer without X-Repo-Commit');
    isReached = true;
    if (!commit) note(ref, answered);
    commit ||= answered;
  };
  /** Asks the Hub for a file. Null: there is none, or the cache must do. */
  const ask = async (file: string, options: OpenOptions): Promise<Remote | null> => {
    if (alone) return null;
    const request = requestOf(options);
    try {
      const remote = await describe(addressOf(model, commit || revision, file), request);
      learn(remote.commit);
      return remote;
    } catch (cause) {
      options.signal?.throwIfAborted();
      const isAbsent = isRefusal(cause) && cause.response.status === 404;
      const known = isThere(linkOf('')) ? commit : ''; // a mirror may not tell it where there is no file
      const answered = isAbsent && (cause.response.headers.get('x-repo-commit') ?? known);
      if (answered) {
        learn(answered);
        note(absenceOf(file), '');
      } else if (isRefusal(cause) || isReached) throw refusal(model, cause);
      else alone = cause; // no network, or an answer that is not the Hub's
      return null;
    }
  };
  return {
    get name() {
      return `${id}, revision ${revision}${alone ? `, of the cache ${store} alone (${reasonOf(alone)})` : ''}`;
    },
    open: async (file, options = {}) => {
      const isKnown = commit && (isThere(linkOf(file)) || isThere(absenceOf(file)));
      const remote = isKnown ? null : await ask(file, options);
      commit ||= tried(() => COMMIT.exec(fs.readFileSync(ref, 'utf8').trim())?.[0]) ?? '';
      if (!commit) throw refusal(model, alone, `, and nothing in the cache ${store}`);
      const place = { url: addressOf(model, commit, file), store, link: linkOf(file), file };
      if (remote && !isThere(place.link)) await download(place, remote, options);
      return folder(`${store}/snapshots/${commit}`).open(file, options);
    },
  };
}

const notWhole = (url: string, expected: string, got: unknown, cause?: unknown) =>
  fault('file', url, expected, got, adviceOf(cause, 'Nothing is kept of it: try again.'), cause);

type Place = Readonly<Record<'url' | 'store' | 'link' | 'file', string>>;
/** Node: puts a file into the cache, if its content is not there by another name. */
async function download({ url, store, link, file }: Place, { etag, size }: Remote, options: OpenOptions) {
  const most = maxSize(file);
  if (!/^[\w.-]+$/.test(etag) || !(size <= most))
    throw fault('file', url, `an ETag, and at most ${most} bytes`, `${preview(etag)} and ${size}`);
  const blob = `${store}/blobs/${etag}`;
  const told = (loaded: number) => options.onProgress?.({ file, loaded, total: size });
  try {
    for (const path of [blob, link]) fs.mkdirSync(parentOf(path), { recursive: true });
    removeAbandoned(parentOf(blob));
    const isKept = fs.statSync(blob, { throwIfNoEntry: false })?.size === size;
    if (!isKept) await fetchBlob(blob, url, { ...requestOf(options), most: size }, told);
    fs.rmSync(link, { force: true });
    tried(() => fs.symlinkSync(`${'../'.repeat(file.split('/').length + 1)}blobs/${etag}`, link));
    if (!isThere(link)) fs.copyFileSync(blob, link); // Windows without permission to make links
  } catch (cause) {
    options.signal?.throwIfAborted();
    if (cause instanceof BertletError) throw cause;
    if (!isOfSystem(cause)) throw notWhole(url, `${size} bytes`, reasonOf(cause), cause);
    const room = `a cache with room for the ${size} bytes of ${file}`;
    throw fault('file', store, room, messageOf(cause), 'Set HF_HOME to a folder that can be written.', cause);
  }
}

const DAY = 24 * 60 * 60 * 1000; // milliseconds
/** Node: removes what is left of downloads whose process was killed: nobody has written to it for a day. */
function removeAbandoned(blobs: string): void {
  for (const name of fs.readdirSync(blobs).filter((name) => name.endsWith('.incomplete'))) {
    const written = fs.statSync(`${blobs}/${name}`, { throwIfNoEntry: false })?.mtimeMs ?? Infinity;
    if (Date.now() - written > DAY) fs.rmSync(`${blobs}/${name}`, { force: true });
  }
}

/** Node: downloads a file under another name, and renames it to its blob after its size and hash were checked. */
async function fetchBlob(blob: string, url: string, request: RequestOptions, told: (loaded: number) => void) {
  const { createHash, randomUUID } = process.getBuiltinModule('node:crypto');
  const etag = blob.slice(blob.lastIndexOf('/') + 1);
  const git = createHash('sha1').update(`blob ${request.most}\0`);
  const hashes = etag.length === 64 ? [createHash('sha256')] : [git, createHash('sha1')]; // a mirror may tell the plain one
  const temporary = `${blob}.${randomUUID()}.incomplete`;
  const output = fs.openSync(temporary, 'wx');
  try {
    await send(url, request, (chunk, loaded) => {
      fs.writeFileSync(output, chunk); // all of it: a full disk may take a part
      for (const hash of hashes) hash.update(chunk);
      told(loaded);
    });
    const { size } = fs.fstatSync(output);
    if (size !== request.most) throw notWhole(url, `${request.most} bytes`, size);
    const digests = hashes.map((hash) => hash.digest('hex'));
    const isHash = /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag);
    if (isHash && !digests.includes(etag)) throw notWhole(url, `the hash ${etag}`, digests[0]);
    fs.fsyncSync(output);
    fs.renameSync(temporary, blob);
  } finally {
    fs.closeSync(output);
    fs.rmSync(temporary, { force: true });
  }
}

/**
 * A page: fetches a file of the Hub, or takes it from the page's Cache Storage: that of a commit at once, as it never
 * changes, and that of a branch where there is no network. A storage that is denied or full keeps nothing, and nothing fails.
 */
const keeping: Fetch = async (url, init) => {
  const storage = await globalThis.caches?.open('bertlet').catch(() => undefined);
  const kept = await storage?.match(url).catch(() => undefined);
  if (kept && /\/resolve\/[0-9a-f]{40}\//.test(url)) return kept;
  const response = await fetch(url, init).catch((error: unknown) => kept ?? Promise.reject(error));
  const { status } = response;
  if (status >= 500 && kept) return kept;
  if (status === 404) storage?.put(url, new Response(null, { status })).catch(() => {});
  if (status === 200) storage?.put(url, response.clone()).catch(() => {});
  return response;
};

/** A page: the files of the commit that the revision has now, or had at the last visit. */
function inPage(model: Model): Files {
  const { id, revision } = model;
  let files: Files | undefined;
  const find = async ({ signal }: OpenOptions) => {
    const request = { fetch: keeping, signal, most: maxSize('config.json') };
    const answer = await send(addressOf(model, revision, 'config.json'), request).catch((cause: unknown) => {
      signal?.throwIfAborted();
      throw refusal(model, cause);
    });
    const commit = answer.headers.get('x-repo-commit') ?? revision; // a mirror may not let a page see it
    return site(addressOf(model, commit), { fetch: keeping });
  };
  return {
    name: `${id}, revision ${revision}`,
    open: async (file, options = {}) => {
      files ??= await find(options);
      return files.open(file, options);
    },
  };
}
