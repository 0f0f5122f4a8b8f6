/** Downloads of one model by several processes at once, from a local server in place of the Hugging Face Hub. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { COMMIT, hubServer } from './hubServer.ts';
import { ROOT, TINY } from './support.ts';

test('two processes at once: both answer, and one blob of each file is kept', async () => {
  const server = await hubServer(TINY);
  const cache = mkdtempSync(join(tmpdir(), 'bertlet-hub-'));
  const model = join(cache, 'models--owner--name');
  server.faults.set('model.safetensors', 'slow');
  const env = { ...process.env, HF_ENDPOINT: server.endpoint, HF_HUB_CACHE: cache };
  const code = `import { load } from './src/index.ts';
    const qa = await load('owner/name', { device: 'reference', dtype: 'fp32' });
    console.log((await qa.logits({ inputIds: [2, 5, 6, 3], tokenTypeIds: [0, 0, 1, 1] })).start.join());`;
  const run = () =>
    new Promise<string>((resolve) => {
      const child = spawn(process.execPath, ['--input-type=module', '-e', code], { cwd: ROOT, env });
      let out = '';
      child.stdout.on('data', (chunk) => (out += chunk));
      child.stderr.on('data', (chunk) => (out += chunk));
      child.on('exit', () => resolve(out));
    });
  const [one, two] = await Promise.all([run(), run()]);
  expect(one).toMatch(/^-?\d/);
  expect(two).toBe(one);
  const kept = readdirSync(model, { recursive: true, encoding: 'utf8' });
  expect(kept.filter((path) => path.includes('incomplete'))).toEqual([]);
  expect(readdirSync(join(model, 'blobs')).length).toBe(4);
  server.close();
  rmSync(cache, { recursive: true });
});

test('a download that waits for its next try when its signal aborts: the process does not wait', async () => {
  const server = await hubServer(TINY);
  server.faults.set('*', 503);
  server.settings.retryAfter = '40'; // seconds
  const code = `import { load } from './src/index.ts';
    const stop = new AbortController();
    process.on('message', () => stop.abort(new Error('the visitor left')));
    await load('owner/name', { signal: stop.signal }).catch(({ message }) => console.log(message));
    process.disconnect();`;
  const cache = mkdtempSync(join(tmpdir(), 'bertlet-hub-'));
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    ...{ cwd: ROOT, env: { ...process.env, HF_ENDPOINT: server.endpoint, HF_HUB_CACHE: cache } },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  let out = '';
  child.stdout!.on('data', (chunk) => (out += chunk));
  const gone = new Promise((resolve) => child.once('exit', resolve));
  await expect.poll(() => server.requests.length, { timeout: 60_000 }).toBe(1);
  await sleep(100); // its answer is there
  const begin = performance.now();
  child.send('abort');
  expect(await gone).toBe(0);
  expect(out).toBe('the visitor left\n');
  expect(performance.now() - begin).toBeLessThan(30_000);
  server.close();
  rmSync(cache, { recursive: true });
});

test('a process that is killed while it downloads: the next one has the whole file', async () => {
  const server = await hubServer(TINY);
  const cache = mkdtempSync(join(tmpdir(), 'bertlet-hub-'));
  const model = join(cache, 'models--owner--name');
  const partial = () =>
    readdirSync(cache, { recursive: true, encoding: 'utf8' }).filter((path) => path.includes('.incomplete'));
  const env = { ...process.env, HF_ENDPOINT: server.endpoint, HF_HUB_CACHE: cache };
  const code = `import { openCheckpoint } from './src/tensor.ts'; await openCheckpoint('owner/name');`;
  const run = () => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', code], { cwd: ROOT, env });
    return { child, gone: new Promise((resolve) => child.once('exit', resolve)) };
  };
  server.faults.set('model.safetensors', 'slow');
  const { child, gone } = run();
  while (partial().length === 0 && child.exitCode === null) await sleep(2);
  child.kill('SIGKILL');
  await gone;
  expect(partial().length).toBe(1);
  server.faults.clear();
  expect(await run().gone).toBe(0);
  const file = readFileSync(join(model, 'snapshots', COMMIT, 'model.safetensors'));
  expect(file).toEqual(readFileSync(join(TINY, 'model.safetensors')));
  server.close();
  rmSync(cache, { recursive: true });
});

test('`bertlet` goes by the proxy of the environment', async () => {
  const server = await hubServer(TINY);
  const asked: string[] = [];
  const proxy = createServer((request, response) => {
    asked.push(request.url!);
    const { pathname } = new URL(request.url!);
    const { method, headers } = request;
    const onward = httpRequest(`${server.endpoint}${pathname}`, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    onward.end();
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const cache = mkdtempSync(join(tmpdir(), 'bertlet-hub-'));
  const HTTP_PROXY = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const env = { ...process.env, HTTP_PROXY, HF_ENDPOINT: 'http://hub.invalid', HF_HUB_CACHE: cache, NO_PROXY: '' };
  const out = join(cache, 'out');
  const args = ['programs/main.ts', 'convert', 'owner/name', '--out', out];
  const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: ['ignore', 'ignore', 'inherit'] });
  expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(0);
  expect(asked[0]).toBe('http://hub.invalid/owner/name/resolve/main/config.json');
  expect(readdirSync(out)).toContain('model.safetensors');
  proxy.close();
  server.close();
  rmSync(cache, { recursive: true });
});
