/** bertlet as a peer of run.ts --answers, as the library comes. Usage: bertlet_answers.ts CHECKPOINT THREADS QUESTION CONTEXT */
import { load, type QuestionAnswering } from '../../src/index.ts';
import { serve } from './serve.ts';

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
const answer = (model: QuestionAnswering) => () => model.answer({ question, context });
const runs = Object.fromEntries(Object.entries(models).map(([name, model]) => [name, answer(model)]));
await serve(`bertlet (${models['int8 torch'].info.kernels})`, runs);
