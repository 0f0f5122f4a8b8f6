/** V8's own trace says which kernels it makes 256 bits wide; a kernel that no longer is one of them is a lost factor. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { HAS_AVX2, ROOT } from './support.ts';

const KERNELS = [
  ...['tile6x16', 'tile6x8', 'relaxed6x16', 'relaxed6x8', 'int16Tile', 'groupedTile'],
  ...['geluRows', 'minMax', 'toBytes', 'softmaxRow', 'addSum', 'squares', 'normalize', 'halfToFloat'],
  ...['addRows', 'pairRow', 'activateRow', 'scaleRow', 'copyLines'],
];
const FLAGS = [
  ...['--experimental-wasm-revectorize', '--trace-wasm-revectorize'],
  ...['--no-liftoff', '--no-wasm-lazy-compilation', '--single-threaded'],
];
const CODE = `const memory = new WebAssembly.Memory({ initial: 8, maximum: 65536 });
  const module = new WebAssembly.Module(require('fs').readFileSync(process.argv[1]));
  const { exports } = new WebAssembly.Instance(module, { env: { memory, abort() {} } });
  for (const [name, f] of Object.entries(exports)) console.log('export', name, f.name);`;

test('every kernel is widened, with no pair glued together from halves', () => {
  const file = join(ROOT, 'wasm', 'relaxed.wasm');
  const { stdout } = spawnSync(process.execPath, [...FLAGS, '-e', CODE, file], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  const verdicts = new Map<string, string>(); // by the function's index
  for (const [, index, trace] of stdout.matchAll(/Begin revec function wasm-function#(\d+)(.*?)(?=Begin revec|$)/gs)) {
    const glued = /ForcePackNode/.test(trace!) ? 'glued' : 'widened';
    verdicts.set(index!, /Decided to vectorize/.test(trace!) ? glued : 'not widened');
  }
  if (verdicts.size === 0) {
    expect(HAS_AVX2).toBe(false);
    console.warn('V8 widens nothing on this CPU (no AVX2): there is nothing to check.');
    return;
  }
  const indices = new Map([...stdout.matchAll(/^export (\w+) (\d+)$/gm)].map(([, name, index]) => [name!, index!]));
  const found = Object.fromEntries(
    KERNELS.map((name) => [name, verdicts.get(indices.get(name) ?? '') ?? 'no verdict']),
  );
  expect(found).toEqual(Object.fromEntries(KERNELS.map((name) => [name, 'widened'])));
});
