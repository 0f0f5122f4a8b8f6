/** The GPU's tiled products, which GPUs use: linears against the reference, on a software adapter. */
import { TILED, testKernels, useGpu } from '../gpu.ts';
import { TILED_CASES } from '../support.ts';

const { device } = useGpu(TILED);

testKernels(device, [
  ['tiled, packed', TILED, TILED_CASES],
  ['tiled, float', { ...TILED, int8: 'float' }, TILED_CASES.filter(([op]) => op === 'linearInt8')],
]);
