/**
 * Times bertlet and its peers side by side, each engine and dtype in a process of its own, in turns: README.md.
 *   answers   from import to the first answer, then whole answers, to the article's question by the embedded checkpoint
 *   page      whole answers in headless Chromium
 *   forward   one forward of bert-base-cased's shape, random weights
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Argument, Command } from 'commander';
import { QUESTION, TEXT } from '../article.ts';
import { environment } from '../environment.ts';
import { median } from '../measure.ts';
import { takeTurns } from '../turns.ts';
import { type Hello, MODEL, type Options, programsOf, ROOT, type Running, type What } from './engines.ts';
import { type Peers, peersText, type Timed } from './result.ts';

const WHAT = {
  answers: "whole answers to the article's question",
  page: 'whole answers in a page',
  forward: 'one forward',
};
const command = new Command('run')
  .addArgument(new Argument('<what>').choices(Object.keys(WHAT)))
  .argument('[dir]', 'where setup.sh installed the peers; without it bertlet is alone')
  .option('--threads <n>', 'threads of each engine', Number, 2)
  .option('--rounds <n>', 'turns of each, of 3 runs', Number, 12)
  .option('--starts <n>', 'answers: processes of each whose start is timed', Number, 5)
  .option('--tokens <n>', 'forward: length of the input', Number, 133)
  .option('--model <dir>', 'answers: another checkpoint for bertlet', MODEL)
  .option('--checkout <dir...>', 'answers: other checkouts of bertlet, built', [])
  .option('--only <names>', 'engines by parts of their names')
  .option('--avx2', 'hold PyTorch to AVX2')
  .option('--json <file>', 'write all samples there')
  .parse();
const [what, dir] = command.processedArgs as [What, string | undefined];
const options = command.opts<Omit<Options, 'dir'> & { rounds: number; starts: number; json?: string }>();

const begun = environment(); // with the load before these processes make their own
const programs = programsOf(what, { ...options, dir });
const starts = programs.map((): Timed['starts'] => []);
const again = what === 'answers' ? options.starts : 1;
const running: (Running & { milliseconds: number[] })[] = [];
for (let round = 1; round <= again; round++) {
  for (const [i, program] of programs.entries()) {
    const { hello, child } = await program.start();
    starts[i]!.push({ ...hello.start, ...(hello.again !== undefined && { again: hello.again }) });
    if (round < again) await child.end();
    else running.push({ hello, child, milliseconds: [] as number[] });
  }
}
const asked = (times: number) => JSON.stringify({ question: QUESTION, context: TEXT, times });
for (const { child } of running) await child.ask(asked(5)); // warm-up
await takeTurns(
  running.map(({ hello, child, milliseconds }) => async () => {
    const { times, text } = await child.ask<{ times: number[]; text?: string }>(asked(3));
    if (text && text.toLowerCase() !== 'new york times') throw new Error(`${hello.engine} ${hello.dtype}: ${text}`);
    milliseconds.push(...times);
    return milliseconds.length < 3 * options.rounds;
  }),
);
await Promise.all(running.map(({ child }) => child.end()));

const kind = (dtype: string) => dtype.split(' ')[0];
/** Torch's scheme is what peers compute; the default one is its own engine's. */
const isOwn = ({ engine, dtype }: Hello) => engine === 'bertlet' && dtype !== 'int8 accurate';
const engines = running.map(({ hello: { start: _, again: __, ...hello }, milliseconds }, i): Timed => {
  const same = running.find(
    (other) => isOwn(other.hello) && kind(other.hello.dtype) === kind(hello.dtype) && other.hello.place === hello.place,
  );
  const of = (pick: (start: Timed['starts'][0]) => number | undefined) =>
    median(starts[i]!.map((start) => pick(start) ?? Number.NaN));
  const start = { milliseconds: of((s) => s.milliseconds), cpu: of((s) => s.cpu), megabytes: of((s) => s.megabytes) };
  const [middle, best] = [median(milliseconds), Math.min(...milliseconds)];
  return {
    ...hello,
    ...{ median: middle, best, ratio: same ? median(same.milliseconds) / middle : null, milliseconds },
    ...{
      start: { ...start, again: starts[i]![0]!.again === undefined ? null : of((s) => s.again) },
      starts: starts[i]!,
    },
  };
});
const installed = what === 'answers' && dir ? installs(resolve(dir)) : null;
const result: Peers = { environment: begun, what: WHAT[what], threads: options.threads, engines, installed };
console.log(peersText(result));
if (options.json) writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);

/** MB of an installation: of bertlet as a project installs it, of the peers as setup.sh has them. */
function installs(dir: string): Record<string, number> {
  const temporary = mkdtempSync(join(tmpdir(), 'bertlet-install-'));
  const run = (file: string, ...args: string[]) => {
    const child = spawnSync(file, args, { cwd: ROOT, encoding: 'utf8' });
    if (child.status !== 0) throw new Error(child.stderr);
    return child.stdout.trim();
  };
  const tarball = join(temporary, run('npm', 'pack', '--silent', '--pack-destination', temporary));
  run('npm', 'install', '--silent', '--omit=peer', '--prefix', temporary, tarball);
  const megabytes = (folder: string) => Number(run('du', '-sb', folder).split('\t')[0]) / 2 ** 20;
  const folders = { bertlet: join(temporary, 'node_modules'), 'transformers.js': join(dir, 'node_modules') };
  const sizes = Object.entries({ ...folders, PyTorch: join(dir, 'venv') }).map(([name, at]) => [name, megabytes(at)]);
  rmSync(temporary, { recursive: true });
  return Object.fromEntries(sizes);
}
