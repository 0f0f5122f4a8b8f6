/**
 * From import to the first answer: wall time, CPU time and peak memory of a process of its own, for the embedded checkpoint.
 * bertlet reads it from a float16 file, as it is in the repository, and from an int8 file; the peers read what they can.
 * All take turns, so that other load on the machine is the same for all.
 *   npm run bench:start -- [--rounds 9] [--checkout FOLDER ...] [--peers DIR] [--json FILE]
 * Each checkout (built) is measured beside this one. DIR is what bench/peers/setup.sh made; see bench/peers/README.md.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Command } from 'commander';
import { QUESTION, TEXT } from './article.ts';
import { environment, machine } from './environment.ts';
import { median } from './measure.ts';

const ROOT = join(import.meta.dirname, '..');
const { rounds, checkout, peers, json } = new Command('start')
  .option('--rounds <n>', 'processes of each', '9')
  .option('--checkout <folder...>', 'other checkouts', [])
  .option('--peers <dir>', 'where setup.sh installed the peers')
  .option('--json <file>', 'write all samples there')
  .parse()
  .opts<{ rounds: string; checkout: string[]; peers?: string; json?: string }>();
const embedded = join(ROOT, 'weights', 'minilm-l6-qa');
const temporary = mkdtempSync(join(tmpdir(), 'bertlet-start-'));
process.once('exit', () => rmSync(temporary, { recursive: true }));
const int8 = join(temporary, 'int8');
const convert = ['programs/main.ts', 'convert', embedded, '--out', int8, '--dtype', 'int8'];
const { status, stderr } = spawnSync(process.execPath, convert, { cwd: ROOT, encoding: 'utf8' });
if (status !== 0) throw new Error(stderr);

/** In Node: CPU time, wall time, and the peak of the resident memory, up to the first answer and to that of a second load. */
const MEASURE = `import { readFileSync } from 'node:fs';
  export async function measure(answer, times = 1) {
    const peak = () => Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
    const runs = [];
    for (let i = 0; i < times; i++) {
      const [wall, before] = [performance.now(), process.cpuUsage()];
      const text = await answer();
      const { user, system } = process.cpuUsage(before);
      if (text.trim().toLowerCase() !== 'new york times') throw new Error('expected New York Times, got ' + text);
      runs.push([performance.now() - wall, (user + system) / 1000, peak()]);
    }
    console.log(JSON.stringify(runs));
    process.exit();
  }`;
const NODE = ['--input-type=module', '-e'];
const program = (code: string) => `${MEASURE.replace('export ', '')}\n${code}`;
const BERTLET = program(`const [entry, folder, question, context] = process.argv.slice(1);
  await measure(async () => {
    const { load } = await import(entry);
    const qa = await load(folder);
    const [{ text }] = await qa.answer({ question, context });
    await qa.dispose();
    return text;
  }, 2);`);
const TRANSFORMERS = program(`import { createRequire } from 'node:module';
  import { pathToFileURL } from 'node:url';
  const [dir, dtype, question, context] = process.argv.slice(1);
  await measure(async () => {
    const entry = createRequire(dir + '/package.json').resolve('@huggingface/transformers');
    const { env, pipeline } = await import(pathToFileURL(entry));
    env.allowRemoteModels = false;
    env.localModelPath = dir;
    const qa = await pipeline('question-answering', 'answers', { dtype });
    return (await qa(question, context)).answer;
  });`);

interface Variant {
  readonly name: string;
  readonly command: readonly string[];
  /** Of each process and load: wall ms, CPU ms, MB. */
  readonly runs: number[][][];
}
const asked = [QUESTION, TEXT];
const variants: Variant[] = [ROOT, ...checkout].flatMap((folder, i) =>
  Object.entries({ float16: embedded, int8 }).map(([file, model]) => {
    const entry = pathToFileURL(join(resolve(folder), 'dist', 'src', 'index.js')).href;
    const name = `bertlet, ${file} file${i === 0 ? '' : `, checkout ${i}`}`;
    return { name, command: [process.execPath, ...NODE, BERTLET, entry, model, ...asked], runs: [] };
  }),
);
if (peers) {
  const dir = resolve(peers);
  for (const dtype of ['q8', 'fp32']) {
    const command = [process.execPath, ...NODE, TRANSFORMERS, dir, dtype, ...asked];
    variants.push({ name: `transformers.js, ${dtype}`, command, runs: [] });
  }
  for (const dtype of ['int8', 'fp32']) {
    const command = [join(dir, 'venv/bin/python'), join(import.meta.dirname, 'peers', 'torch_start.py')];
    variants.push({ name: `PyTorch, ${dtype}`, command: [...command, embedded, dtype, ...asked], runs: [] });
  }
}

const begun = environment();
for (let round = 0; round < Number(rounds); round++) {
  for (const { name, command, runs } of variants) {
    const [file, ...args] = command as [string, ...string[]];
    const child = spawnSync(file, args, { encoding: 'utf8' });
    if (child.status !== 0) throw new Error(`${name}: ${child.stderr}`);
    runs.push(JSON.parse(child.stdout.trim().split('\n').at(-1)!) as number[][]);
  }
}
const middle = (runs: number[][][], load: number, figure: number) =>
  median(runs.map((loads) => loads[load]?.[figure] ?? Number.NaN));
const engines = variants.map(({ name, runs }) => {
  const [milliseconds, cpu, megabytes] = [0, 1, 2].map((figure) => middle(runs, 0, figure)) as [number, number, number];
  return { name, milliseconds, cpu, megabytes, second: middle(runs, 1, 0), runs };
});
console.log(`From import to the first answer, ${rounds} processes each, in turns; ${machine(begun)}\n`);
console.log('| engine | wall ms | CPU ms | peak MB | a second load, ms |\n|---|--:|--:|--:|--:|');
for (const { name, milliseconds, cpu, megabytes, second } of engines) {
  const last = Number.isNaN(second) ? '' : second.toFixed(0);
  console.log(`| ${name} | ${milliseconds.toFixed(0)} | ${cpu.toFixed(0)} | ${megabytes.toFixed(0)} | ${last} |`);
}
const installed = peers ? installs(resolve(peers)) : {};
for (const [name, bytes] of Object.entries(installed)) console.log(`${name} installed: ${(bytes / 1e6).toFixed(1)} MB`);
if (json) writeFileSync(json, `${JSON.stringify({ environment: begun, engines, installed }, null, 2)}\n`);

/** Bytes that an installation takes: of bertlet as a project installs it, of the peers as setup.sh has. */
function installs(dir: string): Record<string, number> {
  const project = join(temporary, 'project');
  const run = (file: string, ...args: string[]) => {
    const child = spawnSync(file, args, { cwd: ROOT, encoding: 'utf8' });
    if (child.status !== 0) throw new Error(child.stderr);
    return child.stdout.trim();
  };
  const tarball = join(temporary, run('npm', 'pack', '--silent', '--pack-destination', temporary));
  run('npm', 'install', '--silent', '--omit=peer', '--prefix', project, tarball);
  const bytes = (folder: string) => Number(run('du', '-sb', folder).split('\t')[0]);
  const [own, node, python] = [join(project, 'node_modules'), join(dir, 'node_modules'), join(dir, 'venv')];
  return { bertlet: bytes(own), 'transformers.js': bytes(node), PyTorch: bytes(python) };
}
