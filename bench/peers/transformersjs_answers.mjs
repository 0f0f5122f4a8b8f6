// transformers.js as a peer of run.ts --answers. Usage: transformersjs_answers.mjs DIR THREADS QUESTION CONTEXT
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { serve } from './serve.ts';

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
const answer = (model) => () => model(question, context);
const runs = Object.fromEntries(Object.entries(models).map(([name, model]) => [name, answer(model)]));
await serve(`transformers.js ${env.version}`, runs);
