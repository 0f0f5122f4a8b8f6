/** Downloads from a local server in place of the Hugging Face Hub: the cache, and everything that can go wrong. */
import { cpSync, existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { load } from '../src/index.ts';
import { COMMIT, type Fault, hubServer } from './hubServer.ts';
import { expectError, TINY } from './support.ts';

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
});
afterEach(() => {
  vi.unstubAllEnvs();
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
    expect(downloads()).toEqual([]);
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
    ['cut', /model\.safetensors: expected 94264 bytes, got \d+/],
    ['long', /model\.safetensors: expected 94264 bytes, got more/],
    ['changed', /model\.safetensors: expected the hash [0-9a-f]{64}, got [0-9a-f]{64}/],
    ['html', /model\.safetensors: expected 94264 bytes, got 37, an HTML page/],
    ['lfs-pointer', /model\.safetensors: expected 94264 bytes, got 43, a git-LFS pointer/],
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
    [404, /got HTTP status 404\. Check the name and the revision/],
    [500, /got HTTP status 500\. Check the network/],
  ] as const)('the model: %d', async (fault, message) => {
    server.faults.set('*', fault);
    await expectError('file', message, open);
    expect(kept()).toEqual([]);
  });
  test('a revision that does not exist, and one that is no name', async () => {
    await expectError('file', /for revision v9, got HTTP status 404/, () => open({ revision: 'v9' }));
    await expectError('input', /revision: expected a branch, a tag or a commit/, () => open({ revision: '../../x' }));
  });
  test('a server that names files outside: they are none of ours', async () => {
    await open();
    expect(kept().some((path) => path.includes('evil'))).toBe(false);
    expect(existsSync(join(cache, '..', 'evil'))).toBe(false);
  });
});

describe('offline', () => {
  test('HF_HUB_OFFLINE: from the cache without a request; without it, an error that says what to fetch', async () => {
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    await expectError(
      'file',
      /HF_HUB_OFFLINE is set, and owner\/name: expected model\.safetensors or pytorch_model\.bin of revision main in the cache .*, got none\. Fetch config\.json, .* of https:\/\/huggingface\.co\/owner\/name.* into a folder/,
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
      /owner\/other: no folder here has this name, and of http:\/\/127\.0\.0\.1:9 an answer was expected/,
      () => load('owner/other'),
    );
  });
});
