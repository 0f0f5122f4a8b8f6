/**
 * How quickly the embedded checkpoint answers: CPU time and wall time from `load` to the end of the first answer, for the
 * first load of a process and for the second. Each round starts a process for each file: float16 as it is in the repository,
 * and int8. Of the package as it is built. `npm run bench:start -- [ROUNDS] [FOLDER...]`; each FOLDER is another checkout, in
 * turns with this one.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { convert } from '../src/index.ts';
import { environment, machine } from './environment.ts';
import { median } from './measure.ts';

const ROOT = join(import.meta.dirname, '..');
const [rounds = '9', ...others] = process.argv.slice(2);
const embedded = join(ROOT, 'weights', 'minilm-l6-qa');
const temporary = mkdtempSync(join(tmpdir(), 'bertlet-start-'));
const int8 = join(temporary, 'int8');
process.once('exit', () => rmSync(temporary, { recursive: true }));
await convert(embedded, int8, { precision: 'int8' });

const PROGRAM = `const { load } = await import(process.argv[1]);
  for (let i = 0; i < 2; i++) {
    const [wall, before] = [performance.now(), process.cpuUsage()];
    const qa = await load(process.argv[2]);
    const [{ text }] = await qa.answer({ question: 'Who came yesterday?', context: 'Ada came yesterday.' });
    const { user, system } = process.cpuUsage(before);
    if (text !== 'Ada') throw new Error('expected the answer Ada, got ' + text);
    console.log((user + system) / 1000, performance.now() - wall);
    await qa.dispose();
  }`;
/** CPU and wall milliseconds of the first load, then of the second. */
function measured(checkout: string, folder: string): number[] {
  const entry = pathToFileURL(join(resolve(checkout), 'dist', 'src', 'index.js')).href;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', PROGRAM, entry, folder],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(stderr);
  return stdout.trim().split(/\s+/).map(Number);
}

const begun = environment();
const rows = [ROOT, ...others].flatMap((checkout) =>
  Object.entries({ float16: embedded, int8 }).map(([file, folder]) => ({
    checkout,
    file,
    folder,
    all: [] as number[][],
  })),
);
for (let round = 0; round < Number(rounds); round++) {
  for (const { checkout, folder, all } of rows) all.push(measured(checkout, folder));
}
console.log(`${machine(begun)}\n`);
console.log('| checkout | file | first, CPU ms | first, ms | second, CPU ms | second, ms |\n|---|---|--:|--:|--:|--:|');
for (const { checkout, file, all } of rows) {
  const cells = [0, 1, 2, 3].map((i) => median(all.map((each) => each[i]!)).toFixed(0));
  console.log(`| ${[checkout === ROOT ? 'this' : checkout, file, ...cells].join(' | ')} |`);
}
