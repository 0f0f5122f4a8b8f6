/** bertlet as an engine of run.ts, as the package has it; DTYPE is fp32, or int8 and a scheme. Usage: bertlet.ts MODEL DTYPE THREADS QUESTION CONTEXT CHECKOUT */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { VERSION } from '../version.ts';
import { serve } from './serve.ts';

const [model, name, threads, question, context, checkout] = process.argv.slice(2) as [string, ...string[]];
const [dtype, scheme] = name!.split(' ') as ['fp32' | 'int8', ('torch' | 'accurate')?];
const options = { dtype, ...(scheme && { scheme }), threads: Number(threads) };
await serve(
  async () => {
    const path = pathToFileURL(join(checkout!, 'dist/src/index.js')).href;
    const { load }: typeof import('../../src/index.ts') = await import(path);
    let qa = await load(model, options);
    const answer = async ({ times: _, ...asked }: object & { times: number }) => {
      let windows = 0;
      const onProgress = ({ done }: { done: number }) => {
        windows = done;
      };
      const [best] = await qa.answer({ ...(asked as { question: string; context: string }), onProgress });
      return { text: best.text, noAnswerScore: best.nullScore - best.startLogit - best.endLogit, windows };
    };
    const again = async () => {
      await qa.dispose();
      qa = await load(model, options);
      await qa.answer({ question: question!, context: context! });
    };
    return { engine: 'bertlet', version: VERSION, dtype: name!, kernels: qa.info.kernels, answer, again };
  },
  { question: question!, context: context! },
);
