/**
 * Peak memory and time of converting and of loading a checkpoint of bert-base-cased's shape (random weights), each in a
 * process of its own, and the sizes that `convert` prints of it: the article's. `npm run bench:memory`
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { markdown } from './columns.ts';
import { randomCheckpoint } from './model.ts';
import { type Options, programsOf, ROOT } from './peers/engines.ts';
import { SHAPES } from './shapes.ts';

const { folder, remove } = randomCheckpoint(SHAPES['bert-base-cased']!);
/** Imported by a program, it prints the most memory that the program had, at its end. */
const PEAK = `import { peakBytes } from '${new URL('environment.ts', import.meta.url)}';
  process.on('exit', () => console.log((peakBytes() / 2 ** 20).toFixed(0)));`;
const converted = ['int8', 'fp16', 'fp32'].map((dtype) => {
  const program = ['programs/main.ts', 'convert', folder, '--out', join(folder, dtype), '--dtype', dtype];
  const begin = performance.now();
  const args = ['--import', `data:text/javascript,${encodeURIComponent(PEAK)}`, ...program];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  const lines = stdout.trim().split('\n');
  const sizes = lines.filter((line) => line.includes('Model Size'));
  return { dtype, sizes, milliseconds: performance.now() - begin, peak: lines.at(-1)! };
});
console.log(`\`\`\`\n${converted[0]!.sizes.join('\n')}\n\`\`\`\n`);
const rows = converted.map(({ dtype, milliseconds, peak }) => [dtype, milliseconds.toFixed(0), peak]);
console.log(`${markdown(['convert to', 'ms', 'peak MB'], rows)}\n`);

const loads: string[][] = [];
for (const [file, only] of [
  ['int8', 'int8 accurate'],
  ['fp32', 'int8 accurate'],
  ['fp16', 'int8 accurate'],
  ['fp32', 'fp32'],
] as const) {
  const options: Options = { threads: 2, tokens: 0, model: join(folder, file), checkout: [], only };
  const [program] = programsOf('answers', options);
  const { hello, child } = await program!.start();
  await child.end();
  loads.push([file, only, hello.start.milliseconds.toFixed(0), hello.start.megabytes.toFixed(0)]);
}
console.log(markdown(['file', 'loaded as', 'first answer, ms', 'peak MB'], loads));
remove();
