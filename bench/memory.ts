/**
 * Peak memory and time of converting and of loading a checkpoint of bert-base-cased's shape (random weights, written to a
 * temporary folder) in a process of its own, up to the first answer. `npm run bench:memory`
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { normal } from '../kernels/op.ts';
import { tensorShapes } from '../src/checkpoint/config.ts';
import { writeSafetensors } from '../src/checkpoint/write.ts';
import { SHAPES } from './model.ts';

const config = { ...SHAPES['bert-base-cased']!, vocab: 30522 }; // the embedded checkpoint's vocabulary is at hand
const folder = mkdtempSync(join(tmpdir(), 'bertlet-'));
const root = join(import.meta.dirname, '..');
copyFileSync(join(root, 'weights', 'minilm-l6-qa', 'tokenizer.json'), join(folder, 'tokenizer.json'));
writeFileSync(
  join(folder, 'config.json'),
  JSON.stringify({
    ...{ model_type: 'bert', vocab_size: config.vocab, hidden_size: config.hidden, num_hidden_layers: config.layers },
    ...{ num_attention_heads: config.heads, intermediate_size: config.intermediate, max_position_embeddings: 512 },
  }),
);
const tensors = [...tensorShapes(config)].map(([name, { shape }], i) => [name, normal(shape, i, 0.02)] as const);
writeFileSync(join(folder, 'model.safetensors'), writeSafetensors(tensors));
tensors.length = 0;

/** Runs lines of a program of its own; its output, and its peak memory in MB. */
function measured(code: string, ...args: string[]) {
  // Not resourceUsage().maxRSS, which a child inherits from the process that started it.
  const peak = "console.log(Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024);";
  const program = `import { readFileSync } from 'node:fs'; import { convert, load } from './src/index.ts'; ${code} ${peak}`;
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
  const qa = await load(process.argv[1], { dtype: process.argv[2], threads: 2, wideSimd: true });
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
rmSync(folder, { recursive: true });
