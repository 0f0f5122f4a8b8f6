/**
 * How fast files of questions are answered on all cores of this machine: by one process, by `xargs -P`, GNU parallel and
 * Spark over the same filter, and whether their lines are equal. README.md
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { uniform } from '../../kernels/op.ts';
import { type Environment, environment } from '../environment.ts';

const ROOT = join(import.meta.dirname, '../..');
const MODEL = join(ROOT, 'weights/minilm-l6-qa');

const options = new Command('scale')
  .option('--lines <n>', 'to answer', Number, 10_000)
  .option('--python <file>', 'with pyspark: run Spark as well')
  .option('--parallel <file>', 'GNU parallel: run it as well')
  .option('--json <file>', 'write the results there')
  .parse()
  .opts<{ lines: number; python?: string; parallel?: string; json?: string }>();

interface Run {
  name: string;
  /** From the start of the first process to the end of the last. */
  seconds: number;
  linesPerSecond: number;
  /** To those of the first run, byte by byte. */
  equal: boolean;
  spark?: Spark;
}
/** What spark.py prints. */
interface Spark {
  spark: string;
  java: string;
  executors: number;
  partitions: number;
  /** From the start of Python until the executors can be given tasks. */
  startSeconds: number;
  jobSeconds: number;
  killed: { afterTasks: number; seconds: number } | null;
}
/** The result file. */
export interface Scale {
  version: 1;
  environment: Environment;
  versions: Record<string, string>;
  model: string;
  lines: number;
  /** Of one filter without lines: the median of five. */
  startSeconds: number;
  runs: Run[];
}

const begun = environment();
const cores = availableParallelism();
const seconds = (begin: number) => (performance.now() - begin) / 1000;

const NAMES = 'Ada Grace Alan Emmy Kurt Sofia Leonhard Carl Mary Edsger'.split(' ');
const PLACES = 'Paris London Vienna Göttingen Basel Moscow Princeton Dublin Turin Kyoto'.split(' ');
const THINGS = 'a clock, a letter, a red boat, a proof, a map, a bridge, a piano, a theorem'.split(', ');
/** Lines of one sentence each: about 25 tokens with the question. */
function generated(count: number): string {
  const next = uniform(19);
  const one = (from: string[]) => from[Math.floor(next() * from.length)]!;
  return Array.from({ length: count }, (_, id) => {
    const name = one(NAMES);
    const context = `${name} made ${one(THINGS)} in ${one(PLACES)} in ${1700 + Math.floor(next() * 300)}.`;
    return `${JSON.stringify({ id, question: `Where did ${name} make it?`, context })}\n`;
  }).join('');
}

const folder = mkdtempSync(join(tmpdir(), 'bertlet-scale-'));
const questions = join(folder, 'questions.jsonl');
const filter = [process.execPath, join(ROOT, 'programs/main.ts'), 'answer', '--model', MODEL, '--scheme', 'torch'];
const one = [...filter, '--workers', '1', '--allow-failed'];

/** Runs a command of the shell in the folder; what it prints. */
function shell(command: string): string {
  const { status, stdout, stderr } = spawnSync('bash', ['-o', 'pipefail', '-c', command], {
    cwd: folder,
    encoding: 'utf8',
  });
  if (status === 0) return stdout;
  throw new Error(`${command}: expected exit code 0, got ${status}. ${stderr.slice(-2000)}`);
}

const runs: Run[] = [];
let want = Buffer.of();
/** Times a command that writes the answers, or their parts in order, into the folder `name`. */
function timed(name: string, command: (out: string) => string): string {
  const out = name.replaceAll(/\W+/g, '-');
  shell(`mkdir ${out}`);
  const begin = performance.now();
  const printed = shell(command(out));
  const took = seconds(begin);
  const parts = readdirSync(join(folder, out), { recursive: true, encoding: 'utf8' });
  const got = Buffer.concat(
    parts
      .filter((part) => /(^|\/)part-\d+$/.test(part))
      .toSorted()
      .map((part) => readFileSync(join(folder, out, part))),
  );
  if (runs.length === 0) want = got;
  runs.push({ name, seconds: took, linesPerSecond: options.lines / took, equal: got.equals(want) });
  console.log(JSON.stringify(runs.at(-1)));
  write();
  return printed;
}

const { parallel, python } = options;
const versions = {
  xargs: shell('xargs --version').split('\n')[0]!,
  ...(parallel && { parallel: shell(`${resolve(parallel)} --version`).split('\n')[0]! }),
  ...(python && { python: shell(`${resolve(python)} --version`).trim() }),
};
let startSeconds = 0;
/** After each run: what comes later takes long. */
function write() {
  const { lines, json } = options;
  const result: Scale = {
    version: 1,
    environment: begun,
    versions,
    model: 'minilm-l6-qa',
    lines,
    startSeconds,
    runs,
  };
  if (json) writeFileSync(json, `${JSON.stringify(result, null, 2)}\n`);
}
try {
  writeFileSync(questions, generated(options.lines));
  const starts = Array.from({ length: 5 }, () => {
    const begin = performance.now();
    shell(`${one.join(' ')} < /dev/null`);
    return seconds(begin);
  });
  startSeconds = starts.toSorted((a, b) => a - b)[2]!;
  console.log(`one filter starts in ${startSeconds.toFixed(2)} s`);

  timed('one process', (out) => `${filter.join(' ')} < ${questions} > ${out}/part-0`);
  const eighth = Math.ceil(options.lines / 8);
  timed('xargs -P', (out) => {
    const each = `sh -c '${one.join(' ')} < {} > ${out}/part-$(basename {})'`;
    return `mkdir eighths && split -d -a 3 -l ${eighth} ${questions} eighths/ && ls eighths/* | xargs -P ${cores} -I {} ${each}`;
  });
  if (parallel) {
    const blocks = `${resolve(parallel)} --will-cite --pipe --keep-order -N ${eighth} -j ${cores}`;
    timed('GNU parallel', (out) => `${blocks} ${one.join(' ')} < ${questions} > ${out}/part-0`);
  }
  for (const [name, kill] of python
    ? ([
        ['Spark', ''],
        ['Spark, an executor killed', '--kill'],
      ] as const)
    : []) {
    const script = `${resolve(python!)} ${join(import.meta.dirname, 'spark.py')}`;
    const printed = timed(name, (out) => `${script} ${questions} ${out}/parts '${one.join(' ')}' ${kill}`);
    runs.at(-1)!.spark = JSON.parse(printed.trim().split('\n').at(-1)!) as Spark;
    write();
  }
} finally {
  rmSync(folder, { recursive: true });
}
