// transformers.js as a peer of run.ts --answers. Usage: transformersjs_answers.mjs DIR THREADS QUESTION CONTEXT
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const [dir, threads, question, context] = process.argv.slice(2);
const entry = createRequire(join(dir, 'package.json')).resolve('@huggingface/transformers');
const { env, pipeline } = await import(pathToFileURL(entry));
env.allowRemoteModels = false;
env.localModelPath = dir;
const models = {};
for (const [name, dtype] of Object.entries({ fp32: 'fp32', int8: 'q8' })) {
  const session_options = { intraOpNumThreads: Number(threads) };
  models[name] = await pipeline('question-answering', 'answers', { dtype, session_options });
  const { answer } = await models[name](question, context);
  if (answer.trim().toLowerCase() !== 'new york times') throw new Error(`${name}: ${answer}`);
}
console.log(JSON.stringify({ name: `transformers.js ${env.version}`, dtypes: Object.keys(models) }));
for await (const line of createInterface({ input: process.stdin })) {
  const [dtype, n] = line.split(' ');
  const ms = [];
  for (let i = 0; i < Number(n); i++) {
    const start = performance.now();
    await models[dtype](question, context);
    ms.push(performance.now() - start);
  }
  console.log(JSON.stringify(ms));
}
process.exit(0);
