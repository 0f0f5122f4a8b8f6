/** examples/server.ts as a process: answers, statuses of errors, clients that go, its end. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { load } from '../src/index.ts';
import { ROOT, TINY } from './support.ts';

let server: ChildProcessByStdio<null, Readable, Readable>;
let address = '';
beforeAll(async () => {
  const env = { ...process.env, PORT: '0', MODEL: TINY, MAX_QUEUE: '3', MAX_BYTES: '2000000' };
  server = spawn(process.execPath, ['examples/server.ts'], { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
  address = String((await once(server.stdout, 'data'))[0]).trim();
});
afterAll(() => server.kill('SIGKILL'));

/** Status and body of a request. */
const ask = async (body: unknown, path = '/answer') => {
  const response = await fetch(address + path, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return [response.status, await response.json()] as const;
};
const health = async () => (await fetch(`${address}/health`)).json() as Promise<{ device: string; waiting: number }>;
const long = { question: 'a b', context: 'a b c d '.repeat(10_000) };

test('answers as the library does; several passages', async () => {
  await using qa = await load(TINY);
  const input = { question: 'a b', context: 'c d e', topK: 3 };
  expect(await ask(input)).toEqual([200, await qa.answer(input)]);
  const several = { question: 'a b', contexts: ['c d e', 'a'] };
  expect(await ask(several)).toEqual([200, await qa.answer(several)]);
  expect(await health()).toMatchObject({ device: 'cpu', waiting: 0 });
});

test.each([
  ['{', 400, /JSON/],
  [{ question: 'a' }, 400, /^context: expected a string, got undefined/],
  [{ question: 'a', context: 'b', threshold: 1 }, 400, /^answer: expected options that it knows, got "threshold"/],
  [{ question: 'a', context: 'x'.repeat(2_000_001) }, 413, /at most 2000000 bytes/],
])('%#: what is wrong with a request is said', async (body, status, message) => {
  const [got, { error }] = await ask(body);
  expect(got).toBe(status);
  expect(error).toMatch(message);
});

test('another path is none', async () => expect((await ask({}, '/other'))[0]).toBe(404));

test('beyond MAX_QUEUE it is busy, and says so at once; then it answers again', async () => {
  const asked = Array.from({ length: 3 }, () => ask(long));
  while ((await health()).waiting < 3) await sleep(5);
  const begin = performance.now();
  const [status, { code }] = await ask({ question: 'a', context: 'b' });
  expect([status, code]).toEqual([503, 'busy']);
  expect(performance.now() - begin).toBeLessThan(5000);
  for (const [answered] of await Promise.all(asked)) expect(answered).toBe(200);
  expect((await ask({ question: 'a', context: 'b' }))[0]).toBe(200);
});

test('a client that goes leaves no work behind', async () => {
  const going = request(`${address}/answer`, { method: 'POST' });
  going.on('error', () => {});
  going.end(JSON.stringify(long));
  while ((await health()).waiting < 1) await sleep(5);
  going.destroy();
  for (let i = 0; i < 200 && (await health()).waiting > 0; i++) await sleep(10);
  expect((await health()).waiting).toBe(0);
});

test('SIGTERM: what was asked for is answered, then the process ends', async () => {
  const asked = ask({ question: 'a b', context: 'a b c d '.repeat(1000) });
  while ((await health()).waiting < 1) await sleep(1);
  const errors = text(server.stderr);
  server.kill('SIGTERM');
  expect((await asked)[0]).toBe(200);
  expect(await once(server, 'exit')).toEqual([0, null]);
  expect(await errors).toBe('');
});
