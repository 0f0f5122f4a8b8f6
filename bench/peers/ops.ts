/** Times single ops of bertlet and of its peers side by side, float32 on one thread: README.md. Usage: ops.ts DIR [ROUNDS] */
import { cpus } from 'node:os';
import { join, resolve } from 'node:path';
import { median } from '../measure.ts';
import { type Child, startChild, takeTurns } from '../turns.ts';
import type { Hello } from './engines.ts';
import { CHAIN, NAMES, SIZE } from './opsData.ts';

const [dir = '', rounds = '12'] = process.argv.slice(2);
const engines = await Promise.all(
  ['bertlet', 'onnxruntime-web', 'tfjs', 'jax-js'].map(async (peer) => {
    const program = join(import.meta.dirname, 'ops_engine.mjs');
    const child = startChild(peer, process.execPath, [program, peer, resolve(dir)]);
    const { version } = await child.next<Hello>(); // its results are verified by now
    return { name: `${peer} ${version}`, child, milliseconds: new Map(NAMES.map((op) => [op, [] as number[]])) };
  }),
);
const ask = async (child: Child, op: string, times: number) =>
  (await child.ask<{ times: number[] }>(JSON.stringify({ question: op, times }))).times;
for (const { child } of engines) for (const op of NAMES) await ask(child, op, 10); // warm-up
await takeTurns(
  NAMES.flatMap((op) =>
    engines.map(({ child, milliseconds }) => async () => {
      const all = milliseconds.get(op)!;
      all.push(...(await ask(child, op, 3)));
      return all.length < 3 * Number(rounds);
    }),
  ),
);
await Promise.all(engines.map(({ child }) => child.end()));

console.log(`${cpus()[0]!.model}, Node ${process.version}: ${SIZE} x ${SIZE}, float32, one thread`);
console.log('Microseconds of one op, the median; the results are verified.\n');
console.log(`| engine | ${NAMES.join(' | ')} | matmul, GMAC/s |\n|---|${'--:|'.repeat(NAMES.length + 1)}`);
for (const { name, milliseconds } of engines) {
  const each = NAMES.map((op) => (1000 * median(milliseconds.get(op)!)) / CHAIN);
  const rate = SIZE ** 3 / each[0]! / 1000;
  console.log(`| ${name} | ${each.map((time) => time.toFixed(0)).join(' | ')} | ${rate.toFixed(1)} |`);
}
