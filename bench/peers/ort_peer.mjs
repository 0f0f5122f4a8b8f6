// ONNX Runtime as a peer of run.ts, native or WebAssembly. Usage: ort_peer.mjs TOKENS THREADS DIR node|web
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

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
console.log(JSON.stringify({ name: `${name} ${version}`, dtypes: Object.keys(sessions) }));
for await (const line of createInterface({ input: process.stdin })) {
  const [dtype, n] = line.split(' ');
  const { inputNames } = sessions[dtype];
  const feeds = Object.fromEntries(inputNames.map((input) => [input, all[input]]));
  const ms = [];
  for (let i = 0; i < Number(n); i++) {
    const start = performance.now();
    await sessions[dtype].run(feeds);
    ms.push(performance.now() - start);
  }
  console.log(JSON.stringify(ms));
}
process.exit(0);
