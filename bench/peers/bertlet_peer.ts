/** bertlet as a peer of run.ts. Usage: bertlet_peer.ts TOKENS THREADS */
import { startCpu } from '../../src/devices/cpu/start.ts';
import type { Precision } from '../../src/tensor.ts';
import { forwardOf, randomWeights } from '../model.ts';
import { SHAPES } from '../shapes.ts';
import { serve } from './serve.ts';

const [tokens, threads] = process.argv.slice(2).map(Number) as [number, number];
const config = SHAPES['bert-base-cased']!;
const model = async (precision: Precision) => {
  const { device, kernels } = await startCpu({ threads });
  return { kernels, forward: forwardOf(device, config, randomWeights(config, precision)) };
};
const models = { fp32: await model('fp32'), int8: await model('torch') };
const forward = (dtype: keyof typeof models) => () => models[dtype].forward(tokens);
await serve(`bertlet (${models.int8.kernels})`, { fp32: forward('fp32'), int8: forward('int8') });
