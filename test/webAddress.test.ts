/** `npm run web`: the page is at the address that is printed, whatever other servers there are. */
import { execSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { preview } from 'vite';
import { afterAll, expect, test } from 'vitest';
import { ROOT } from './support.ts';

const outDir = mkdtempSync(join(tmpdir(), 'bertlet-web-'));
afterAll(() => rmSync(outDir, { recursive: true }));

test('where the port is in use, on the same or on another address of this machine', async () => {
  writeFileSync(join(outDir, 'index.html'), 'the page');
  const configFile = join(ROOT, 'programs/web/vite.config.ts');
  const serve = () => preview({ configFile, root: outDir, build: { outDir }, logLevel: 'silent' });
  const other = createServer((_, response) => response.end('another page'));
  const first = await serve();
  const { port } = new URL(first.resolvedUrls!.local[0]!);
  await first.close();
  for (const host of ['127.0.0.1', '::1', '0.0.0.0']) {
    const listening = await new Promise((done) =>
      other.once('error', () => done(false)).listen(Number(port), host, () => done(true)),
    );
    if (!listening) continue; // a machine without IPv6
    const server = await serve();
    const [url] = server.resolvedUrls!.local;
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
    expect(await (await fetch(url!)).text(), host).toBe('the page');
    await server.close();
    await new Promise((done) => other.close(done));
  }
});

test('`npm run web -- --help` shows help, and serves nothing', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  expect(execSync(`npx ${scripts.web} --help`, { cwd: ROOT, encoding: 'utf8', timeout: 60_000 })).toMatch(
    /^Usage: web \[options\]\n.*--port <n>/s,
  );
});
