/**
 * Downloads a model from the Hugging Face Hub into its cache, which Python's huggingface_hub shares:
 * `models--<owner>--<name>/` with `blobs/<etag>`, `snapshots/<commit>/<file>` that link to them, and `refs/<revision>`.
 * Source of the layout and of the environment's names: huggingface_hub's guide "Understand caching".
 */

import { BertletError, inputError } from '../errors.ts';
import { inNode } from '../platform.ts';
import { CACHE, type OnProgress } from './source.ts';

export interface HubOptions {
  /** Branch, tag or commit. Default main. */
  revision?: string;
  /** Address of the Hub. Default: HF_ENDPOINT, or https://huggingface.co. */
  endpoint?: string;
  onProgress?: OnProgress;
}
/** What the Hub says of a file: git's hash of a small one, the SHA-256 of a large one. */
interface Remote {
  readonly path: string;
  readonly size: number;
  readonly etag: string;
  readonly large: boolean;
}

/** Of these the Hub is asked; which are needed says `needed`. */
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

/** The files to load, of those there are: rather safetensors than pickles, tokenizer.json than vocab.txt. */
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
  return [...files.filter(there), weights]; // last: where they are, the others are
}

/**
 * Where the files of a model are: the folder of this name, or, for a name `owner/name` that no folder here has, the Hub's
 * model. Node downloads it to the cache; a page gets the address of its files, which are kept in its Cache Storage.
 * @throws BertletError `file` where a file cannot be had, or is not what the Hub says it is; `input` for a revision that
 * is none.
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

/** In a page: the address of the commit's files; without network, of the commit of the last time. */
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
 * A folder with the model's files: from the cache, or downloaded to it. Of the environment it takes HF_TOKEN,
 * HF_HUB_OFFLINE, and for the cache's place HF_HUB_CACHE, HF_HOME and XDG_CACHE_HOME.
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

/** The package is loaded when it is needed: whoever has a folder does not. */
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

/** Downloads a file under a name of this process's own, and gives it the blob's when it is whole and right. */
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
    if (!file.large) hash.update(`blob ${file.size}\0`); // git's hash of a file
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
    fs.copyFileSync(blob, link); // Windows without the right to make links
  }
}

async function cacheFolder(): Promise<string> {
  const { homedir } = await import('node:os');
  const { join } = await import('node:path');
  const { HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME } = process.env;
  const home = HF_HOME ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface');
  return HF_HUB_CACHE ?? HUGGINGFACE_HUB_CACHE ?? join(home, 'hub');
}

/** The commit that a revision was when it was last asked for, or null. */
async function cachedCommit(folder: string, revision: string): Promise<string | null> {
  if (COMMIT.test(revision)) return revision;
  const { readFile } = await import('node:fs/promises');
  const { join } = await import('node:path');
  return readFile(join(folder, 'refs', revision), 'utf8').then(
    (text) => text.trim(),
    () => null,
  );
}

async function writeRef(folder: string, revision: string, commit: string): Promise<void> {
  if (revision === commit) return;
  const { mkdir, rename, writeFile } = await import('node:fs/promises');
  const { dirname, join } = await import('node:path');
  const path = join(folder, 'refs', revision);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.${process.pid}`, commit);
  await rename(`${path}.${process.pid}`, path);
}
