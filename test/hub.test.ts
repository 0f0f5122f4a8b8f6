// @unit
/** Downloads from a local server in place of the Hugging Face Hub: the cache, and everything that can go wrong. */
import { createHash } from 'node:crypto';
import fs, {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { homedir, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { readSafetensors } from '../src/checkpoint/safetensors.ts';
import { writeSafetensors } from '../src/checkpoint/write.ts';
import { type BertletError, load } from '../src/index.ts';
import { filesOf } from '../src/tensor.ts';
import { COMMIT, type Fault, hubServer } from './hubServer.ts';
import { expectError, GOLDEN, TINY } from './support.ts';

let server: Awaited<ReturnType<typeof hubServer>>;
let cache: string;
const model = () => join(cache, 'models--owner--name');
beforeAll(async () => {
  server = await hubServer(TINY);
});
afterAll(() => server.close());
beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), 'bertlet-hub-'));
  vi.stubEnv('HF_ENDPOINT', server.endpoint);
  vi.stubEnv('HF_HUB_CACHE', cache);
  server.faults.clear();
  server.requests.length = 0;
  server.tokens.clear();
  server.cdnTokens.clear();
  Object.assign(server.settings, { cdn: '', retryAfter: '', former: '', headers: () => ({}) });
  waits.length = 0;
  vi.stubEnv('HF_HOME', join(cache, 'home')); // where a token would be
  // The waits between two tries are made short; `fetch` has timers of its own, and silence is waited for.
  vi.stubGlobal('setTimeout', (run: () => void, wait: number, ...rest: unknown[]) => {
    const { stack = '' } = new Error();
    const between = /\bsend .*http\.ts/.test(stack) && !/expectByte/.test(stack);
    if (between) waits.push(wait);
    return realSetTimeout(run, between ? 5 : wait, ...rest);
  });
});
const waits: number[] = [];
const realSetTimeout = globalThis.setTimeout;
afterEach(() => {
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
  rmSync(cache, { recursive: true });
});

const input = { inputIds: [2, 5, 6, 3], tokenTypeIds: [0, 0, 1, 1] };
const open = (options: Parameters<typeof load>[1] = {}) =>
  load('owner/name', { device: 'reference', dtype: 'fp32', ...options });
/** All files of the cache but refs, by path; what is not whole has another name. */
const kept = () =>
  existsSync(model())
    ? readdirSync(model(), { recursive: true })
        .map(String)
        .filter((path) => !path.startsWith('refs'))
    : [];
const downloads = () => server.requests.filter((line) => /resolve|cdn/.test(line));
/** A server of a copy of the tiny model with changes. */
async function changed(change: (folder: string) => void) {
  const folder = mkdtempSync(join(tmpdir(), 'bertlet-'));
  cpSync(TINY, folder, { recursive: true });
  change(folder);
  const other = await hubServer(folder);
  rmSync(folder, { recursive: true });
  vi.stubEnv('HF_ENDPOINT', other.endpoint);
  return other;
}
const edit = (path: string, values: object) =>
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...values }));

describe('download', () => {
  test("to the Hub's cache layout; the model is the folder's; the second time nothing is downloaded", async () => {
    const progress: [file: string, loaded: number, total: number][] = [];
    const qa = await open({ onProgress: ({ file, loaded, total }) => progress.push([file, loaded, total]) });
    const folder = await load(TINY, { device: 'reference', dtype: 'fp32' });
    expect(await qa.logits(input)).toEqual(await folder.logits(input));
    expect(readFileSync(join(model(), 'refs', 'main'), 'utf8')).toBe(COMMIT);
    const snapshot = join(model(), 'snapshots', COMMIT);
    expect(readdirSync(snapshot).toSorted()).toEqual([
      'config.json',
      'model.safetensors',
      'tokenizer_config.json',
      'vocab.txt',
    ]);
    for (const name of readdirSync(snapshot)) {
      expect(lstatSync(join(snapshot, name)).isSymbolicLink()).toBe(true);
      expect(readlinkSync(join(snapshot, name))).toMatch(/^\.\.\/\.\.\/blobs\/[0-9a-f]{40,64}$/);
      expect(readFileSync(join(snapshot, name))).toEqual(readFileSync(join(TINY, name)));
    }
    const size = readFileSync(join(TINY, 'model.safetensors')).length;
    expect(progress).toContainEqual(['model.safetensors', size, size]);
    server.requests.length = 0;
    await open();
    expect(server.requests).toEqual(['HEAD /owner/name/resolve/main/config.json']); // not even for files that are not there
  });
  test('a tag, and a commit, which is not even asked for again', async () => {
    await open({ revision: 'v1' });
    expect(readFileSync(join(model(), 'refs', 'v1'), 'utf8')).toBe(COMMIT);
    server.requests.length = 0;
    await open({ revision: COMMIT });
    expect(server.requests).toEqual([]);
  });
  test('HF_TOKEN is sent', async () => {
    vi.stubEnv('HF_TOKEN', 'hf_secret');
    await open();
    expect([...server.tokens]).toEqual(['Bearer hf_secret']);
  });
  test('a slow server', async () => {
    server.faults.set('model.safetensors', 'slow');
    await open();
  });
  test('a folder of that name comes first', async () => {
    const before = process.cwd();
    const root = mkdtempSync(join(tmpdir(), 'bertlet-'));
    cpSync(TINY, join(root, 'owner', 'name'), { recursive: true });
    process.chdir(root);
    await open();
    process.chdir(before);
    rmSync(root, { recursive: true });
    expect(server.requests).toEqual([]);
  });
});

describe('faults: an error that says what, nothing kept, and the next try succeeds', () => {
  const faults: [Fault, RegExp][] = [
    ['cut', /model\.safetensors: expected 94264 bytes, got terminated: other side closed\. Nothing is kept/],
    ['long', /model\.safetensors: expected 94264 bytes, got more than 94264 bytes/],
    ['changed', /model\.safetensors: expected the hash [0-9a-f]{64}, got [0-9a-f]{64}/],
    ['html', /model\.safetensors: expected 94264 bytes, got 37\. Nothing is kept/],
    ['lfs-pointer', /model\.safetensors: expected 94264 bytes, got 43\. Nothing is kept/],
    ['endless', /model\.safetensors: expected 94264 bytes, got more than 94264 bytes/],
    ['bomb', /model\.safetensors: expected 94264 bytes, got more than 94264 bytes/],
    [401, /model\.safetensors: expected 94264 bytes, got/],
    [404, /model\.safetensors: expected 94264 bytes, got/],
    [500, /model\.safetensors: expected 94264 bytes, got/],
  ];
  test.each(faults)('model.safetensors: %s', async (fault, message) => {
    server.faults.set('model.safetensors', fault);
    await expectError('file', message, open);
    expect(kept().filter((path) => /incomplete|safetensors/.test(path))).toEqual([]);
    server.faults.clear();
    await open();
  });
  test('a small file that is another: git hashes it, too', async () => {
    server.faults.set('vocab.txt', 'changed');
    await expectError('file', /vocab\.txt: expected the hash [0-9a-f]{40}, got/, open);
    expect(kept().filter((path) => /incomplete|vocab/.test(path))).toEqual([]);
  });
  test.each([
    [401, /got HTTP status 401\. Set HF_TOKEN/],
    [403, /got HTTP status 403\. Set HF_TOKEN .* accept its terms/],
    [404, /got HTTP status 404\. Check the name and the revision\. A package with weights is found in Node alone\./],
    [500, /got HTTP status 500, and nothing in the cache .*\. Check the network/],
  ] as const)('the model: %d', async (fault, message) => {
    server.faults.set('*', fault);
    await expectError('file', message, open);
    expect(kept()).toEqual([]);
  });
  test('a revision that does not exist, and one that is no name', async () => {
    await expectError('file', /, revision v9, got HTTP status 404\. Check the name and the revision/, () =>
      open({ revision: 'v9' }),
    );
    await expectError('input', /revision: expected a branch, a tag or a commit/, () => open({ revision: '../../x' }));
  });
});

describe('a mirror', () => {
  const plain = (name: string) =>
    createHash('sha1')
      .update(readFileSync(join(TINY, name)))
      .digest('hex');
  const snapshot = () => join(model(), 'snapshots', COMMIT);
  test('that has /resolve/ alone: one HEAD for each file that may be there, one GET for each that is', async () => {
    await open();
    expect(server.requests.filter((line) => !/ \/(owner\/name\/resolve|cdn)\//.test(line))).toEqual([]);
    const heads = server.requests.filter((line) => line.startsWith('HEAD'));
    expect(heads.map((line) => line.split('/').at(-1))).toEqual([
      'config.json',
      'tokenizer_config.json',
      'tokenizer.json',
      'special_tokens_map.json',
      'added_tokens.json',
      'vocab.txt',
      'model.safetensors',
    ]);
    expect(server.requests.filter((line) => line.startsWith('GET /owner')).length).toBe(4);
  });
  test('that says nothing about a file that is not there', async () => {
    server.settings.headers = (path) => (existsSync(join(TINY, path)) ? {} : { 'x-repo-commit': undefined });
    await open();
    server.requests.length = 0;
    await open({ revision: COMMIT });
    expect(server.requests).toEqual([]);
  });
  test('that tells the plain SHA-1 of a file, or another mark: the size is compared, and a hash', async () => {
    server.settings.headers = (path) => (path === 'config.json' ? { etag: `W/"${plain(path)}"` } : {});
    await open();
    expect(readlinkSync(join(snapshot(), 'config.json'))).toBe(`../../blobs/${plain('config.json')}`);
    rmSync(model(), { recursive: true });
    server.settings.headers = (path) => (path === 'vocab.txt' ? { etag: '"5f3e-2b"' } : {});
    await open();
    expect(readlinkSync(join(snapshot(), 'vocab.txt'))).toBe('../../blobs/5f3e-2b');
  });
  test('that has the metadata of a large file at another host, which is not told the token', async () => {
    vi.stubEnv('HF_TOKEN', 'hf_secret');
    server.settings.cdn = server.endpoint.replace('127.0.0.1', 'localhost');
    server.settings.headers = () => ({ 'x-linked-size': undefined });
    await open();
    expect(server.requests).toContain('HEAD /cdn/model.safetensors');
    expect([[...server.tokens], [...server.cdnTokens]]).toEqual([['Bearer hf_secret'], [undefined]]);
  });
  test.each<[string, Record<string, string | undefined>, RegExp]>([
    ['no commit', { 'x-repo-commit': undefined }, /got an answer without X-Repo-Commit, and nothing in the cache/],
    ['a commit that is none', { 'x-repo-commit': '../../x' }, /got an answer without X-Repo-Commit/],
    ['no ETag', { etag: undefined }, /config\.json: expected an ETag, and at most 268435456 bytes, got "" and \d+\./],
    [
      'an ETag that is a path',
      { etag: '"../../../x"' },
      /config\.json: expected an ETag, .*, got "\.\.\/\.\.\/\.\.\/x" and/,
    ],
    ['no size', { 'x-linked-size': 'many' }, /config\.json: expected an ETag, .* and NaN\./],
    [
      '2^40 bytes',
      { 'x-linked-size': `${2 ** 40}` },
      /config\.json: expected .* at most 268435456 bytes, .* and 1099511627776\./,
    ],
    ['fewer bytes than there are', { 'x-linked-size': '5' }, /config\.json: expected 5 bytes, got more than 5 bytes\./],
    ['another hash', { etag: `"${'0'.repeat(40)}"` }, /config\.json: expected the hash 0{40}, got [0-9a-f]{40}\./],
  ])('that tells %s is refused, and nothing is kept', async (_, headers, message) => {
    server.settings.headers = () => headers;
    await expectError('file', message, open);
    expect(
      kept().filter((path) => /^(blobs|snapshots).*\./.test(path) || /\w{40}$/.test(path.split('blobs')[1] ?? '')),
    ).toEqual([]);
  });
  test.each(['endless', 'bomb'] as const)('whose small file is %s: no more is taken than its size', async (fault) => {
    server.faults.set('config.json', fault);
    await expectError('file', /config\.json: expected (\d+) bytes, got more than \1 bytes\. Nothing is kept/, open);
    expect(kept().filter((path) => path.startsWith('blobs/'))).toEqual([]);
  });
  test('whose network breaks off between two files: an error, and no model without them', async () => {
    server.faults.set('*', ['none', 503, 503, 503, 503, 503]);
    await expectError('file', /revision main, got HTTP status 503\. Check the network/, open);
    await open();
  });
  test('a model by its former name, as tutorials write it without an owner', async () => {
    server.settings.former = 'bert-qa';
    const options = { device: 'reference', dtype: 'fp32' } as const;
    const qa = await load('bert-qa', options);
    expect(await qa.logits(input)).toEqual(await (await load(TINY, options)).logits(input));
    expect(readdirSync(cache)).toContain('models--bert-qa'); // as in Python
    server.requests.length = 0;
    await load('https://huggingface.co/bert-qa', options);
    expect(server.requests).toEqual([
      'HEAD /bert-qa/resolve/main/config.json',
      'HEAD /owner/name/resolve/main/config.json',
    ]);
  });
});

describe('what cannot run is refused before its weights are asked for', () => {
  test('another architecture: after config.json alone', async () => {
    const other = await changed((folder) => edit(join(folder, 'config.json'), { model_type: 't5' }));
    await expectError('config', /config\.json: expected model_type .*, got "t5"/, open);
    expect(other.requests).toEqual([
      'HEAD /owner/name/resolve/main/config.json',
      `GET /owner/name/resolve/${COMMIT}/config.json`,
    ]);
    other.close();
  });
  test('a RoBERTa without tokenizer.json: vocab.json and merges.txt come with it', async () => {
    const folder = join(GOLDEN, 'checkpoints', 'roberta');
    const options = { device: 'reference', dtype: 'fp32' } as const;
    const ask = { question: 'Who came?', context: 'Ada came to town.' };
    const want = await (await load(folder, options)).answer(ask);
    const hub = await hubServer(folder, 'owner/roberta');
    try {
      const qa = await load('owner/roberta', { ...options, endpoint: hub.endpoint });
      expect(await qa.answer(ask)).toEqual(want);
    } finally {
      await hub.close();
    }
  });
  test('a tokenizer of another model', async () => {
    const other = await changed((folder) => fs.appendFileSync(join(folder, 'vocab.txt'), '\nzz\nzzz\n'));
    await expectError('tokenizer', /expected at most 100 tokens/, open);
    expect(other.requests.filter((line) => line.includes('safetensors'))).toEqual([]);
    other.close();
  });
  test('no weights: what was looked for, and where', async () => {
    const other = await changed((folder) => rmSync(join(folder, 'model.safetensors')));
    await expectError(
      'file',
      /^owner\/name, revision main: expected model\.safetensors or .* or pytorch_model\.bin .*, got none\. A checkpoint is/,
      open,
    );
    other.close();
  });
});

describe('weights in several files', () => {
  const shards = (folder: string) => {
    const all = [...readSafetensors(readFileSync(join(folder, 'model.safetensors')))];
    rmSync(join(folder, 'model.safetensors'));
    const files = [all.slice(0, 9), all.slice(9)].map((part, i) => {
      const name = `model-0000${i + 1}-of-00002.safetensors`;
      writeFileSync(join(folder, name), writeSafetensors(part));
      return part.map(([tensor]) => [tensor, name] as const);
    });
    const index = { metadata: {}, weight_map: Object.fromEntries(files.flat()) };
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify(index));
  };
  test('from the Hub, and from its cache', async () => {
    const other = await changed(shards);
    const qa = await open();
    const folder = await load(TINY, { device: 'reference', dtype: 'fp32' });
    expect(await qa.logits(input)).toEqual(await folder.logits(input));
    expect(kept().filter((path) => /snapshots.*safetensors/.test(path)).length).toBe(3);
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    await open();
    rmSync(realpathSync(join(model(), 'snapshots', COMMIT, 'model-00002-of-00002.safetensors')));
    await expectError(
      'file',
      /, revision main, of the cache .* alone \(HF_HUB_OFFLINE is set\): expected model-00002-of-00002\.safetensors, got none/,
      open,
    );
    other.close();
  });
  test('one that the Hub has not', async () => {
    const other = await changed((folder) => {
      shards(folder);
      rmSync(join(folder, 'model-00002-of-00002.safetensors'));
    });
    await expectError('file', /owner\/name, revision main: expected model-00002-of-00002\.safetensors, got none/, open);
    other.close();
  });
});

describe('a bad network', () => {
  test('a busy server and broken connections: it goes on where it broke off', async () => {
    server.faults.set('*', [503, 'none', 500]);
    server.faults.set('model.safetensors', [429, 'cut', 'cut', 'none']);
    server.faults.set('vocab.txt', ['cut']);
    await open();
    const ranges = downloads().flatMap((line) => (line.startsWith('GET /cdn/model') ? [line.split(' ')[2]] : []));
    expect(ranges.slice(0, 2)).toEqual([undefined, undefined]);
    expect(ranges.length).toBe(4);
    expect(Number(/\d+/.exec(ranges[2]!)![0])).toBeGreaterThan(0);
    expect(Number(/\d+/.exec(ranges[3]!)![0])).toBeGreaterThan(Number(/\d+/.exec(ranges[2]!)![0]));
    expect(waits.length).toBe(6);
    expect(kept().filter((path) => /incomplete/.test(path))).toEqual([]);
  });
  test('a server that begins anew', async () => {
    server.faults.set('model.safetensors', ['cut', 'no-range']);
    const loaded: number[] = [];
    await open({ onProgress: (progress) => progress.file === 'model.safetensors' && loaded.push(progress.loaded) });
    expect(loaded.filter((bytes, i) => i > 0 && bytes < loaded[i - 1]!).length).toBeLessThan(2); // then it is read
  });
  test('each wait is longer than the last, and there is an end', async () => {
    server.faults.set('*', 503);
    await expectError('file', /got HTTP status 503, and nothing in the cache .*\. Check the network/, open);
    expect(waits).toEqual([250, 500, 1000, 2000]);
  });
  test('Retry-After is kept to, or told', async () => {
    server.faults.set('*', [429]);
    server.settings.retryAfter = '7';
    await open();
    expect(waits).toEqual([7000]);
    rmSync(model(), { recursive: true });
    server.settings.retryAfter = new Date(Date.now() + 3_600_000).toUTCString();
    server.faults.set('*', [429]);
    await expectError('file', /got HTTP status 429, to be asked again in 3[56]\d\d s/, open);
  });
  test('silence has an end', async () => {
    vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', '0.2');
    server.faults.set('*', ['silent']);
    server.faults.set('model.safetensors', ['silent', 'silent']);
    await open();
    rmSync(model(), { recursive: true });
    server.faults.set('vocab.txt', 'silent');
    await expectError('file', /vocab\.txt: expected 348 bytes, got no byte for 0\.2 s/, open);
    rmSync(model(), { recursive: true });
    server.faults.set('*', 'silent');
    await expectError('file', /a model of http.*, revision main, got no byte for 0\.2 s/, open);
  });
  test.each(['*', 'config.json', 'model.safetensors'])(
    'a signal ends a download whose server is silent, for %s: its reason, and nothing is left',
    async (file) => {
      server.faults.set(file, 'silent');
      const stop = new AbortController();
      const reason = new Error('the visitor left');
      const opened = open({ signal: stop.signal });
      const of = { '*': /\/resolve\/main\//, 'config.json': /^(GET )?\S+config/, 'model.safetensors': /\/cdn\// }[
        file
      ]!;
      const asked = (line: string) => of.test(line);
      await expect.poll(() => server.requests.some((line) => asked(line)), { timeout: 20_000 }).toBe(true);
      stop.abort(reason);
      await expect(opened).rejects.toBe(reason);
      await expect.poll(() => server.left.some(asked), { timeout: 20_000 }).toBe(true);
      expect(kept().filter((path) => /incomplete|safetensors/.test(path))).toEqual([]);
      server.faults.clear();
      await open();
    },
  );
  test('an answer that is not the Hub’s: the cache is used', async () => {
    await open();
    server.faults.set('*', 'html');
    await open();
    rmSync(model(), { recursive: true });
    await expectError('file', /got an answer without X-Repo-Commit/, open);
  });
});

describe('the cache', () => {
  const snapshot = (name: string) => join(model(), 'snapshots', COMMIT, name);
  test('a damaged file: the error names its path, and once it is removed it is fetched again', async () => {
    await open();
    const path = realpathSync(snapshot('model.safetensors'));
    truncateSync(path, 90_000);
    await expectError('safetensors', new RegExp(`^${snapshot('model.safetensors')}: expected 94264 bytes`), open);
    rmSync(path);
    await open();
    expect(readFileSync(path)).toEqual(readFileSync(join(TINY, 'model.safetensors')));
  });
  test('a blob that is there already is linked to, if it has its size', async () => {
    await open();
    const path = realpathSync(snapshot('model.safetensors'));
    rmSync(join(model(), 'snapshots'), { recursive: true });
    server.requests.length = 0;
    await open();
    expect(server.requests.filter((line) => line.startsWith('GET'))).toEqual([]);
    rmSync(join(model(), 'snapshots'), { recursive: true });
    truncateSync(path, 90_000);
    await open();
    expect(server.requests.filter((line) => line.startsWith('GET'))).toEqual([
      `GET /owner/name/resolve/${COMMIT}/model.safetensors`,
      'GET /cdn/model.safetensors',
    ]);
  });
  test('partial files that nobody has written to for a day are removed', async () => {
    const blobs = join(model(), 'blobs');
    mkdirSync(blobs, { recursive: true });
    const [old, living] = ['old', 'living'].map((name) => join(blobs, `${'0'.repeat(64)}.${name}.incomplete`));
    for (const path of [old!, living!]) writeFileSync(path, 'x');
    utimesSync(old!, 0, 0);
    await open();
    expect(readdirSync(blobs).filter((name) => name.endsWith('.incomplete'))).toEqual([basename(living!)]);
  });
  test('a disk that takes a part of each write, and one that is full', async () => {
    const { writeSync } = fs;
    const patch = (write: typeof writeSync) => {
      fs.writeSync = write;
      syncBuiltinESMExports();
    };
    try {
      patch(((file: number, bytes: Uint8Array, at: number) =>
        writeSync(file, bytes.subarray(at, at + Math.max(1, (bytes.length - at) >> 1)))) as never);
      await open();
      expect(readFileSync(snapshot('model.safetensors'))).toEqual(readFileSync(join(TINY, 'model.safetensors')));
      rmSync(model(), { recursive: true });
      patch(() => {
        throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' });
      });
      await expectError(
        'file',
        /expected a cache with room for the \d+ bytes of config\.json, got ENOSPC.* Set HF_HOME/,
        open,
      );
      expect(kept().filter((path) => /incomplete|blobs.*\w{40}/.test(path))).toEqual([]);
    } finally {
      patch(writeSync);
    }
    await open();
  });
  test('that cannot be written: an error, or what it has', async () => {
    const file = join(cache, 'file');
    writeFileSync(file, '');
    vi.stubEnv('HF_HUB_CACHE', join(file, 'hub'));
    await expectError(
      'file',
      /expected a cache with room for .* got EN?OTDIR.* Set HF_HOME to a folder that can be written/,
      open,
    );
    vi.stubEnv('HF_HUB_CACHE', cache);
    await open();
    rmSync(join(model(), 'refs'), { recursive: true });
    writeFileSync(join(model(), 'refs'), ''); // no ref can be written
    const { mkdirSync: mkdir } = fs;
    fs.mkdirSync = () => {
      throw new Error('a write');
    };
    syncBuiltinESMExports();
    await open().finally(() => {
      fs.mkdirSync = mkdir;
      syncBuiltinESMExports();
    });
  });
  test('its place: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME or the home folder, as in Python; ~ is the home folder', async () => {
    const place = async (env: Record<string, string>) => {
      for (const name of ['HF_HUB_CACHE', 'HF_HOME', 'XDG_CACHE_HOME']) vi.stubEnv(name, env[name]);
      vi.stubEnv('HF_HUB_OFFLINE', '1');
      const error = await open().catch((error: BertletError) => error);
      return /nothing in the cache (.*)\/models--owner--name/.exec((error as BertletError).message)?.[1];
    };
    expect(await place({ HF_HUB_CACHE: '/somewhere', HF_HOME: '/hf' })).toBe('/somewhere');
    expect(await place({ HF_HUB_CACHE: '', HF_HOME: '~/hf' })).toBe(join(homedir(), 'hf', 'hub'));
    expect(await place({ HF_HOME: 'hf~' })).toBe('hf~/hub');
    expect(await place({ XDG_CACHE_HOME: '/cache' })).toBe('/cache/huggingface/hub');
    expect(await place({})).toBe(join(homedir(), '.cache', 'huggingface', 'hub'));
  });
});

describe('the token', () => {
  test('of `hf auth login`, and none to another host', async () => {
    mkdirSync(join(cache, 'home'));
    writeFileSync(join(cache, 'home', 'token'), 'hf_login\n');
    server.settings.cdn = server.endpoint.replace('127.0.0.1', 'localhost');
    await open();
    expect([...server.tokens]).toEqual(['Bearer hf_login']);
    expect([...server.cdnTokens]).toEqual([undefined]);
    rmSync(model(), { recursive: true });
    server.tokens.clear();
    vi.stubEnv('HF_TOKEN_PATH', join(cache, 'elsewhere'));
    await open();
    vi.stubEnv('HF_TOKEN_PATH', undefined);
    vi.stubEnv('HF_HUB_DISABLE_IMPLICIT_TOKEN', '1');
    await open();
    expect([...server.tokens]).toEqual([undefined]);
  });
  test('that no header can have: it is not told', async () => {
    vi.stubEnv('HF_TOKEN', 'hf_sécret\n\0x');
    await expectError('input', /^HF_TOKEN: expected a token of printable characters[^é]*$/, open);
  });
});

describe('names', () => {
  test.each(['refs/pr/1', 'fix+1'])('revision %s', async (revision) => {
    await open({ revision });
    expect(readFileSync(join(model(), 'refs', revision), 'utf8')).toBe(COMMIT);
    expect(server.requests[0]).toBe(`HEAD /owner/name/resolve/${encodeURIComponent(revision)}/config.json`);
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    await open({ revision });
  });
  test.each([
    '',
    '/a',
    'a/',
    'a..b',
    'a//b',
    '-a',
    '.a',
    'a/.b',
    'a b',
    'a~1',
    'a^',
    'a:b',
    'a?',
    'a*',
    'a[b',
    'a\\b',
    'a@{1}',
    'a\0',
    'a.',
  ])('revision %j is none', (revision) =>
    expectError('input', /revision: expected a branch, a tag or a commit/, () => open({ revision })),
  );
  test('an address of the Hub', async () => {
    const config = async (address: string, options = {}) =>
      (await (await filesOf(address, options)).open('config.json'))?.name;
    const from = (path: string, options = {}) => config(`${server.endpoint}/owner/name${path}`, options);
    for (const path of ['', '/', '/tree/main', '/blob/main/config.json?x#y']) await from(path);
    expect(new Set(server.requests.filter((line) => line.startsWith('HEAD')))).toEqual(
      new Set(['HEAD /owner/name/resolve/main/config.json']),
    );
    server.requests.length = 0;
    await from('/tree/refs%2Fpr%2F1');
    expect(server.requests[0]).toContain('resolve/refs%2Fpr%2F1');
    await expectError('input', /revision: expected v1, as in the address, got "main"/, () =>
      from('/tree/v1', { revision: 'main' }),
    );
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    for (const hub of ['https://huggingface.co', 'http://hf.co', 'huggingface.co', 'https://www.huggingface.co']) {
      expect(await config(`${hub}/owner/name`)).toBe(join(model(), 'snapshots', COMMIT, 'config.json'));
    }
  });
  test.each(['model.safetensors', 'config.json'])('a file of a model, %s: the folder is meant', async (file) => {
    await expectError('file', /expected a checkpoint's folder, got a file\. Load the folder that it is in/, () =>
      load(`${TINY}/${file}`),
    );
  });
  test('a file: address', async () => expect((await filesOf(pathToFileURL(TINY).href)).name).toBe(TINY));
  test.each<[string, 'input' | 'file', RegExp]>([
    [
      'distilbert-qa',
      'file',
      /^distilbert-qa: expected a folder here or a model of http.*, revision main, got HTTP status 404\. A model of the Hub is owner\/name: https:\/\/huggingface\.co\/models\?search=distilbert-qa finds it\.$/,
    ],
    [
      'owner/name@v1',
      'input',
      /^model: expected owner\/name, got "owner\/name@v1"\. Give the revision as an option: \{ revision: "v1" \}\.$/,
    ],
    ['owner/name:refs/pr/1', 'input', /Give the revision as an option: \{ revision: "refs\/pr\/1" \}/],
    ['./nowhere', 'file', /^\.\/nowhere: expected config\.json, got none\. A checkpoint is a folder/],
    ['ftp://example.org/model', 'input', /^model: expected a folder, an address, owner\/name/],
    ['https://huggingface.co/datasets/a/b', 'input', /expected the address of a model/],
    ['file://elsewhere/model', 'input', /expected a file: address of this machine/],
  ])('%s', (name, code, message) => expectError(code, message, () => load(name)));
});

describe('offline', () => {
  test('HF_HUB_OFFLINE: from the cache without a request; without it, an error that says what to fetch', async () => {
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    await expectError(
      'file',
      /^owner\/name: expected .*, got HF_HUB_OFFLINE is set, and nothing in the cache .*models--owner--name\. Check .*HF_HUB_OFFLINE, or load a folder\.$/,
      open,
    );
    vi.stubEnv('HF_HUB_OFFLINE', '0');
    await open();
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    server.requests.length = 0;
    await open();
    expect(server.requests).toEqual([]);
  });
  test('no network: the cache is used; without it, an error', async () => {
    await open();
    vi.stubEnv('HF_ENDPOINT', 'http://127.0.0.1:9');
    await open();
    await expectError(
      'file',
      /^owner\/other: expected a folder here or a model of http:\/\/127\.0\.0\.1:9, revision main, got fetch failed: .*, and nothing in the cache .*\. Check the network/,
      () => load('owner/other'),
    );
  });
});
