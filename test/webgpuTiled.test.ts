/** The GPU's tiled products, which GPUs use: linears against the reference, on a software adapter. */
import { describe, expect, test } from 'vitest';
import { TILED, useGpu } from './gpu.ts';
import { ACCUMULATOR_SIZES, shareOfBound, TILED_CASES, wrongAccumulators } from './support.ts';

const { device } = useGpu(TILED);

const CHOICES = [
  ['tiled, packed', TILED, TILED_CASES],
  ['tiled, float', { ...TILED, int8: 'float' }, TILED_CASES.filter(([op]) => op === 'linearInt8')],
] as const;

describe.each(CHOICES)('%s', (_, choice, cases) => {
  test.each(cases)('%s, %s: within its bound of the reference', async (_, key, op) => {
    expect(await shareOfBound(device(choice), key, op)).toBeLessThanOrEqual(1);
    device(choice).clear();
  });
  test.each(ACCUMULATOR_SIZES)(
    '%d tokens, %d features, %d outputs: accumulators equal exact sums',
    async (...sizes) => {
      expect(await wrongAccumulators(device(choice), ...sizes)).toBe(0);
      device(choice).clear();
    },
  );
});
