/** Batches on the GPU, on a software adapter: each sequence has the bits that it has alone, all in one submit. */
import { describe } from 'vitest';
import { batchTests } from '../batches.ts';
import { useGpu } from '../gpu.ts';

const { device } = useGpu();

describe('batches', () => batchTests(async () => device(), ['fp32', 'torch', 'accurate', 'fp16']));
