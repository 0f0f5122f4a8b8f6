/** Downloads from a local server in place of the Hugging Face Hub: the cache, and everything that can go wrong. */
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
import { homedir, hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { readSafetensors } from '../src/checkpoint/safetensors.ts';
import { writeSafetensors } from '../src/checkpoint/write.ts';
import { type BertletError, load } from '../src/index.ts';
import { locate } from '../src/tensor.ts';
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
  Object.assign(server.settings, { cdn: '', retryAfter: '' });
  waits.length = 0;
  vi.stubEnv('HF_HOME', join(cache, 'home')); // where a token would be
  // The waits between two tries are made short; `fetch` has timers of its own, and silence is waited for.
  vi.stubGlobal('setTimeout', (run: () => void, wait: number, ...rest: unknown[]) => {
    const between = /\bpause .*http\.ts/.test(new Error().stack ?? '');
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

describe('what cannot run is refused before its weights are asked for', () => {
  test('another architecture: after config.json alone', async () => {
    const other = await changed((folder) => edit(join(folder, 'config.json'), { model_type: 't5' }));
    await expectError('config', /config\.json: expected model_type .*, got "t5"/, open);
    expect(other.requests.filter((line) => !line.includes('/api/'))).toEqual([
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
      /owner\/name: expected model\.safetensors or pytorch_model\.bin at revision main, got none\. Fetch .*model\.safetensors\.index\.json/,
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
    await expectError('file', /expected model-00002-of-00002\.safetensors of revision main in the cache/, open);
    other.close();
  });
  test('one that the Hub has not', async () => {
    const other = await changed((folder) => {
      shards(folder);
      rmSync(join(folder, 'model-00002-of-00002.safetensors'));
    });
    await expectError(
      'file',
      /owner\/name: expected model-00002-of-00002\.safetensors at revision main, got none/,
      open,
    );
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
    await expectError('file', /got HTTP status 503\. Check the network/, open);
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
    server.faults.set('*', 'silent');
    await expectError('file', /an answer was expected for revision main, got no byte for 0\.2 s/, open);
  });
  test.each(['*', 'config.json', 'model.safetensors'])(
    'a signal ends a download whose server is silent, for %s: its reason, and nothing is left',
    async (file) => {
      server.faults.set(file, 'silent');
      const stop = new AbortController();
      const reason = new Error('the visitor left');
      const opened = open({ signal: stop.signal });
      const asked = (line: string) => line.includes(file === '*' ? '/revision/main' : `/${file}`);
      await expect.poll(() => server.requests.some((line) => asked(line))).toBe(true);
      stop.abort(reason);
      await expect(opened).rejects.toBe(reason);
      await expect.poll(() => server.left.some(asked)).toBe(true);
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
    await expectError('file', /got "<html>" in place of an object/, open);
  });
});

describe('the cache', () => {
  const snapshot = (name: string) => join(model(), 'snapshots', COMMIT, name);
  test.each(['model.safetensors', 'vocab.txt', 'config.json'])(
    '%s was cut: it is fetched again, or refused',
    async (name) => {
      await open();
      const whole = readFileSync(snapshot(name));
      truncateSync(realpathSync(snapshot(name)), whole.length - 2);
      server.requests.length = 0;
      if (name !== 'model.safetensors') {
        vi.stubEnv('HF_HUB_OFFLINE', '1');
        await expectError(
          'file',
          new RegExp(`HF_HUB_OFFLINE is set, and owner/name: expected a whole ${name} of`),
          open,
        );
        vi.stubEnv('HF_HUB_OFFLINE', '0');
        await open({ revision: COMMIT });
      } else await open();
      expect(readFileSync(snapshot(name))).toEqual(whole);
      expect(downloads().every((line) => line.includes(name))).toBe(true);
    },
  );
  test('a file too large to be hashed each time that was cut: its size tells', async () => {
    const left = { dtype: 'U8', shape: [17 * 2 ** 20], data: new Uint8Array(17 * 2 ** 20) } as const;
    const other = await changed((folder) => {
      const path = join(folder, 'model.safetensors');
      writeFileSync(path, writeSafetensors([...readSafetensors(readFileSync(path)), ['left', left]]));
    });
    await open();
    const path = realpathSync(snapshot('model.safetensors'));
    const { size } = fs.statSync(path);
    truncateSync(path, size - 1);
    await open();
    expect(fs.statSync(path).size).toBe(size);
    other.close();
  });
  test('a small file with another content of the same size', async () => {
    await open();
    const path = realpathSync(snapshot('vocab.txt'));
    const whole = readFileSync(path);
    writeFileSync(path, Buffer.from(whole).fill('x', 40, 44));
    await open();
    expect(readFileSync(path)).toEqual(whole);
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
  test('partial files: of a dead process it goes on with one, and those of others are left for a day', async () => {
    await open();
    const blobs = join(model(), 'blobs');
    const blob = realpathSync(snapshot('model.safetensors'));
    const whole = readFileSync(blob);
    rmSync(blob);
    const dead = (id: string) => `${blob}.${hostname()}.999999999.${id}.incomplete`;
    writeFileSync(dead('a'), whole.subarray(0, 90_000));
    writeFileSync(dead('b'), 'another');
    const living = `${blob}.${hostname()}.${process.pid}.c.incomplete`;
    const foreign = `${blob}.elsewhere.1.d.incomplete`;
    const old = join(blobs, `${'0'.repeat(64)}.incomplete`); // Python's
    for (const path of [living, foreign, old]) writeFileSync(path, 'x');
    utimesSync(old, 0, 0);
    server.requests.length = 0;
    await open();
    expect(downloads()).toContain('GET /cdn/model.safetensors bytes=90000-');
    expect(readFileSync(blob)).toEqual(whole);
    expect(
      kept()
        .filter((path) => /incomplete/.test(path))
        .map((path) => join(model(), path))
        .toSorted(),
    ).toEqual([living, foreign].toSorted());
  });
  test('~ and variables in its place, as in Python', async () => {
    vi.stubEnv('HF_HUB_CACHE', undefined);
    vi.stubEnv('HUGGINGFACE_HUB_CACHE', undefined);
    const place = async (env: Record<string, string>) => {
      for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
      vi.stubEnv('HF_HUB_OFFLINE', '1');
      const { message } = await open().then(
        () => ({ message: '' }),
        (error: BertletError) => error,
      );
      return /in the cache (.*)\/models--owner--name/.exec(message)?.[1];
    };
    vi.stubEnv('WHERE', '/somewhere');
    expect(await place({ HF_HOME: '~/hf' })).toBe(join(homedir(), 'hf', 'hub'));
    expect(await place({ HF_HOME: '$WHERE/hf' })).toBe('/somewhere/hf/hub');
    expect(await place({ HF_HOME: `\${WHERE}/$NOT_SET_HERE/a~` })).toBe('/somewhere/$NOT_SET_HERE/a~/hub');
    expect(await place({ HUGGINGFACE_HUB_CACHE: '$WHERE/old' })).toBe('/somewhere/old');
    expect(await place({ HF_HUB_CACHE: '~' })).toBe(homedir());
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
    expect(server.requests[0]).toBe(`GET /api/models/owner/name/revision/${encodeURIComponent(revision)}`);
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
    const from = (path: string, options = {}) => locate(`${server.endpoint}/owner/name${path}`, options);
    for (const path of ['', '/', '/tree/main', '/blob/main/config.json?x#y']) await from(path);
    expect(new Set(server.requests.filter((line) => line.includes('revision')))).toEqual(
      new Set(['GET /api/models/owner/name/revision/main']),
    );
    server.requests.length = 0;
    await from('/tree/refs%2Fpr%2F1');
    expect(server.requests[0]).toContain('revision/refs%2Fpr%2F1');
    await expectError('input', /revision: expected v1, as in the address, got "main"/, () =>
      from('/tree/v1', { revision: 'main' }),
    );
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    for (const hub of ['https://huggingface.co', 'http://hf.co', 'huggingface.co']) {
      expect(await locate(`${hub}/owner/name`)).toBe(join(model(), 'snapshots', COMMIT));
    }
  });
  test('a file: address', async () => expect(await locate(pathToFileURL(TINY).href)).toBe(TINY));
  test.each<[string, 'input' | 'file', RegExp]>([
    [
      'distilbert-qa',
      'file',
      /distilbert-qa\/config\.json: expected a readable file, or owner\/name, got no folder of this name\. .*huggingface\.co\/models\?search=distilbert-qa/,
    ],
    [
      'https://huggingface.co/distilbert-qa',
      'input',
      /expected the address of a model, such as https:\/\/huggingface\.co\/owner\/name/,
    ],
    ['https://huggingface.co/datasets/a/b', 'input', /expected the address of a model/],
    [
      'https://example.org/model',
      'input',
      /in Node a folder, a file: address or owner\/name, got "https:\/\/example\.org\/model"\. Download/,
    ],
    ['file://elsewhere/model', 'input', /expected a file: address of this machine/],
  ])('%s', (name, code, message) => expectError(code, message, () => load(name)));
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
