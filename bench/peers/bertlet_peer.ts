/** bertlet as a peer of run.ts. Usage: bertlet_peer.ts TOKENS THREADS */
import { createInterface } from 'node:readline';
import { startCpu } from '../../src/devices/cpu/start.ts';
import type { Precision } from '../../src/tensor.ts';
import { forwardOf, randomWeights } from '../model.ts';
import { SHAPES } from '../shapes.ts';

const [tokens, threads] = process.argv.slice(2).map(Number) as [number, number];
const config = SHAPES['bert-base-cased']!;
const model = async (precision: Precision) => {
  const { device, kernels } = await startCpu({ threads });
  return { kernels, forward: forwardOf(device, config, randomWeights(config, precision)) };
};
const models = { fp32: await model('fp32'), int8: await model('torch') };
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
