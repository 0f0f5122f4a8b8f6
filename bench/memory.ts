/**
 * Peak memory and time of converting and of loading a checkpoint of bert-base-cased's shape (random weights, written to a
 * temporary folder) in a process of its own, up to the first answer. `npm run bench:memory`
 */
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { randomCheckpoint } from './model.ts';
import { SHAPES } from './shapes.ts';

const { folder, remove } = randomCheckpoint(SHAPES['bert-base-cased']!);
const root = join(import.meta.dirname, '..');

/** Runs lines of a program of its own; its output, and its peak memory in MB. */
function measured(code: string, ...args: string[]) {
  const imports =
    "import { load } from './src/index.ts'; import { convert } from './programs/convert.ts'; import { peakBytes } from './bench/environment.ts';";
  const program = `${imports} ${code} console.log(peakBytes() / 2 ** 20);`;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', program, ...args], {
    cwd: root,
    encoding: 'utf8',
  });
  if (child.status !== 0) throw new Error(child.stderr);
  return child.stdout.trim().split('\n').map(Number);
}
const size = (path: string) => statSync(join(path, 'model.safetensors')).size / 2 ** 20;

console.log('| convert to | ms | its file, MB | peak RSS, MB |\n|---|---|---|---|');
for (const precision of ['torch', 'fp16', 'fp32']) {
  const out = join(folder, precision);
  const code =
    'const begin = performance.now(); await convert(process.argv[1], process.argv[2], { precision: process.argv[3] }); console.log(performance.now() - begin);';
  const [ms, peak] = measured(code, folder, out, precision) as [number, number];
  console.log(`| ${precision} | ${ms.toFixed(0)} | ${size(out).toFixed(0)} | ${peak.toFixed(0)} |`);
}

console.log('\n| file | dtype | load ms | first answer ms | peak RSS, MB |\n|---|---|---|---|---|');
const LOAD = `const begin = performance.now();
  const dtype = process.argv[2];
  const qa = await load(process.argv[1], { dtype, scheme: dtype === 'int8' ? 'torch' : undefined, threads: 2 });
  console.log(performance.now() - begin);
  await qa.answer({ question: 'Who?', context: 'Ada came yesterday.' });
  console.log(performance.now() - begin);
  await qa.dispose();`;
for (const [file, dtype] of [
  ['torch', 'int8'],
  ['fp32', 'int8'],
  ['fp16', 'int8'],
  ['fp32', 'fp32'],
] as const) {
  measured(LOAD, join(folder, file), dtype); // so that the file is in the system's cache
  const [load, first, peak] = measured(LOAD, join(folder, file), dtype) as [number, number, number];
  console.log(`| ${file} | ${dtype} | ${load.toFixed(0)} | ${first.toFixed(0)} | ${peak.toFixed(0)} |`);
}
remove();
