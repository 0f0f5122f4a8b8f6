// @unit
/** The quantizer and the integer product: equal to PyTorch's, bit for bit. */
import { describe, expect, test } from 'vitest';
import { constant, tensor } from '../kernels/op.ts';
import { ReferenceDevice } from '../src/devices/reference.ts';
import { matmulInt8, quantizeActivations, quantizeWeight, roundHalfEven } from '../src/quantize.ts';
import { type QuantizedTensor, Runtime } from '../src/runtime.ts';
import { TESTED } from './opCases.ts';
import { expectError, float32, goldenCases, goldenTensors, largestDifference } from './support.ts';

const goldens = goldenTensors('quantizer');
const distinct = (values: ArrayLike<number>) => [...new Set(Array.from(values))];

describe('activations equal fbgemm', () => {
  test.each([...goldenCases(goldens, 'activations')])('%s: scale, zero point, ints', (_, golden) => {
    const { data, scale, zeroPoint } = quantizeActivations(float32(golden.x), 'torch');
    expect(distinct(scale)).toEqual([...float32(golden.scale).data]);
    expect(distinct(zeroPoint)).toEqual([...(golden.zeroPoint!.data as Int32Array)]);
    expect(data).toEqual(new Uint8Array(golden.xq!.data as Uint8Array));
  });

  test('accurate: each row as if it were alone', () => {
    const { x } = TESTED.linearInt8.cases.accurate!();
    const [rows, columns] = x.shape as [number, number];
    const all = quantizeActivations(x, 'accurate');
    for (let row = 0; row < rows; row++) {
      const values = x.data.slice(row * columns, (row + 1) * columns);
      const one = quantizeActivations(tensor([1, columns], values), 'torch');
      expect(all.data.slice(row * columns, (row + 1) * columns)).toEqual(one.data);
      expect([all.scale[row], all.zeroPoint[row]]).toEqual([one.scale[0], one.zeroPoint[0]]);
    }
    expect(distinct(all.scale).length).toBe(rows);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])('%d is refused', (value) =>
    expectError('input', /activations \[1,2\]: expected finite values, got/, () =>
      quantizeActivations(tensor([1, 2], Float32Array.of(1, value)), 'torch'),
    ),
  );
});

describe('weights equal the torch.ao observers', () => {
  test.each([...goldenCases(goldens, 'weights')])('per tensor, %s: scale, ints', (_, golden) => {
    const { data, scale } = quantizeWeight(float32(golden.w), 'torch');
    expect(distinct(scale)).toEqual([...float32(golden.scale).data]);
    expect(data).toEqual(new Int8Array(golden.wq!.data as Int8Array));
  });
  test.each([...goldenCases(goldens, 'weightsPerChannel')])('per channel, %s: scales, ints', (_, golden) => {
    const { data, scale } = quantizeWeight(float32(golden.w), 'accurate');
    expect([...scale]).toEqual([...float32(golden.scale).data]);
    expect(data).toEqual(new Int8Array(golden.wq!.data as Int8Array));
  });
  test('NaN is refused', () =>
    expectError('input', /weight \[1,2\]: expected finite values, got NaN/, () =>
      quantizeWeight(tensor([1, 2], Float32Array.of(1, Number.NaN)), 'torch'),
    ));
});

describe('linearInt8 equals quantize_dynamic', () => {
  const runtime = new Runtime(new ReferenceDevice());
  test.each([...goldenCases(goldens, 'linearInt8')])('%s: ints, accumulators, outputs', async (_, golden) => {
    const weight = quantizeWeight(float32(golden.weight), 'torch');
    expect(weight.data).toEqual(new Int8Array(golden.wq!.data as Int8Array));
    const x = quantizeActivations(float32(golden.x), 'torch');
    expect(x.data).toEqual(new Uint8Array(golden.xq!.data as Uint8Array));
    expect(matmulInt8(x, weight)).toEqual(new Int32Array(golden.acc!.data as Int32Array));
    const layer = runtime.linearLayer(weight, float32(golden.bias));
    const y = await runtime.read(runtime.linear(runtime.tensor(float32(golden.x)), layer));
    expect(largestDifference(y, float32(golden.y).data)).toBe(0); // fbgemm's fused multiply-add, reproduced
  });
});

describe('matmulInt8 equals BigInt sums', () => {
  const int8 = (rows: number, data: number[]): QuantizedTensor => ({
    dtype: 'I8',
    shape: [rows, data.length / rows],
    data: Int8Array.from(data),
    scale: new Float32Array(rows),
    scheme: 'torch',
  });
  const exact = (left: number[], zeroPoint: number, right: number[], features: number) => {
    const [rows, columns] = [left.length / features, right.length / features];
    return Array.from({ length: rows * columns }, (_, at) => {
      let sum = 0n;
      for (let k = 0; k < features; k++) {
        const l = left[Math.floor(at / columns) * features + k]! - zeroPoint;
        sum += BigInt(l) * BigInt(right[(at % columns) * features + k]!);
      }
      return Number(sum);
    });
  };
  const check = (left: number[], zeroPoint: number, right: number[], features: number) => {
    const rows = left.length / features;
    const x = {
      data: Uint8Array.from(left),
      scale: new Float32Array(rows),
      zeroPoint: new Int32Array(rows).fill(zeroPoint),
    };
    expect([...matmulInt8(x, int8(right.length / features, right))]).toEqual(exact(left, zeroPoint, right, features));
  };
  test('the matrices of onnxruntime#7524', () =>
    check([238, 115, 94, 245, 111, 102, 158, 225, 48], 42, [25, 42, -81, 36, -123, -86, 125, 76, 35], 3));
  test('3072 features at their extremes: 0 and 128 with 0..127, -128 and 127', () => {
    const left = Array.from({ length: 2 * 3072 }, (_, i) => (i < 3072 ? 128 : 0));
    const right = Array.from({ length: 2 * 3072 }, (_, i) => (i < 3072 ? -128 : 127));
    for (const zeroPoint of [0, 64, 127]) check(left, zeroPoint, right, 3072);
  });
});

test('roundHalfEven: nearest, ties to even, exact', () => {
  const cases = [0.5, 1.5, 2.5, -0.5, -1.5, 0.49999999999999994, 126.5, 127.5, -127.5, 2 ** 40 + 0.5, -0.7];
  expect(cases.map(roundHalfEven)).toEqual([0, 2, 2, 0, -2, 0, 126, 128, -128, 2 ** 40, -1]);
});

test('a weight of zeros and an input of zeros give the bias', async () => {
  const runtime = new Runtime(new ReferenceDevice());
  const weight = quantizeWeight(constant([2, 3], 0), 'torch');
  const layer = runtime.linearLayer(weight, tensor([2], Float32Array.of(1.5, -2)));
  const y = runtime.linear(runtime.tensor(constant([1, 3], 0)), layer);
  expect([...(await runtime.read(y))]).toEqual([1.5, -2]);
});
