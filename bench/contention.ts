/**
 * A model next to others: forwards with 0, 1, 2 and 4 busy processes beside, with 1 thread and with one for each core, in
 * turns; and the caller's event loop while answers are queued. `npm run bench:contention` prints both tables.
 */
import { spawn } from 'node:child_process';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { load } from '../src/index.ts';
import { markdown } from './columns.ts';
import { inTurns, median, timed } from './measure.ts';
import { randomIds } from './model.ts';
import { MODEL } from './peers/engines.ts';
import { shown } from './text.ts';

const [FORWARDS, ANSWERS] = [60, 100];

/** Starts processes that are busy, until they are killed or this one ends. */
async function startBusy(count: number): Promise<() => void> {
  const busy = Array.from({ length: count }, () => spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }));
  const end = () => {
    for (const child of busy) child.kill('SIGKILL');
  };
  process.once('exit', end);
  await sleep(500); // until all are
  return end;
}

const models = [await load(MODEL, { threads: 1 }), await load(MODEL)];
const crowded: string[][] = [];
for (const count of [0, 1, 2, 4]) {
  const end = await startBusy(count);
  for (const tokens of [16, 130]) {
    const runs = models.map((qa) => {
      const input = { inputIds: randomIds(tokens, qa.config), tokenTypeIds: new Int32Array(tokens) };
      return timed(() => qa.logits(input));
    });
    const times = await inTurns(runs, { warmups: 5, rounds: FORWARDS });
    for (const [i, { info }] of models.entries()) {
      const figures = [median(times[i]!), Math.max(...times[i]!)].map(shown);
      crowded.push([count, tokens, info.threads].map(String).concat(figures));
    }
  }
  end();
}
console.log(`${FORWARDS} forwards of each, in turns:\n`);
console.log(markdown(['busy processes beside', 'tokens', 'threads', 'median ms', 'longest ms'], crowded));

const delays: string[][] = [];
for (const qa of models) {
  const ask = { question: 'Who came?', context: 'Ada came to town yesterday. '.repeat(20) };
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await Promise.all(Array.from({ length: ANSWERS }, () => qa.answer(ask)));
  delay.disable();
  delays.push([String(qa.info.threads), ...[delay.percentile(99), delay.max].map((ns) => shown(ns / 1e6))]);
  await qa.dispose();
}
console.log(`\nDelay of the caller's event loop while ${ANSWERS} answers are queued:\n`);
console.log(markdown(['threads', 'p99 ms', 'longest ms'], delays));
