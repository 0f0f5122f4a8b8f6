/**
 * Downloads a model from the Hugging Face Hub into the cache that Python's huggingface_hub uses as well:
 *
 *   models--<owner>--<name>/blobs/<etag>               the content of each file
 *   models--<owner>--<name>/snapshots/<commit>/<file>  links to blobs
 *   models--<owner>--<name>/refs/<revision>            the commit of a branch or tag
 *
 * Source of the layout and of the environment variables: the guide "Understand caching" of huggingface_hub.
 */

import { BertletError, inputError } from '../errors.ts';
import { inNode } from '../platform.ts';
import { CACHE, type OnProgress } from './source.ts';

/** Options of `locate`. */
export interface HubOptions {
  /** Branch, tag or commit. Default main. */
  revision?: string;
  /** Address of the Hub. Default: the environment variable HF_ENDPOINT, or else https://huggingface.co. */
  endpoint?: string;
  onProgress?: OnProgress;
}
/** A file on the Hub. `etag`: the SHA-256 of a large file, the git hash (SHA-1) of a small one. */
interface Remote {
  readonly path: string;
  readonly size: number;
  readonly etag: string;
  readonly large: boolean;
}

/** Files that the Hub is asked about. `needed` picks the files to download. */
const FILES = [
  'config.json',
  'model.safetensors',
  'pytorch_model.bin',
  'tokenizer.json',
  'vocab.txt',
  'tokenizer_config.json',
];
const COMMIT = /^[0-9a-f]{40}$/;
const ID = /^[\w-][\w.-]*\/[\w-][\w.-]*$/;

/**
 * Picks the files to load from those that are there. Prefers safetensors to pickles, and tokenizer.json to vocab.txt.
 * @throws BertletError `file` if a file is missing
 */
function needed(id: string, there: (path: string) => boolean, where: string): string[] {
  const choose = (...paths: string[]) => {
    const found = paths.find(there);
    if (found) return found;
    const message = `${id}: expected ${paths.join(' or ')} ${where}, got none`;
    const advice = `Fetch ${FILES.join(', ')} of https://huggingface.co/${id}, as far as it has them, into a folder and load that folder.`;
    throw new BertletError('file', `${message}. ${advice}`);
  };
  const weights = choose('model.safetensors', 'pytorch_model.bin');
  const files = [choose('config.json'), choose('tokenizer.json', 'vocab.txt'), 'tokenizer_config.json'];
  return [...files.filter(there), weights]; // the weights come last: if they are in the cache, all other files are
}

/**
 * Finds the files of a model. A name `owner/name` that no folder here has is a model of the Hub; every other name is
 * returned unchanged, as a folder or an address. In Node, a model of the Hub is downloaded to the cache, and its folder
 * is returned. In a page, the address of the model's files is returned.
 * @throws BertletError `file` if a file is missing, cannot be downloaded, or has another hash than on the Hub; `input`
 * for an impossible revision
 */
export async function locate(model: string, options: HubOptions = {}): Promise<string> {
  const { revision = 'main', endpoint = (inNode && process.env.HF_ENDPOINT) || 'https://huggingface.co' } = options;
  if (!ID.test(model) || model.includes('..')) return model;
  if (inNode && (await import('node:fs')).existsSync(model)) return model;
  if (!/^\w[\w./-]*$/.test(revision) || revision.includes('..')) {
    throw inputError('revision', 'a branch, a tag or a commit', JSON.stringify(revision));
  }
  const hub = { ...options, revision, endpoint: endpoint.replace(/\/$/, '') };
  return inNode ? download(model, hub) : address(model, hub);
}
type Hub = HubOptions & Required<Pick<HubOptions, 'revision' | 'endpoint'>>;

/** In a page: returns the address of a commit's files. Without a network, the commit is that of the last visit. */
async function address(id: string, { revision, endpoint }: Hub): Promise<string> {
  const url = `${endpoint}/api/models/${id}/revision/${revision}`;
  const kept = await globalThis.caches?.open(CACHE);
  try {
    const response = await fetch(url);
    if (!response.ok) throw Object.assign(new Error(), { statusCode: response.status });
    await kept?.put(url, response.clone());
    const { sha } = (await response.json()) as { sha: string };
    return `${endpoint}/${id}/resolve/${sha}`;
  } catch (cause) {
    const last = cause instanceof TypeError ? await kept?.match(url) : undefined;
    if (!last) throw refusal(id, { revision, endpoint }, cause);
    return `${endpoint}/${id}/resolve/${((await last.json()) as { sha: string }).sha}`;
  }
}

/**
 * In Node: returns the snapshot folder of a model, after downloading the files that the cache lacks. Reads the
 * environment variables HF_TOKEN and HF_HUB_OFFLINE, and HF_HUB_CACHE, HF_HOME and XDG_CACHE_HOME for the cache's
 * place.
 */
async function download(id: string, hub: Hub): Promise<string> {
  const { revision } = hub;
  const { existsSync } = await import('node:fs');
  const { join } = await import('node:path');
  const folder = join(await cacheFolder(), `models--${id.replace('/', '--')}`);
  const complete = async () => {
    const snapshot = join(folder, 'snapshots', (await cachedCommit(folder, revision)) ?? 'none');
    needed(id, (path) => existsSync(join(snapshot, path)), `of revision ${revision} in the cache ${folder}`);
    return snapshot;
  };
  if (/^(1|on|yes|true)$/i.test(process.env.HF_HUB_OFFLINE ?? '')) {
    return complete().catch((error: BertletError) => {
      throw new BertletError('file', `HF_HUB_OFFLINE is set, and ${error.message}`);
    });
  }
  if (COMMIT.test(revision)) {
    const snapshot = await complete().catch(() => null);
    if (snapshot) return snapshot; // a commit never changes
  }
  let remote: Awaited<ReturnType<typeof ask>>;
  try {
    remote = await ask(id, hub);
  } catch (cause) {
    const snapshot = cause instanceof TypeError ? await complete().catch(() => null) : null; // no network
    if (snapshot) return snapshot;
    throw refusal(id, hub, cause);
  }
  const there = (path: string) => remote.files.has(path);
  for (const path of needed(id, there, `at revision ${revision}`)) {
    await fetchFile(id, folder, remote.commit, remote.files.get(path)!, hub);
  }
  await writeRef(folder, revision, remote.commit);
  return join(folder, 'snapshots', remote.commit);
}

/** Loads the package @huggingface/hub, only when a model of the Hub is needed: folders work without the package. */
async function library() {
  try {
    return await import('@huggingface/hub');
  } catch (cause) {
    const advice = 'Install it: `npm install @huggingface/hub`. Or download the files and load their folder.';
    const message = `hub: expected the package \`@huggingface/hub\`, got none that loads (${(cause as Error).message}).`;
    throw new BertletError('file', `${message} ${advice}`, { cause });
  }
}

const access = ({ endpoint }: Hub) => ({
  hubUrl: endpoint,
  ...(process.env.HF_TOKEN && { accessToken: process.env.HF_TOKEN }),
});

/** Asks the Hub for the commit of a revision and the files of that commit. */
async function ask(id: string, hub: Hub): Promise<{ commit: string; files: Map<string, Remote> }> {
  const { modelInfo, pathsInfo } = await library();
  const { sha } = await modelInfo({ name: id, revision: hub.revision, additionalFields: ['sha'], ...access(hub) });
  const found = await pathsInfo({ repo: id, revision: sha, paths: FILES, ...access(hub) });
  const files = found.map(
    ({ path, size, lfs, oid }) => [path, { path, size, etag: lfs?.oid ?? oid!, large: lfs !== undefined }] as const,
  );
  if (!COMMIT.test(sha) || files.some(([, { etag }]) => !/^[0-9a-f]{40,64}$/.test(etag))) {
    throw new Error('hashes that are none');
  }
  return { commit: sha, files: new Map(files) };
}

/** Makes the error for a model that is neither a folder nor available on the Hub. */
function refusal(id: string, { revision, endpoint }: Pick<Hub, 'revision' | 'endpoint'>, cause: unknown): BertletError {
  if (cause instanceof BertletError) return cause;
  const status = (cause as { statusCode?: number }).statusCode;
  const advice =
    {
      401: 'Set HF_TOKEN to a token that may read it, and check the name.',
      403: 'Set HF_TOKEN to a token that may read it, and accept its terms on the Hub.',
      404: 'Check the name and the revision.',
    }[status ?? 0] ?? 'Check the network and HF_ENDPOINT, or load a folder.';
  const got = status ? `HTTP status ${status}` : `${(cause as Error).message}`;
  const message = `${id}: no folder here has this name, and of ${endpoint} an answer was expected for revision ${revision}, got ${got}. ${advice}`;
  return new BertletError('file', message, { cause });
}

/**
 * Downloads a file to a temporary name and renames it to its blob after size and hash were checked. Then links the
 * snapshot to the blob.
 */
async function fetchFile(id: string, folder: string, commit: string, file: Remote, hub: Hub) {
  const fs = await import('node:fs');
  const { join } = await import('node:path');
  const { createHash, randomUUID } = await import('node:crypto');
  const link = join(folder, 'snapshots', commit, file.path);
  if (fs.existsSync(link)) return;
  const blob = join(folder, 'blobs', file.etag);
  const temporary = `${blob}.${randomUUID()}.incomplete`;
  const wrong = (expected: unknown, got: unknown, cause?: unknown) => {
    const message = `${id}/${file.path}: expected ${expected}, got ${got}. Nothing is kept of it: try again.`;
    return new BertletError('file', message, { cause });
  };
  for (const path of [join(folder, 'blobs'), join(folder, 'snapshots', commit)])
    fs.mkdirSync(path, { recursive: true });
  if (!fs.existsSync(blob)) {
    const hash = createHash(file.large ? 'sha256' : 'sha1');
    if (!file.large) hash.update(`blob ${file.size}\0`); // the hash of a file in git begins with this header
    const output = fs.openSync(temporary, 'w');
    let loaded = 0;
    let begin = '';
    try {
      const { downloadFile } = await library();
      const body = await downloadFile({ repo: id, path: file.path, revision: commit, ...access(hub) });
      if (!body) throw wrong('a file', 'none');
      for await (const chunk of body.stream() as unknown as AsyncIterable<Uint8Array>) {
        if (loaded === 0) begin = new TextDecoder().decode(chunk.subarray(0, 64));
        hash.update(chunk);
        fs.writeSync(output, chunk);
        loaded += chunk.length;
        if (loaded > file.size) break;
        hub.onProgress?.({ file: file.path, loaded, total: file.size });
      }
      fs.fsyncSync(output);
      const kind = /^\s*<(!doctype|html)/i.test(begin)
        ? ', an HTML page'
        : begin.startsWith('version https://git-lfs')
          ? ', a git-LFS pointer'
          : '';
      if (loaded !== file.size) throw wrong(`${file.size} bytes`, `${loaded > file.size ? 'more' : loaded}${kind}`);
      const digest = hash.digest('hex');
      if (digest !== file.etag) throw wrong(`the hash ${file.etag}`, `${digest}${kind}`);
      fs.renameSync(temporary, blob);
    } catch (cause) {
      throw cause instanceof BertletError
        ? cause
        : wrong(`${file.size} bytes`, `${loaded} (${(cause as Error).message})`, cause);
    } finally {
      fs.closeSync(output);
      fs.rmSync(temporary, { force: true });
    }
  }
  try {
    fs.symlinkSync(join('..', '..', 'blobs', file.etag), link);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return; // another process was first
    fs.copyFileSync(blob, link); // Windows without permission to make links
  }
}

/** The cache folder, by the rules of huggingface_hub. */
async function cacheFolder(): Promise<string> {
  const { homedir } = await import('node:os');
  const { join } = await import('node:path');
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME } = process.env;
  const home = HF_HOME ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface');
  return HF_HUB_CACHE ?? HUGGINGFACE_HUB_CACHE ?? join(home, 'hub');
}

/** The commit of a revision at the last download, or null. */
async function cachedCommit(folder: string, revision: string): Promise<string | null> {
  if (COMMIT.test(revision)) return revision;
  const { readFile } = await import('node:fs/promises');
  const { join } = await import('node:path');
  return readFile(join(folder, 'refs', revision), 'utf8').then(
    (text) => text.trim(),
    () => null,
  );
}

/** Records the commit of a branch or tag in the cache. */
async function writeRef(folder: string, revision: string, commit: string): Promise<void> {
  if (revision === commit) return;
  const { mkdir, rename, writeFile } = await import('node:fs/promises');
  const { dirname, join } = await import('node:path');
  const path = join(folder, 'refs', revision);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.${process.pid}`, commit);
  await rename(`${path}.${process.pid}`, path);
}
