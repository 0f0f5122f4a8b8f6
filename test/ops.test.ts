/** The reference ops against PyTorch's, each within the bound that kernels/ derives for float32 arithmetic. */
import { describe, expect, test } from 'vitest';
import { ALL_OPS, OPS } from '../kernels/index.ts';
import { constant, type Float32Tensor, type Op, tensor, U } from '../kernels/op.ts';
import { erf, gelu, ReferenceBackend, softmax } from '../src/backends/reference.ts';
import type { HostTensor } from '../src/runtime.ts';
import { expectError, float32, goldenCases, goldenTensors, largestDifference, largestShare } from './support.ts';

const backend = new ReferenceBackend();
const goldens = goldenTensors('ops');

/** Runs the op on a golden's inputs and returns the largest error as a share of its bound. */
async function compare<I>(op: Op<I>, inputs: I, y: HostTensor | undefined): Promise<number> {
  return largestShare(await backend.read(op.run(backend, inputs)), float32(y).data, op.bound(inputs));
}

/** One test for each golden case of an op: its inputs as the op takes them. */
function testGoldens<I>(group: string, op: Op<I>, inputs: (t: Record<string, HostTensor>, name: string) => I): void {
  test.each([...goldenCases(goldens, group)])(`${group}: %s`, async (name, tensors) => {
    expect(await compare(op, inputs(tensors, name), tensors.y)).toBeLessThanOrEqual(1);
  });
}

describe('reference ops equal PyTorch within the derived bound', () => {
  const linearInputs = ({ x, weight, bias }: Record<string, HostTensor>) => ({
    x: float32(x),
    weight: float32(weight),
    bias: float32(bias),
  });
  testGoldens('linear', OPS.linear, linearInputs);
  testGoldens('linearGelu', OPS.linear, (t) => ({ ...linearInputs(t), activation: 'gelu' as const }));
  testGoldens('layerNorm', OPS.layerNorm, ({ x, residual, gamma, beta }) => ({
    x: float32(x),
    residual: residual ? float32(residual) : null,
    gamma: float32(gamma),
    beta: float32(beta),
    eps: 1e-12,
  }));
  testGoldens('attention', OPS.attention, ({ qkv }, name) => ({
    qkv: float32(qkv),
    heads: Number(/-h(\d+)$/.exec(name)?.[1]),
  }));
  testGoldens('embedding', OPS.embedding, ({ ids, typeIds, word, position, type }) => ({
    ids: ids!.data as Int32Array,
    typeIds: typeIds!.data as Int32Array,
    word: float32(word),
    position: float32(position),
    type: float32(type),
  }));

  test.each([...goldenCases(goldens, 'gelu')])('gelu: %s, error < 4 U |x|', (_, { x, y }) => {
    const inputs = float32(x).data;
    const bound = Array.from(inputs, (value) => 4 * U * Math.abs(value));
    expect(largestShare(inputs.map(gelu), float32(y).data, bound)).toBeLessThanOrEqual(1);
  });

  test.each([...goldenCases(goldens, 'softmax')])('softmax: %s, error < 3e-7', (_, { x, y }) => {
    const [rows, n] = [x!.shape[0]!, x!.shape[1]!];
    for (let row = 0; row < rows; row++) {
      const exact = softmax(float32(x).data.slice(row * n, (row + 1) * n));
      expect(largestDifference(exact, float32(y).data.subarray(row * n, (row + 1) * n))).toBeLessThan(3e-7);
    }
  });
});

describe('the bounds', () => {
  test.each(ALL_OPS.map((op) => [op.name, op] as const))('%s: finite, and small against the outputs', async (_, op) => {
    for (const [name, make] of Object.entries(op.cases)) {
      const inputs = make();
      const y = await backend.read(op.run(backend, inputs));
      const bound = op.bound(inputs);
      expect(bound.length, name).toBe(y.length);
      expect(y.every(Number.isFinite) && bound.every(Number.isFinite), name).toBe(true);
      const [largest, largestBound] = [y, bound].map((v) =>
        Array.from(v).reduce((a, b) => Math.max(a, Math.abs(b)), 0),
      );
      // Most are below 1e-4; the worst conditioned case, layerNorm of one value, divides an error by sqrt(eps).
      expect(largestBound!, name).toBeLessThan(0.2 * Math.max(largest!, 1));
    }
  });
});

describe('erf', () => {
  // Abramowitz & Stegun, table 7.1, to the 10 digits printed there.
  test.each([
    [0, 0],
    [0.5, 0.5204998778],
    [1, 0.8427007929],
    [1.5, 0.9661051465],
    [2, 0.995322265],
    [-1, -0.8427007929],
    [7, 1],
  ])('erf(%d) = %d', (x, expected) => expect(erf(x)).toBeCloseTo(expected, 10));
});

describe('shapes that do not fit are refused with both values', () => {
  const zeros = (...shape: number[]): Float32Tensor => constant(shape, 0);
  test('linear: features', () =>
    expectError('input', /linear \[2,3\] x \[5,4\]: expected input features of 4, got 3/, () =>
      backend.linear(zeros(2, 3), { weight: zeros(5, 4), bias: zeros(5) }),
    ));
  test('linear: bias', () =>
    expectError('input', /expected bias of 5, got 4/, () =>
      backend.linear(zeros(2, 4), { weight: zeros(5, 4), bias: zeros(4) }),
    ));
  test('layerNorm: gamma', () =>
    expectError('input', /layerNorm: expected gamma of 3, got 4/, () =>
      backend.layerNorm(zeros(2, 3), null, { gamma: zeros(4), beta: zeros(3) }, 1e-12),
    ));
  test('layerNorm: residual', () =>
    expectError('input', /expected residual of 6, got 3/, () =>
      backend.layerNorm(zeros(2, 3), zeros(1, 3), { gamma: zeros(3), beta: zeros(3) }, 1e-12),
    ));
  test('attention: heads', () =>
    expectError('input', /attention: expected 3 x hidden columns for 4 heads, got 18/, () =>
      backend.attention(zeros(2, 18), 4),
    ));
  test('embedding: lengths', () =>
    expectError('input', /embedding: expected typeIds of 2, got 1/, () =>
      backend.embedding(Int32Array.of(0, 1), Int32Array.of(0), {
        word: zeros(2, 4),
        position: zeros(2, 4),
        type: zeros(2, 4),
      }),
    ));
});

test('ops leave their inputs alone', async () => {
  const x = tensor([1, 3], Float32Array.of(1, -2, 3));
  backend.layerNorm(x, x, { gamma: constant([3], 1), beta: constant([3], 0) }, 1e-12);
  backend.attention(x, 1);
  expect([...x.data]).toEqual([1, -2, 3]);
});
