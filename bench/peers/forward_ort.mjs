// ONNX Runtime as an engine of run.ts that computes forwards alone, native or WebAssembly. Usage: forward_ort.mjs TOKENS DTYPE THREADS DIR node|web
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { serve } from './serve.ts';

const [tokens, dtype, threads, dir, kind] = process.argv.slice(2);
await serve(async () => {
  const engine = `onnxruntime-${kind}`;
  const ort = createRequire(`${dir}/`)(engine);
  if (kind === 'web') ort.env.wasm.numThreads = Number(threads);
  const tensor = (of) =>
    new ort.Tensor('int64', BigInt64Array.from({ length: Number(tokens) }, of), [1, Number(tokens)]);
  const all = {
    input_ids: tensor((_, i) => BigInt(1000 + ((i * 7919) % 27000))),
    token_type_ids: tensor(() => 0n),
  };
  const path = `${dir}/${dtype}.onnx`;
  const session = await (kind === 'web'
    ? ort.InferenceSession.create(new Uint8Array(readFileSync(path)), { executionProviders: ['wasm'] })
    : ort.InferenceSession.create(path, { intraOpNumThreads: Number(threads) }));
  const feeds = Object.fromEntries(session.inputNames.map((input) => [input, all[input]]));
  return { engine, version: ort.env.versions.common, dtype, answer: async () => void (await session.run(feeds)) };
});
