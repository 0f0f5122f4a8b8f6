/**
 * Whether a process that lives long stays as it is: a model loaded, asked and disposed of again and again, then one model
 * asked for as long. Prints memory, threads and handles along the way; exit code 1 where they grow.
 * `npm run bench:soak -- [CYCLES] [ANSWERS]`
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { load, type QuestionAnswering } from '../src/index.ts';
import { aligned } from './columns.ts';
import { environment, machine } from './environment.ts';
import { median } from './measure.ts';

const [cycles = 200, answers = 10_000] = process.argv.slice(2).map(Number);
const folder = join(import.meta.dirname, '..', 'weights', 'minilm-l6-qa');
const QUESTION = 'Who wrote the program?';
const SENTENCE = 'Ada wrote the first program in 1843, and Charles built no machine for it. ';
const ROWS = 10;

interface State {
  done: number;
  megabytes: number;
  threads: number;
  handles: number;
}
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
/** The state without garbage: when V8 collects by itself depends on the machine, and one model's memory is 40 MB of it. */
async function state(done: number): Promise<State> {
  for (let i = 0; i < 3; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 20)); // what is let go of in turns
  }
  return {
    done,
    megabytes: process.memoryUsage.rss() / 2 ** 20,
    threads: process.platform === 'linux' ? readdirSync('/proc/self/task').length : 0,
    handles: process.getActiveResourcesInfo().length,
  };
}

/**
 * Does something `count` times, and notes the state after each tenth: the later half may have no more than the earlier, in the
 * median.
 */
async function watch(title: string, count: number, use: (i: number) => Promise<void>): Promise<void> {
  const states: State[] = [];
  for (let i = 1; i <= count; i++) {
    await use(i);
    if (i % Math.ceil(count / ROWS) === 0 || i === count) states.push(await state(i));
  }
  const rows = states.map(({ done, megabytes, threads, handles }) => [
    `${done}`,
    ...[megabytes.toFixed(0), `${threads}`, `${handles}`],
  ]);
  console.log(`\n${title}`);
  for (const row of aligned([['done', 'RSS, MB', 'threads', 'handles'], ...rows])) console.log(row.join('  '));
  const [early, late] = [states.slice(0, ROWS / 2), states.slice(ROWS / 2)];
  for (const key of ['megabytes', 'threads', 'handles'] as const) {
    const [before, after] = [early, late].map((half) => median(half.map((each) => each[key]))) as [number, number];
    if (after <= 1.1 * before) continue;
    console.error(`${title}: expected ${key} that stay, got ${before}, then ${after} in the median`);
    process.exitCode = 1;
  }
}

/** The i-th answer: short, long, without one, cancelled, three at once. */
async function ask(qa: QuestionAnswering, i: number): Promise<void> {
  const context = SENTENCE.repeat([1, 1, 8, 1, 40][i % 5]!);
  if (i % 10 === 3) {
    const stop = new AbortController();
    const cancelled = qa.answer({ question: QUESTION, context: context.repeat(40), signal: stop.signal });
    stop.abort();
    await cancelled.catch((error) => {
      if (error !== stop.signal.reason) throw error;
    });
  } else if (i % 10 === 7) {
    await Promise.all([1, 2, 3].map(() => qa.answer({ question: QUESTION, context })));
  } else {
    const [{ text }] = await qa.answer({ question: i % 5 === 1 ? 'When did it rain?' : QUESTION, context });
    if (i % 5 === 0 && text !== 'Ada') throw new Error(`expected the answer Ada, got ${text}`);
  }
}

console.log(machine(environment()));
await watch(`${cycles} times load, answer, dispose`, cycles, async (i) => {
  await using qa = await load(folder, { dtype: i % 3 === 0 ? 'fp32' : 'int8' });
  await ask(qa, 5);
});
await using qa = await load(folder);
await watch(`${answers} answers`, answers, (i) => ask(qa, i));
