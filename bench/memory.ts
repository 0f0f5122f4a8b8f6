/**
 * Peak memory and time of loading a checkpoint of bert-base-cased's shape (random weights, written to a temporary
 * folder) in a process of its own, up to the first answer. `npm run bench:memory`
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { normal } from '../kernels/op.ts';
import { tensorShapes } from '../src/checkpoint/config.ts';
import { checkpointBytes } from '../src/checkpoint/layout.ts';
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

const CODE = `import { readFileSync } from 'node:fs';
  import { load } from './src/index.ts';
  const begin = performance.now();
  const qa = await load(process.argv[1], { dtype: process.argv[2], threads: 2, wideSimd: true });
  const loaded = performance.now();
  await qa.answer({ question: 'Who?', context: 'Ada came yesterday.' });
  const first = performance.now();
  // Not resourceUsage().maxRSS, which a child inherits from the process that started it.
  const peak = Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
  console.log(JSON.stringify([loaded - begin, first - begin, peak]));
  await qa.dispose();`;
console.log(
  '| dtype | its file, MB | load ms | first answer ms | peak RSS, MB | 1.5 x file + 150 |\n|---|---|---|---|---|---|',
);
for (const dtype of ['int8', 'fp32'] as const) {
  const args = ['--input-type=module', '-e', CODE, folder, dtype];
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
  if (stderr) console.error(stderr);
  const [load, first, peak] = JSON.parse(stdout) as [number, number, number];
  const file = checkpointBytes(config, dtype === 'fp32' ? 'fp32' : 'torch') / 2 ** 20;
  const row = [
    dtype,
    file.toFixed(0),
    load.toFixed(0),
    first.toFixed(0),
    peak.toFixed(0),
    (1.5 * file + 150).toFixed(0),
  ];
  console.log(`| ${row.join(' | ')} |`);
}
rmSync(folder, { recursive: true });
