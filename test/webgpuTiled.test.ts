/** The GPU's tiled products, which GPUs use: linears against the reference, on a software adapter. */
import { describe, expect, test } from 'vitest';
import type { Runtime } from '../src/runtime.ts';
import { TILED, useGpu } from './gpu.ts';
import { ACCUMULATOR_SIZES, LINEAR_CASES, shareOfBound, wrongAccumulators } from './support.ts';

const { backend } = useGpu();

/** Tiles of 64 rows are for float weights; the int8 product does not depend on them. */
const CHOICES = [
  ['tiled, packed', TILED, LINEAR_CASES],
  ['tiled, float', { ...TILED, int8: 'float' }, LINEAR_CASES.filter(([op]) => op === 'linearInt8')],
  ['tiled by 64', { ...TILED, groups: 2 }, LINEAR_CASES.filter(([op]) => op === 'linear')],
] as const;

describe.each(CHOICES)('%s', (_, choice, cases) => {
  test.each(cases)('%s, %s: within its bound of the reference', async (_, key, op) => {
    expect(await shareOfBound(backend(choice) as Backend, key, op)).toBeLessThanOrEqual(1);
    backend(choice).clear();
  });
  test.each(cases.some(([op]) => op === 'linearInt8') ? ACCUMULATOR_SIZES : [])(
    '%d tokens, %d features, %d outputs: accumulators equal exact sums',
    async (...sizes) => {
      expect(await wrongAccumulators(backend(choice) as Backend, ...sizes)).toBe(0);
      backend(choice).clear();
    },
  );
});
