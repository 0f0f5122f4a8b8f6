/**
 * A model next to others: forwards with 0, 1, 2 and 4 busy processes beside, with 1 thread and with one for each core, in
 * turns; and the caller's event loop while answers are queued. `npm run bench:contention` prints both tables.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { load, type QuestionAnswering } from '../src/index.ts';
import { markdown } from './columns.ts';
import { median } from './measure.ts';
import { randomIds } from './model.ts';
import { shown } from './text.ts';

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

/** Rows of one number of busy processes and one length. */
async function crowdedBy(count: number, tokens: number, models: readonly QuestionAnswering[]): Promise<string[][]> {
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
    const times = [median(samples[k]!), Math.max(...samples[k]!)].map(shown);
    return [String(count), String(tokens), String(info.threads), ...times];
  });
}

async function delayOf(qa: QuestionAnswering): Promise<string[]> {
  const ask = { question: 'Who came?', context: 'Ada came to town yesterday. '.repeat(20) };
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await Promise.all(Array.from({ length: ANSWERS }, () => qa.answer(ask)));
  delay.disable();
  return [String(qa.info.threads), shown(delay.percentile(99) / 1e6), shown(delay.max / 1e6)];
}

const models = [await load(folder, { threads: 1 }), await load(folder)];
const crowded: string[][] = [];
for (const count of [0, 1, 2, 4]) {
  for (const tokens of [16, 130]) crowded.push(...(await crowdedBy(count, tokens, models)));
}
console.log(`${FORWARDS} forwards of each, in turns:\n`);
console.log(markdown(['busy processes beside', 'tokens', 'threads', 'median ms', 'longest ms'], crowded));
const delays: string[][] = [];
for (const qa of models) delays.push(await delayOf(qa));
console.log(`\nDelay of the caller's event loop while ${ANSWERS} answers are queued:\n`);
console.log(markdown(['threads', 'p99 ms', 'longest ms'], delays));
for (const qa of models) await qa.dispose();
