/** Where a model's files come from: folder, site, blobs, `Files` of one's own; and what a process may lack to read them. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readWhole } from '../src/files/index.ts';
import { blobs, type Files, folder, load, site } from '../src/index.ts';
import { openCheckpoint } from '../src/tensor.ts';
import { expectError, ROOT, TINY } from './support.ts';

const NAMES = ['config.json', 'model.safetensors', 'tokenizer_config.json', 'vocab.txt'];
const bytes = Object.fromEntries(NAMES.map((name) => [name, new Uint8Array(readFileSync(join(TINY, name)))]));
const files = NAMES.map((name) => new File([bytes[name]!], name));
const logits = async (model: string | URL | Files) => {
  const qa = await load(model, { device: 'reference', dtype: 'fp32' });
  return qa.logits({ inputIds: [2, 5, 6, 3], tokenTypeIds: [0, 0, 1, 1] });
};
let want: Awaited<ReturnType<typeof logits>>;
const scratch = mkdtempSync(join(tmpdir(), 'bertlet-'));
beforeAll(async () => {
  want = await logits(TINY);
});
afterAll(() => rmSync(scratch, { recursive: true }));

describe('blobs', () => {
  test('files that a visitor chose', async () => expect(await logits(blobs(files))).toEqual(want));
  test('bytes in memory, which stay as they are', async () => {
    const before = structuredClone(bytes);
    expect(await logits(blobs(bytes))).toEqual(want);
    expect(await logits(blobs(bytes))).toEqual(want);
    expect(bytes).toEqual(before);
  });
  test('one is missing', () =>
    expectError('file', /^the given files: expected config\.json, got none\./, () => load(blobs(files.slice(1)))));
  test('a file of weights in each folder', () =>
    expectError(
      'input',
      /^blobs: expected a File, .* for each name, and each name once, got config\.json: .*, config\.json: /,
      () => blobs([...files, files[0]!]),
    ));
  test.each([null, 'text', 5, {}, [1]])('%j is no content', (content) =>
    expectError(
      'input',
      /^blobs: expected a File, Blob or Uint8Array for each name, and each name once, got config\.json: /,
      () => blobs({ 'config.json': content as never }),
    ),
  );
  test.each([null, undefined, 'text', 5, [1], [null], [new Blob([])], new Float32Array(2)])(
    '%j are no files',
    (given) =>
      expectError(
        'input',
        /^blobs: expected (an object|a File, Blob or Uint8Array for each name, and each name once), got /,
        () => blobs(given as never),
      ),
  );
  test('a list as an input has it, and any view of bytes', async () => {
    expect(await logits(blobs(new Set(files)))).toEqual(want);
    const views = Object.fromEntries(NAMES.map((name) => [name, new DataView(bytes[name]!.buffer)]));
    expect(await logits(blobs(views as never))).toEqual(want);
  });
  test('a file that is gone since it was chosen: an error that names it', () => {
    const gone = new File([], 'config.json');
    gone.arrayBuffer = () => Promise.reject(new DOMException('The file could not be read', 'NotReadableError'));
    return expectError(
      'file',
      /^the given files\/config\.json: expected a readable file, got The file could not be read\.$/,
      () => load(blobs([gone])),
    );
  });
  test('reading beyond the end', async () => {
    const file = (await blobs(bytes).open('vocab.txt'))!;
    await expectError('file', /^vocab\.txt: expected a readable file, got 8 of 9 bytes at \d+\.$/, () =>
      file.read(file.size - 8, new Uint8Array(9)),
    );
  });
});

test('Files of one’s own: an archive, a database', async () => {
  const asked: string[] = [];
  const own: Files = {
    name: 'my archive',
    open: (name, options) => {
      asked.push(name);
      return blobs(bytes).open(name, options);
    },
  };
  expect(await logits(own)).toEqual(want);
  expect([asked[0], asked.at(-1)]).toEqual(['config.json', 'model.safetensors']);
  await expectError('config', /got "t5"/, () =>
    openCheckpoint(blobs({ ...bytes, 'config.json': new TextEncoder().encode('{"model_type":"t5"}') })),
  );
});

describe('folder', () => {
  test('a path', async () => expect(await logits(folder(TINY))).toEqual(want));
  test('a file that is cut while it is open', async () => {
    writeFileSync(join(scratch, 'model.safetensors'), new Uint8Array(2000));
    const file = (await folder(scratch).open('model.safetensors'))!;
    truncateSync(join(scratch, 'model.safetensors'), 1000);
    await expectError('file', /model\.safetensors: expected a readable file, got 200 of 300 bytes at 800\.$/, () =>
      file.read(800, new Uint8Array(300)),
    );
    file.close();
  });
  test('a small file that is too large', async () => {
    writeFileSync(join(scratch, 'config.json'), '');
    truncateSync(join(scratch, 'config.json'), 2 ** 40); // a hole: it takes no room
    await expectError('file', /config\.json: expected at most 268435456 bytes, got 1099511627776\.$/, () =>
      load(scratch),
    );
  });
});

describe('site', () => {
  type Answer = (path: string, headers: Record<string, unknown>) => Uint8Array | number | string;
  /** A server of the model in /model/; what it was asked. */
  async function serve(answer: Answer = (path) => bytes[path] ?? 404) {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url!);
      const path = /^\/model\/([^?]*)/.exec(request.url!)?.[1] ?? '';
      const given = answer(path, request.headers);
      if (typeof given === 'number') return response.writeHead(given).end();
      if (typeof given === 'string') return response.writeHead(200, { 'content-type': 'text/html' }).end(given);
      return response.end(given);
    });
    await new Promise<void>((resolve) => server.listen(0, resolve));
    const address = `http://localhost:${(server.address() as AddressInfo).port}/model`;
    const close = () => {
      server.closeAllConnections();
      server.close();
    };
    return { address, asked, [Symbol.dispose]: close };
  }
  test('an address, in Node too, as text and as URL', async () => {
    using server = await serve();
    expect(await logits(server.address)).toEqual(want);
    expect(await logits(new URL(`${server.address}/`))).toEqual(want);
  });
  test('a private store: its headers', async () => {
    using server = await serve((path, { authorization }) =>
      authorization === 'Bearer me' ? (bytes[path] ?? 404) : 401,
    );
    expect(await logits(site(server.address, { headers: { authorization: 'Bearer me' } }))).toEqual(want);
    await expectError('file', /\/model\/config\.json: expected a readable file, got HTTP status 401\.$/, () =>
      load(site(server.address)),
    );
  });
  test('a fetch of one’s own', async () => {
    using server = await serve();
    const asked: string[] = [];
    const fetchLogged = (url: string, init: RequestInit) => {
      asked.push(url);
      return fetch(url, init);
    };
    expect(await logits(site(server.address, { fetch: fetchLogged }))).toEqual(want);
    expect(asked[0]).toBe(`${server.address}/config.json`);
  });
  test('a query, such as a signature, is that of each file, and of no message', async () => {
    using server = await serve((path) => (path === 'vocab.txt' ? 500 : (bytes[path] ?? 404)));
    const error = await load(`${server.address}/?sig=s3cret#x`).catch((error: Error) => error);
    expect(error).toMatchObject({ message: expect.stringMatching(/\/model\/vocab\.txt: .* got HTTP status 500\.$/) });
    expect(String((error as Error).message)).not.toContain('s3cret');
    expect(new Set(server.asked.map((url) => url.replace(/.*\?/, '')))).toEqual(new Set(['sig=s3cret']));
  }, 20_000);
  test('a page in place of a file that is missing, as of a host of single-page apps', async () => {
    using server = await serve((path) => bytes[path] ?? '<!doctype html>');
    expect(await logits(server.address)).toEqual(want);
    await expectError('file', /: expected config\.json, got none/, () => load(`${server.address}/none`));
  });
  test('403 is a missing file of a store that gave others, and otherwise a refusal', async () => {
    using server = await serve((path) => bytes[path] ?? 403);
    expect(await logits(server.address)).toEqual(want);
    using closed = await serve(() => 403);
    await expectError('file', /config\.json: expected a readable file, got HTTP status 403\.$/, () =>
      load(closed.address),
    );
  });
  test('a small file without an end', async () => {
    const part = new Uint8Array(2 ** 24);
    const endless = new ReadableStream({ pull: (stream) => stream.enqueue(part) });
    const given = { fetch: async () => new Response(endless) };
    await expectError('file', /config\.json: expected a readable file, got more than 268435456 bytes\.$/, () =>
      load(site('https://example.org', given)),
    );
  });
  test('an address that is none', () =>
    expectError('file', /^http:\/\/\[\/config\.json: expected a readable file, got .*URL/, () => load('http://[')));
  test('progress, and a signal', async () => {
    using server = await serve();
    const told: number[] = [];
    const file = await readWhole(site(server.address), 'model.safetensors', {
      onProgress: ({ loaded }) => told.push(loaded),
    });
    expect(file!.bytes).toEqual(bytes['model.safetensors']);
    expect(told.at(-1)).toBe(file!.bytes.length);
    const reason = new Error('enough');
    await expect(site(server.address).open('vocab.txt', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});

describe('a process that may not, or has not', () => {
  /** Runs a module, and returns what it prints. */
  function run(code: string, { flags = [] as string[], env = {} as Record<string, string | undefined> } = {}) {
    const args = [...flags, '--input-type=module', '-e', code];
    const { stdout, stderr } = spawnSync(process.execPath, args, {
      ...{ cwd: ROOT, encoding: 'utf8', env: { ...process.env, ...env } as NodeJS.ProcessEnv },
    });
    return `${stdout}${stderr}`;
  }
  const refused = (model: string) =>
    `const { load } = await import('./src/index.ts');
    await load(${JSON.stringify(model)}, { device: 'reference' }).catch(({ name, code, message }) => console.log(name, code, message));`;
  test('variables of the environment are read only for names of the Hub', () => {
    const code = `const read = [];
      process.env = new Proxy(process.env, { get: (env, name) => (read.push(name), env[name]) });
      const { load, blobs, site } = await import('./src/index.ts');
      const options = { device: 'reference', dtype: 'fp32' };
      await load(${JSON.stringify(TINY)}, options);
      await load(blobs({})).catch(() => {});
      await load(site('http://localhost:1')).catch(() => {});
      await load('http://localhost:1/model').catch(() => {});
      await load('./nowhere').catch(() => {});
      console.log(JSON.stringify(read.filter((name) => /^(HF|XDG|HOME|TRANSFORMERS|HTTPS)/.test(name))));`;
    expect(run(code)).toBe('[]\n');
  });
  test('without permission to read: what to set', () => {
    // All that the program itself needs, and not the model.
    const code = `${refused(TINY)} ${refused('owner/name').replace('const { load } =', 'const other =').replace('await load', 'await other.load')}`;
    const readable = ['src', 'kernels', 'wasm', 'package.json'].map((name) => `--allow-fs-read=${join(ROOT, name)}`);
    const flags = ['--permission', '--allow-net', '--no-warnings', ...readable];
    const [folderLine, hubLine] = run(code, { flags, env: { NODE_OPTIONS: '' } }).split('\n');
    expect(folderLine).toMatch(/^BertletError file .*\/config\.json: expected a readable file, got .*--allow-fs-read/);
    expect(hubLine).toMatch(/^BertletError file owner\/name: expected a folder here or a model of /);
  });
  test.each([{ HOME: '' }, { HOME: undefined }])('no home folder, %j: what to set', (env) => {
    const os = `import os from 'node:os'; import { syncBuiltinESMExports } from 'node:module';
      const { homedir } = os;
      os.homedir = () => { if (process.env.HOME === undefined) throw new Error('uv_os_homedir'); return homedir(); };
      syncBuiltinESMExports();`;
    const none = { HF_HOME: undefined, HF_HUB_CACHE: undefined, XDG_CACHE_HOME: undefined };
    expect(run(`${os} ${refused('owner/name')}`, { env: { ...none, ...env } })).toBe(
      'BertletError file the cache of models: expected a home folder, got none. Set HF_HOME to a folder for it.\n',
    );
    const elsewhere = { ...none, HF_HUB_CACHE: join(scratch, 'cache'), HF_HUB_OFFLINE: '1', ...env };
    expect(run(`${os} ${refused('owner/name')}`, { env: elsewhere })).toContain('nothing in the cache');
  });
  test('a proxy that Node ignores', () => {
    const env = { HTTPS_PROXY: 'http://localhost:1', NODE_USE_ENV_PROXY: undefined, HF_ENDPOINT: 'http://localhost:1' };
    const told = run(refused('owner/name'), { env: { ...env, HF_HUB_CACHE: join(scratch, 'none') } });
    expect(told).toMatch(/HTTPS_PROXY is set: Node goes by it where NODE_USE_ENV_PROXY=1 is set as well\.\n$/);
  });
});
