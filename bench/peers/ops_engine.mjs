// An engine of ops.ts: float32, one thread. Usage: ops_engine.mjs bertlet|onnxruntime-web|tfjs|jax-js DIR
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { openRuntime } from '../../src/tensor.ts';
import { VERSION } from '../version.ts';
import { CHAIN, factor, NAMES, SIZE, verify, x } from './opsData.ts';
import { serve } from './serve.ts';

const [name, dir] = process.argv.slice(2);
const require = createRequire(`${dir}/`);
const shape = [SIZE, SIZE];
const versionOf = (name) => JSON.parse(readFileSync(`${dir}/node_modules/${name}/package.json`, 'utf8')).version;
/** The function that does `one` CHAIN times. */
const chain = (one) => (from) => {
  let y = from;
  for (let i = 0; i < CHAIN; i++) y = one(y);
  return y;
};

/** Each returns the engine's version, and for each op a function that computes it and reads the result. */
const ENGINES = {
  async bertlet() {
    const rt = await openRuntime('cpu', { threads: 1 });
    const [a, b] = [x, factor].map((data) => rt.tensor({ shape, data }));
    const ops = { matmul: (y) => rt.matmul(y, b), softmax: (y) => rt.softmax(y), add: (y) => rt.add(y, b) };
    const results = NAMES.map((op) => [op, chain(ops[op])(a)]); // a read computes all anew
    return [VERSION, results.map(([op, y]) => [op, () => rt.read(y)])];
  },
  async 'onnxruntime-web'() {
    const ort = require('onnxruntime-web');
    ort.env.wasm.numThreads = 1;
    const [a, b] = [x, factor].map((data) => new ort.Tensor('float32', data, shape));
    const run = async (op) => {
      const session = await ort.InferenceSession.create(`${dir}/${op}.onnx`, { executionProviders: ['wasm'] });
      const feeds = Object.fromEntries(session.inputNames.map((input) => [input, input === 'x' ? a : b]));
      return [op, async () => (await session.run(feeds)).y.data];
    };
    return [ort.env.versions.common, await Promise.all(NAMES.map(run))];
  },
  async tfjs() {
    const tf = require('@tensorflow/tfjs-core');
    require('@tensorflow/tfjs-backend-wasm');
    tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false);
    await tf.setBackend('wasm');
    const [a, b] = [x, factor].map((data) => tf.tensor2d(data, shape));
    const ops = { matmul: (y) => tf.matMul(y, b), softmax: (y) => tf.softmax(y), add: (y) => tf.add(y, b) };
    const run = (op) => async () => {
      const y = tf.tidy(() => chain(ops[op])(a));
      const data = await y.data();
      y.dispose();
      return data;
    };
    return [versionOf('@tensorflow/tfjs-backend-wasm'), NAMES.map((op) => [op, run(op)])];
  },
  async 'jax-js'() {
    const { defaultDevice, init, nn, numpy } = require('@jax-js/jax');
    await init('wasm');
    defaultDevice('wasm');
    const [a, b] = [x, factor].map((data) => numpy.array(data).reshape(shape));
    const ops = {
      matmul: (y) => numpy.matmul(y, b.ref),
      softmax: (y) => nn.softmax(y),
      add: (y) => numpy.add(y, b.ref),
    };
    return [versionOf('@jax-js/jax'), NAMES.map((op) => [op, () => chain(ops[op])(a.ref).data()])];
  },
};

await serve(async () => {
  const [version, entries] = await ENGINES[name]();
  const runs = Object.fromEntries(entries);
  /** The op is what is asked; at first all of them are verified. */
  const answer = async ({ question }) => {
    if (question) await runs[question]();
    else for (const op of NAMES) verify(name, op, await runs[op]());
  };
  return { engine: name, version, dtype: 'fp32', answer };
});
