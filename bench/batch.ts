/**
 * Times of batches: `npx node bench/batch.ts [--device webgpu] [--dtype fp32] [--model FOLDER]`. Sequences of 16 and of 133 tokens,
 * one after another and in batches of 2, 8 and 32, in turns; first that the logits are the same bits. Prints medians for each
 * sequence.
 */
import { parseArgs } from 'node:util';
import { type LoadOptions, load, type QuestionAnswering } from '../src/index.ts';
import { markdown } from './columns.ts';
import { median } from './measure.ts';

const { values } = parseArgs({
  options: {
    device: { type: 'string', default: 'cpu' },
    dtype: { type: 'string', default: 'int8' },
    threads: { type: 'string' },
    model: { type: 'string', default: 'weights/minilm-l6-qa' },
    rounds: { type: 'string', default: '15' },
  },
});
const SIZES = [1, 2, 8, 32];
const options: LoadOptions = {
  device: values.device as 'cpu' | 'webgpu' | 'reference',
  dtype: values.dtype as 'int8' | 'fp32' | 'fp16',
  scheme: values.dtype === 'int8' ? 'torch' : undefined,
  threads: values.threads ? Number(values.threads) : undefined,
};
const models: QuestionAnswering[] = [];
for (const batchSize of SIZES) models.push(await load(values.model, { ...options, batchSize }));
const { device, dtype, threads, kernels, adapter } = models[0]!.info;
console.log(`${[device, dtype, threads && `${threads} threads`, kernels, adapter].filter(Boolean).join(', ')}\n`);

const rows: string[][] = [];
for (const tokens of [16, 133]) {
  const inputs = Array.from({ length: 32 }, (_, i) => ({
    inputIds: Array.from({ length: tokens }, (_, k) => 1000 + ((i * 131 + k * 7919) % 20000)),
    tokenTypeIds: Array.from({ length: tokens }, (_, k) => Number(2 * k > tokens)),
  }));
  const run = (model: (typeof models)[number]) => Promise.all(inputs.map((input) => model.logits(input)));
  const want = JSON.stringify((await run(models[0]!)).map(({ start }) => [...start]));
  for (const model of models) {
    if (JSON.stringify((await run(model)).map(({ start }) => [...start])) !== want) throw new Error('other logits');
  }
  const times = models.map((): number[] => []);
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [i, model] of models.entries()) {
      const begin = performance.now();
      await run(model);
      times[i]!.push((performance.now() - begin) / inputs.length);
    }
  }
  const medians = times.map(median);
  const faster = medians.slice(1).map((each) => `${(medians[0]! / each).toFixed(2)}x`);
  rows.push([`${tokens} tokens`, medians[0]!.toFixed(2), ...faster]);
}
console.log(markdown(['', 'one at a time, ms', ...SIZES.slice(1).map((size) => `${size} at a time`)], rows));
for (const model of models) await model.dispose();
