/** bertlet as a peer of run.ts. Usage: bertlet_peer.ts TOKENS THREADS */
import { createInterface } from 'node:readline';
import { randomBert, SHAPES } from '../model.ts';

const [tokens, threads] = process.argv.slice(2).map(Number) as [number, number];
const models = {
  fp32: await randomBert(SHAPES['bert-base-cased']!, 'fp32', { threads, wideSimd: true }),
  int8: await randomBert(SHAPES['bert-base-cased']!, 'int8', { threads, wideSimd: true }),
};
console.log(JSON.stringify({ name: `bertlet (${models.int8.kernels})`, dtypes: Object.keys(models) }));
for await (const line of createInterface({ input: process.stdin })) {
  const [dtype, n] = line.split(' ') as ['fp32' | 'int8', string];
  const ms: number[] = [];
  for (let i = 0; i < Number(n); i++) {
    const start = performance.now();
    await models[dtype].forward(tokens);
    ms.push(performance.now() - start);
  }
  console.log(JSON.stringify(ms));
}
process.exit(0);
