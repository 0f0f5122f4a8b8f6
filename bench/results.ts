/**
 * Makes the files of bench/results anew, from a clean commit: `npm run bench:results -- DIR SQUAD.json [NAME ...]`, then
 * `npm run docs`. DIR is what peers/setup.sh made, SQUAD.json a file of SQuAD 2.0; names are those of `STEPS`, all of them
 * by default. A program that writes JSON is given the file; the Markdown that another prints becomes one.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { environment, machine } from './environment.ts';

const ROOT = join(import.meta.dirname, '..');
const [dir, squad, ...names] = process.argv.slice(2);
if (!dir || !squad) throw new Error('expected the folder of the peers and a file of SQuAD, got fewer arguments');

const bench = ['programs/main.ts', 'bench', '--device', 'cpu'];
/** Another seed lets the documents begin at other paragraphs. */
const documents = (seed: number) => [
  ...['programs/main.ts', 'evaluate', squad],
  ...`--documents 4 --dtype int8 --scheme accurate --limit 600 --seed ${seed}`.split(' '),
];
const STEPS: Record<string, string[]> = {
  'bench.json': [...bench, '--sweep', '--json'],
  'bench-bert-base-cased.json': [...bench, '--shape', 'bert-base-cased', '--json'],
  'peers-forward.json': ['bench/peers/run.ts', 'forward', dir, '--json'],
  'peers-answers.json': ['bench/peers/run.ts', 'answers', dir, '--json'],
  'peers-page.json': ['bench/peers/run.ts', 'page', dir, '--json'],
  'peers-squad.json': ['bench/peers/squad.ts', squad, dir, '--json'],
  'contention.md': ['bench/contention.ts'],
  'memory.md': ['bench/memory.ts'],
  'batch.md': ['bench/batch.ts'],
  'rates.md': ['bench/ops.ts'],
  'documents.md': documents(1),
  'documents-moved.md': documents(3),
  'answers-at-once.md': ['bench/answers.ts'],
};
const { commit } = environment();
if (!commit || commit.endsWith('-dirty'))
  throw new Error(`expected a clean commit, got ${commit}: results name what made them`);

const temporary = mkdtempSync(join(tmpdir(), 'bertlet-results-')); // a file of bench/results would make the commit unclean
try {
  for (const [file, args] of Object.entries(STEPS)) {
    if (names.length > 0 && !names.some((name) => file.startsWith(`${name}.`))) continue;
    const about = machine(environment());
    const out = join(temporary, file);
    const isJson = file.endsWith('.json');
    console.error(`${file}: node ${args.join(' ')}`);
    const stdio = ['ignore', isJson ? 'ignore' : 'pipe', 'inherit'] as const;
    const command = [...args, ...(isJson ? [out] : [])];
    const { status, stdout } = spawnSync(process.execPath, command, { cwd: ROOT, stdio: [...stdio], encoding: 'utf8' });
    if (status !== 0) throw new Error(`${file}: expected exit code 0, got ${status}`);
    if (!isJson) writeFileSync(out, `${stdout.includes(commit) ? '' : `${about}\n\n`}${stdout.trim()}\n`);
  }
  cpSync(temporary, join(ROOT, 'bench/results'), { recursive: true });
} finally {
  rmSync(temporary, { recursive: true });
}
