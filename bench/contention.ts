/**
 * How a model does next to others: forwards with 0, 1, 2 and 4 busy processes beside, with 1 thread and with one for each
 * core, in turns; and the caller's event loop while 100 answers are queued.
 * `npm run bench:contention` prints tables; `-- FILE` also writes them as JSON.
 */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { load, type QuestionAnswering } from '../src/index.ts';
import { type Environment, environment } from './environment.ts';
import { latencyOf } from './measure.ts';
import { randomIds } from './model.ts';

/** Milliseconds of `FORWARDS` forwards. */
export interface Crowded {
  readonly beside: number;
  readonly tokens: number;
  readonly threads: number;
  readonly median: number;
  readonly longest: number;
}
/** Milliseconds by which the caller's events were late while `ANSWERS` answers were queued. */
export interface Delay {
  readonly threads: number;
  readonly p99: number;
  readonly longest: number;
}
export interface Contention {
  readonly environment: Environment;
  readonly forwards: number;
  readonly answers: number;
  readonly crowded: readonly Crowded[];
  readonly delays: readonly Delay[];
}

const FORWARDS = 60;
const ANSWERS = 100;
const folder = join(import.meta.dirname, '..', 'weights', 'minilm-l6-qa');

/** Runs `use` with busy processes beside. */
async function beside<T>(count: number, use: () => Promise<T>): Promise<T> {
  const busy = Array.from({ length: count }, () => spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }));
  const end = () => {
    for (const child of busy) child.kill('SIGKILL');
  };
  process.once('exit', end);
  try {
    if (count > 0) await sleep(500); // until all are busy
    return await use();
  } finally {
    end();
    process.off('exit', end);
  }
}

async function timed(qa: QuestionAnswering, tokens: number): Promise<number> {
  const input = { inputIds: randomIds(tokens, qa.config), tokenTypeIds: new Int32Array(tokens) };
  const begin = performance.now();
  await qa.logits(input);
  return performance.now() - begin;
}

async function crowdedBy(count: number, tokens: number, models: readonly QuestionAnswering[]): Promise<Crowded[]> {
  const samples = models.map((): number[] => []);
  await beside(count, async () => {
    for (let i = -5; i < FORWARDS; i++) {
      for (const [k, qa] of models.entries()) {
        const milliseconds = await timed(qa, tokens);
        if (i >= 0) samples[k]!.push(milliseconds); // the first five warm up
      }
    }
  });
  return models.map(({ info }, k) => {
    const { p50 } = latencyOf(samples[k]!);
    return { beside: count, tokens, threads: info.threads!, median: p50 * 1000, longest: Math.max(...samples[k]!) };
  });
}

async function delayOf(qa: QuestionAnswering): Promise<Delay> {
  const ask = { question: 'Who came?', context: 'Ada came to town yesterday. '.repeat(20) };
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await Promise.all(Array.from({ length: ANSWERS }, () => qa.answer(ask)));
  delay.disable();
  return { threads: qa.info.threads!, p99: delay.percentile(99) / 1e6, longest: delay.max / 1e6 };
}

const about = environment();
const models = [await load(folder, { threads: 1 }), await load(folder)];
const crowded: Crowded[] = [];
for (const count of [0, 1, 2, 4]) {
  for (const tokens of [16, 130]) crowded.push(...(await crowdedBy(count, tokens, models)));
}
const delays: Delay[] = [];
for (const qa of models) delays.push(await delayOf(qa));
for (const qa of models) await qa.dispose();

console.table(crowded);
console.table(delays);
const [out] = process.argv.slice(2);
if (out) {
  const result: Contention = { environment: about, forwards: FORWARDS, answers: ANSWERS, crowded, delays };
  writeFileSync(out, `${JSON.stringify(result, null, 2)}\n`);
}
