/** bertlet as an engine of run.ts that computes forwards alone, of bert-base-cased's shape. Usage: forward.ts TOKENS DTYPE THREADS */
import { Bert, openRuntime, type Precision } from '../../src/tensor.ts';
import { randomIds, randomWeights } from '../model.ts';
import { SHAPES } from '../shapes.ts';
import { VERSION } from '../version.ts';
import { serve } from './serve.ts';

const [tokens, dtype, threads] = process.argv.slice(2) as [string, string, string];
const config = SHAPES['bert-base-cased']!;
await serve(async () => {
  const runtime = await openRuntime('cpu', { threads: Number(threads) });
  const precision = (dtype.split(' ')[1] ?? dtype) as Precision;
  const bert = new Bert(runtime, config, randomWeights(config, precision));
  const [ids, types] = [randomIds(Number(tokens), config), new Int32Array(Number(tokens))];
  const answer = async () => {
    await bert.forward(ids, types);
    return undefined;
  };
  return { engine: 'bertlet', version: VERSION, dtype, kernels: runtime.info.kernels, answer };
});
