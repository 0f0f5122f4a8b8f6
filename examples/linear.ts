/** docs/quantization.md's worked example: one int8 linear layer, and the integers on its way. `npx node examples/linear.ts` */
import { matmulInt8, openRuntime, quantizeActivations, quantizeWeight } from 'bertlet/tensor';

const x = { dtype: 'F32', shape: [2, 3], data: Float32Array.of(0.5, -0.25, 1, 0.2, -12, 0.1) } as const;
const weight = { dtype: 'F32', shape: [2, 3], data: Float32Array.of(0.5, -0.3, 0.8, 0.02, 0.05, -0.04) } as const;
const bias = { data: Float32Array.of(0.1, -0.2) };

const [xq, wq] = [quantizeActivations(x, 'torch'), quantizeWeight(weight, 'torch')];
console.log('xq ', xq.data.join(' '), '  scale', xq.scale[0], '  zero point', xq.zeroPoint[0]);
console.log('wq ', wq.data.join(' '), '  scale', wq.scale[0]);
console.log('acc', matmulInt8(xq, wq).join(' '));

await using runtime = await openRuntime('cpu', { threads: 1 });
const layers = [runtime.linearLayer(weight, bias), runtime.linearLayer(wq, bias)].map((layer) =>
  runtime.linear(runtime.tensor(x), layer),
);
for (const y of layers) console.log('y  ', (await runtime.read(y)).join(' '));
