// ONNX Runtime as a peer of run.ts, native or WebAssembly. Usage: ort_peer.mjs TOKENS THREADS DIR node|web
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { serve } from './serve.ts';

const [tokens, threads, dir, kind] = process.argv.slice(2);
const name = `onnxruntime-${kind}`;
const ort = createRequire(`${dir}/`)(name);
const version = ort.env.versions.common;
if (kind === 'web') ort.env.wasm.numThreads = Number(threads);
const tensor = (data) => new ort.Tensor('int64', data, [1, Number(tokens)]);
const all = {
  input_ids: tensor(BigInt64Array.from({ length: Number(tokens) }, (_, i) => BigInt(1000 + ((i * 7919) % 27000)))),
  token_type_ids: tensor(new BigInt64Array(Number(tokens))),
};
const sessions = {};
for (const dtype of ['fp32', 'int8']) {
  const options = kind === 'web' ? { executionProviders: ['wasm'] } : { intraOpNumThreads: Number(threads) };
  sessions[dtype] = await ort.InferenceSession.create(
    kind === 'web' ? new Uint8Array(readFileSync(`${dir}/${dtype}.onnx`)) : `${dir}/${dtype}.onnx`,
    options,
  );
}
const forward = (session) => {
  const feeds = Object.fromEntries(session.inputNames.map((input) => [input, all[input]]));
  return () => session.run(feeds);
};
const runs = Object.fromEntries(Object.entries(sessions).map(([dtype, session]) => [dtype, forward(session)]));
await serve(`${name} ${version}`, runs);
