/** Times bertlet and its peers side by side: README.md. */
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { QUESTION, TEXT } from '../article.ts';
import { environment } from '../environment.ts';
import { median } from '../measure.ts';
import { startChild, takeTurns } from '../turns.ts';

const command = new Command('run')
  .argument('<dir>', 'where setup.sh installed the peers')
  .option('--tokens <n>', 'length of the input', '133')
  .option('--threads <n>', 'threads of each engine', '2')
  .option('--rounds <n>', 'turns of each', '12')
  .option('--only <names>', 'which of them: bertlet, torch, ort-node, ort-web, transformers.js, page, page-plain')
  .option(
    '--answers',
    "whole answers to the article's question by the embedded checkpoint: bertlet, torch, transformers.js, page, page-plain",
  )
  .option('--avx2', 'hold PyTorch to AVX2')
  .option('--json <file>', 'write all samples there')
  .parse();
const options = command.opts<{
  tokens: string;
  threads: string;
  rounds: string;
  only?: string;
  answers?: boolean;
  avx2?: boolean;
  json?: string;
}>();
const begun = environment(); // with the load before these processes make their own
const dir = resolve(command.args[0]!);
const here = import.meta.dirname;
const { tokens, threads } = options;
const PEERS: Record<string, string[]> = {
  bertlet: [process.execPath, join(here, 'bertlet_peer.ts'), tokens, threads],
  torch: [join(dir, 'venv/bin/python'), join(here, 'torch_peer.py'), tokens, threads],
  'ort-node': [process.execPath, join(here, 'ort_peer.mjs'), tokens, threads, dir, 'node'],
  'ort-web': [process.execPath, join(here, 'ort_peer.mjs'), tokens, threads, dir, 'web'],
};
const checkpoint = join(here, '..', '..', 'weights', 'minilm-l6-qa');
const asked = [threads, QUESTION, TEXT];
const ANSWERS: Record<string, string[]> = {
  bertlet: [process.execPath, join(here, 'bertlet_answers.ts'), checkpoint, ...asked],
  torch: [join(dir, 'venv/bin/python'), join(here, 'torch_answers.py'), checkpoint, ...asked],
  'transformers.js': [process.execPath, join(here, 'transformersjs_answers.mjs'), dir, ...asked],
  page: [process.execPath, join(here, 'page_answers.ts'), dir, 'isolated', ...asked],
  'page-plain': [process.execPath, join(here, 'page_answers.ts'), dir, 'plain', ...asked],
};
const shape = options.answers ? "the embedded checkpoint's weights, whole answers" : "bert-base-cased's shape";
const AVX2 = { ATEN_CPU_CAPABILITY: 'avx2', FBGEMM_ENABLE_INSTRUCTIONS: 'AVX2', ONEDNN_MAX_CPU_ISA: 'AVX2' };

interface Variant {
  name: string;
  run: (n: number) => Promise<number[]>;
  milliseconds: number[];
}
const variants: Variant[] = [];
const children = [];
const all = options.answers ? ANSWERS : PEERS;
for (const peer of options.only?.split(',') ?? Object.keys(all)) {
  const [file, ...args] = all[peer]!;
  const env = options.avx2 && peer === 'torch' ? { ...process.env, ...AVX2 } : process.env;
  const child = startChild(peer, file!, args, env);
  children.push(child);
  const { name, dtypes } = await child.next<{ name: string; dtypes: string[] }>();
  for (const dtype of dtypes) {
    const run = (n: number) => child.ask<number[]>(`${dtype} ${n}`);
    variants.push({ name: `${name}, ${dtype}${env === process.env ? '' : ', AVX2 only'}`, run, milliseconds: [] });
  }
}
for (const { run } of variants) await run(5); // warm-up
await takeTurns(
  variants.map(({ run, milliseconds }) => async () => {
    milliseconds.push(...(await run(3)));
    return milliseconds.length < 3 * Number(options.rounds);
  }),
);
await Promise.all(children.map((child) => child.end()));

/** What `run.ts --json` writes, and docs/results.md shows. */
export interface Peers {
  environment: typeof begun;
  shape: string;
  tokens: number;
  threads: number;
  engines: { name: string; median: number; best: number; ratio: number; milliseconds: number[] }[];
}

const isInt8 = (name: string) => name.includes('int8') && !name.endsWith('fp32');
/** The median of bertlet with that dtype at the same place: in Node, or in a page with as many threads. */
const own = (name: string) => {
  const [place] = /^Chromium.* threads?, /.exec(name) ?? [''];
  const same = (other: string) => other.startsWith(`${place}bertlet`) && isInt8(other) === isInt8(name);
  return median(variants.find((other) => same(other.name))?.milliseconds ?? [Number.NaN]);
};
const result: Peers = {
  ...{ environment: begun, shape, tokens: Number(tokens), threads: Number(threads) },
  engines: variants.map(({ name, milliseconds }) => {
    const [middle, best] = [median(milliseconds), Math.min(...milliseconds)];
    return { name, median: middle, best, ratio: own(name) / middle, milliseconds };
  }),
};
console.log(`${shape}, ${tokens} tokens, ${threads} threads, ${begun.cpu}, Node ${process.version}\n`);
console.log('| engine | median ms | min ms | bertlet / it |\n|---|---|---|---|');
for (const { name, median, best, ratio } of result.engines) {
  console.log(`| ${name} | ${median.toFixed(1)} | ${best.toFixed(1)} | ${ratio.toFixed(2)} |`);
}
if (options.json) writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
