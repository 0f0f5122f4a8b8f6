/** Batches on the GPU, on a software adapter: each sequence has the bits that it has alone, all in one submit. */
import { describe } from 'vitest';
import { batchTests } from '../batches.ts';
import { DIRECT, TILED, useGpu } from '../gpu.ts';

const { device } = useGpu();

describe('batches, direct products', () =>
  batchTests(async () => device(DIRECT), ['fp32', 'torch', 'accurate', 'fp16']));
describe('batches, tiled products', () => batchTests(async () => device(TILED), ['torch', 'accurate']));
