/** The engines of run.ts and squad.ts in Node: README.md. Usage: engine.ts JOB */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { VERSION } from '../version.ts';
import type { Job } from './engines.ts';
import { type Engine, type Said, serve } from './serve.ts';

const job: Job = JSON.parse(process.argv[2]!);
const { engine, dtype, threads, tokens, dir, question, context } = job;

/** bertlet as its package has it. */
async function bertlet(): Promise<Omit<Engine, 'engine' | 'dtype'>> {
  const path = pathToFileURL(join(job.checkout, 'dist/src/index.js')).href;
  const { load }: typeof import('../../src/index.ts') = await import(path);
  const [precision, scheme] = dtype.split(' ') as ['fp32' | 'int8', ('torch' | 'accurate')?];
  const open = () => load(job.model, { dtype: precision, ...(scheme && { scheme }), threads });
  let qa = await open();
  const answer = async ({ times: _, ...asked }: object & { times: number }): Promise<Said> => {
    let windows = 0;
    const onProgress = ({ done }: { done: number }) => {
      windows = done;
    };
    const [best] = await qa.answer({ ...(asked as { question: string; context: string }), onProgress });
    return { text: best.text, noAnswerScore: best.nullScore - best.startLogit - best.endLogit, windows };
  };
  const again = async () => {
    await qa.dispose();
    qa = await open();
    await qa.answer({ question, context });
  };
  return { version: VERSION, kernels: qa.info.kernels, answer, again };
}

/** bertlet's forwards alone, of bert-base-cased's shape. */
async function bertletForward() {
  const { Bert, openRuntime } = await import('../../src/tensor.ts');
  const { randomIds, randomWeights } = await import('../model.ts');
  const config = (await import('../shapes.ts')).SHAPES['bert-base-cased']!;
  const runtime = await openRuntime('cpu', { threads });
  const precision = (dtype.split(' ')[1] ?? dtype) as Parameters<typeof randomWeights>[1];
  const bert = new Bert(runtime, config, randomWeights(config, precision));
  const [ids, types] = [randomIds(tokens, config), new Int32Array(tokens)];
  return {
    version: VERSION,
    kernels: runtime.info.kernels,
    answer: () => bert.forward(ids, types).then(() => undefined),
  };
}

async function transformersJs() {
  const entry = createRequire(join(dir, 'package.json')).resolve('@huggingface/transformers');
  const { env, pipeline } = await import(pathToFileURL(entry).href);
  env.allowRemoteModels = false;
  env.localModelPath = dir;
  const qa = await pipeline('question-answering', 'answers', {
    dtype: dtype === 'int8' ? 'q8' : dtype,
    session_options: { intraOpNumThreads: threads },
  });
  const answer = async (asked: { question?: string; context?: string }) => {
    return { text: (await qa(asked.question, asked.context)).answer.trim() };
  };
  return { version: env.version, answer };
}

/** ONNX Runtime's forwards alone, native or WebAssembly. */
async function onnxRuntime() {
  const ort = createRequire(`${dir}/`)(engine);
  const isWeb = engine === 'onnxruntime-web';
  if (isWeb) ort.env.wasm.numThreads = threads;
  const tensor = (of: (_: unknown, i: number) => bigint) =>
    new ort.Tensor('int64', BigInt64Array.from({ length: tokens }, of), [1, tokens]);
  const feeds = {
    input_ids: tensor((_, i) => BigInt(1000 + ((i * 7919) % 27000))),
    token_type_ids: tensor(() => 0n),
  };
  const path = `${dir}/${dtype}.onnx`;
  const session = await (isWeb
    ? ort.InferenceSession.create(new Uint8Array(readFileSync(path)), { executionProviders: ['wasm'] })
    : ort.InferenceSession.create(path, { intraOpNumThreads: threads }));
  return { version: ort.env.versions.common, answer: () => session.run(feeds).then(() => undefined) };
}

const own = job.what === 'forward' ? bertletForward : bertlet;
const open = { bertlet: own, 'transformers.js': transformersJs }[engine] ?? onnxRuntime;
await serve(async () => ({ engine, dtype, ...(await open()) }), { question, context });
