// transformers.js as an engine of run.ts. Usage: transformersjs.mjs DIR DTYPE THREADS QUESTION CONTEXT
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { serve } from './serve.ts';

const [dir, dtype, threads, question, context] = process.argv.slice(2);
await serve(
  async () => {
    const entry = createRequire(join(dir, 'package.json')).resolve('@huggingface/transformers');
    const { env, pipeline } = await import(pathToFileURL(entry));
    env.allowRemoteModels = false;
    env.localModelPath = dir;
    const qa = await pipeline('question-answering', 'answers', {
      dtype: dtype === 'int8' ? 'q8' : dtype,
      session_options: { intraOpNumThreads: Number(threads) },
    });
    const answer = async ({ question, context }) => ({ text: (await qa(question, context)).answer.trim() });
    return { engine: 'transformers.js', version: env.version, dtype, answer };
  },
  { question, context },
);
