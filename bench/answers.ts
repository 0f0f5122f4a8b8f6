/**
 * Questions under way at once, and a context of 2.2 MB: when each of ten answers is there, how late the caller's events
 * are while the context is read, and the peak of the memory. Compares checkouts of this repository, in turns:
 * `npx node bench/answers.ts [--rounds N] [FOLDER ...]`, by default this one alone.
 */
import { execFileSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { aligned } from './columns.ts';
import { environment, machine, peakBytes } from './environment.ts';
import { median } from './measure.ts';

const ROOT = join(import.meta.dirname, '..');
const SENTENCE = 'Ada came to town number ';
const passage = (sentences: number) => Array.from({ length: sentences }, (_, i) => `${SENTENCE}${i}.`).join(' ');
const QUESTION = 'Who came?';
const SHORT = passage(12);
const LONG = passage(1200); // some 40 windows
const HUGE = passage(75_000);

/** Figures of one process: milliseconds, or MB. */
type Figures = Record<string, number>;

/** Asks questions at once; when each answer is there, in milliseconds from then. */
async function timesOf(answer: (context: string) => Promise<unknown>, contexts: readonly string[]): Promise<number[]> {
  const begin = performance.now();
  return Promise.all(contexts.map((context) => answer(context).then(() => performance.now() - begin)));
}
const summary = (name: string, times: readonly number[]): Figures => ({
  [`${name}: mean, ms`]: times.reduce((sum, time) => sum + time, 0) / times.length,
  [`${name}: p95, ms`]: times.toSorted((a, b) => a - b)[Math.ceil(0.95 * times.length) - 1]!,
  [`${name}: last, ms`]: Math.max(...times),
});

/** Runs in a process of its own, with the library of a checkout. */
async function measure(folder: string): Promise<Figures> {
  const { load } = (await import(resolve(folder, 'dist/src/index.js'))) as typeof import('../src/index.ts');
  await using qa = await load(join(ROOT, 'weights/minilm-l6-qa'));
  const answer = (context: string) => qa.answer({ question: QUESTION, context });
  for (let i = 0; i < 3; i++) await answer(SHORT);
  const [window] = await timesOf(answer, [passage(40)]); // nearly fills one
  const equal = await timesOf(
    answer,
    Array.from({ length: 10 }, () => passage(150)),
  );
  const nine = Array.from({ length: 9 }, () => SHORT);
  const alone = await timesOf(answer, nine);
  const [long, ...short] = await timesOf(answer, [LONG, ...nine]);

  const stop = new AbortController();
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await new Promise((resolve) => setTimeout(resolve, 50)); // its first tick: what comes before is not seen
  const begin = performance.now();
  let read = 0;
  const onProgress = ({ total }: { total: number }) => {
    if (total === 0) return;
    read = performance.now() - begin;
    stop.abort(); // at the first window
  };
  await qa.answer({ question: QUESTION, context: HUGE, signal: stop.signal, onProgress }).catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 50));
  delay.disable();
  const beyond = short.map((time, i) => time - 2 * alone[i]!);
  return {
    ...summary('ten equal', equal),
    ...summary('nine short', alone),
    ...summary('nine short beside a long one', short),
    'the long one, ms': long!,
    'beyond twice their time without it, in windows, the most': Math.max(...beyond) / window!,
    '2.2 MB, until the first window, ms': read,
    'delay of events, p99, ms': delay.percentile(99) / 1e6,
    'delay of events, longest, ms': delay.max / 1e6,
    'peak memory, MB': peakBytes() / 2 ** 20,
  };
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '3' }, one: { type: 'boolean' } },
});
const folders = positionals.length > 0 ? positionals : [ROOT];
if (values.one) {
  console.log(JSON.stringify(await measure(folders[0]!)));
} else {
  console.log(machine(environment()));
  const results = folders.map((): Figures[] => []);
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [i, folder] of folders.entries()) {
      const output = execFileSync(process.execPath, [import.meta.filename, '--one', folder], { encoding: 'utf8' });
      results[i]!.push(JSON.parse(output) as Figures);
    }
  }
  const rows = Object.keys(results[0]![0]!).map((name) => {
    return [name, ...results.map((rounds) => median(rounds.map((figures) => figures[name]!)).toFixed(0))];
  });
  const names = positionals.length > 0 ? positionals : ['here'];
  for (const cells of aligned([['', ...names], ...rows])) console.log(cells.join('  '));
}
