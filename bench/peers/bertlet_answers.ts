/** bertlet as a peer of run.ts --answers, as the library comes. Usage: bertlet_answers.ts CHECKPOINT THREADS QUESTION CONTEXT */
import { createInterface } from 'node:readline';
import { load } from '../../src/index.ts';

const [checkpoint, threads, question, context] = process.argv.slice(2) as [string, string, string, string];
const options = { threads: Number(threads) };
const models = {
  fp32: await load(checkpoint, { ...options, dtype: 'fp32' }),
  'int8 torch': await load(checkpoint, { ...options, scheme: 'torch' }),
  'int8 accurate': await load(checkpoint, { ...options, scheme: 'accurate' }),
};
for (const model of Object.values(models)) {
  const [{ text }] = await model.answer({ question, context });
  if (text !== 'New York Times') throw new Error(text);
}
console.log(JSON.stringify({ name: `bertlet (${models['int8 torch'].info.kernels})`, dtypes: Object.keys(models) }));
for await (const line of createInterface({ input: process.stdin })) {
  const at = line.lastIndexOf(' ');
  const ms: number[] = [];
  for (let i = 0; i < Number(line.slice(at)); i++) {
    const start = performance.now();
    await models[line.slice(0, at) as keyof typeof models].answer({ question, context });
    ms.push(performance.now() - start);
  }
  console.log(JSON.stringify(ms));
}
process.exit(0);
