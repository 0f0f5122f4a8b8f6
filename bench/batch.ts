/**
 * Times of batches: `npx node bench/batch.ts [DEVICE [DTYPE]]`. Sequences of 16 and of 133 tokens, one after another and in
 * batches of 2, 8 and 32, in turns: medians for each sequence.
 */
import { type LoadOptions, load } from '../src/index.ts';
import { markdown } from './columns.ts';
import { inTurns, median, timed } from './measure.ts';
import { MODEL } from './peers/engines.ts';

const [device = 'cpu', dtype = 'int8'] = process.argv.slice(2) as [LoadOptions['device'], LoadOptions['dtype']];
const SIZES = [1, 2, 8, 32];
const scheme = dtype === 'int8' ? 'torch' : undefined;
const models = await Promise.all(SIZES.map((batchSize) => load(MODEL, { device, dtype, scheme, batchSize })));
const { threads, kernels, adapter } = models[0]!.info;
console.log(`${[device, dtype, threads && `${threads} threads`, kernels, adapter].filter(Boolean).join(', ')}\n`);

const rows: string[][] = [];
for (const tokens of [16, 133]) {
  const inputs = Array.from({ length: SIZES.at(-1)! }, (_, i) => ({
    inputIds: Array.from({ length: tokens }, (_, k) => 1000 + ((i * 131 + k * 7919) % 20000)),
    tokenTypeIds: Array.from({ length: tokens }, (_, k) => Number(2 * k > tokens)),
  }));
  const runs = models.map((model) => timed(() => Promise.all(inputs.map((input) => model.logits(input)))));
  const times = await inTurns(runs, { warmups: 1, rounds: 15 });
  const medians = SIZES.map((_, i) => median(times[i]!) / inputs.length);
  const faster = medians.slice(1).map((each) => `${(medians[0]! / each).toFixed(2)}x`);
  rows.push([`${tokens} tokens`, medians[0]!.toFixed(2), ...faster]);
}
console.log(markdown(['', 'one at a time, ms', ...SIZES.slice(1).map((size) => `${size} at a time`)], rows));
for (const model of models) await model.dispose();
