/** Downloads of one model by several processes at once, from a local server in place of the Hugging Face Hub. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { hubServer } from './hubServer.ts';
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
