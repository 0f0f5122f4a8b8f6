// @unit
/** The reference ops against PyTorch's, each within the bound that kernels/ derives for float32 arithmetic. */
import { describe, expect, test } from 'vitest';
import { OPS } from '../kernels/index.ts';
import { constant, type Op, tensor, U } from '../kernels/op.ts';
import { erf, gelu, ReferenceDevice, softmax } from '../src/devices/reference.ts';
import { type HostTensor, Runtime } from '../src/runtime.ts';
import { TESTED_OPS } from './opCases.ts';
import { expectError, float32, goldenCases, goldenTensors, largestDifference, largestShare } from './support.ts';

const runtime = new Runtime(new ReferenceDevice());
const [goldens, general] = ['ops', 'general'].map(goldenTensors) as [Goldens, Goldens];
type Goldens = ReturnType<typeof goldenTensors>;

/** Runs the op on a golden's inputs and returns the largest error as a share of its bound. */
async function compare<I>(op: Op<I>, inputs: I, y: HostTensor | undefined): Promise<number> {
  return largestShare(await runtime.read(op.run(runtime, inputs)), float32(y).data, op.bound(inputs));
}

/** One test for each golden case of an op: its inputs as the op takes them. */
function testGoldens<I>(
  group: string,
  op: Op<I>,
  inputs: (t: Record<string, HostTensor>, name: string) => I,
  from = goldens,
): void {
  test.each([...goldenCases(from, group)])(`${group}: %s`, async (name, tensors) => {
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

  const one = ({ x }: Record<string, HostTensor>) => ({ x: float32(x) });
  const two = ({ x, other }: Record<string, HostTensor>) => ({ x: float32(x), other: float32(other) });
  for (const name of ['gelu', 'relu', 'tanh', 'sigmoid'] as const) {
    testGoldens(name, OPS.activation, (t) => ({ ...one(t), name }), general);
  }
  testGoldens('linearRelu', OPS.linear, (t) => ({ ...linearInputs(t), activation: 'relu' as const }), general);
  testGoldens('linearTanh', OPS.linear, (t) => ({ ...linearInputs(t), activation: 'tanh' as const }), general);
  testGoldens('add', OPS.add, two, general);
  testGoldens('mul', OPS.mul, two, general);
  testGoldens('matmul', OPS.matmul, two, general);
  testGoldens('softmax', OPS.softmax, one, general);
  testGoldens('transpose', OPS.transpose, one, general);
  testGoldens('mean', OPS.mean, (t) => ({ ...one(t), lengths: [t.x!.shape[0]!] }), general);
  testGoldens('rows', OPS.rows, (t) => ({ ...one(t), indices: t.indices!.data as Int32Array }), general);

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

/** Cases whose inputs are not all finite: only where the result is, its bound is. */
const NOT_FINITE = /hard|no numbers|NaN/;
describe('the bounds', () => {
  test.each(TESTED_OPS.map((op) => [op.name, op] as const))(
    '%s: finite, and small against the outputs',
    async (_, op) => {
      for (const [name, make] of Object.entries(op.cases)) {
        const inputs = make();
        const y = await runtime.read(op.run(runtime, inputs));
        const bound = op.bound(inputs);
        expect(bound.length, name).toBe(y.length);
        const finite = [...y.keys()].filter((i) => Number.isFinite(y[i]) || !NOT_FINITE.test(name));
        expect(
          finite.every((i) => Number.isFinite(y[i]) && Number.isFinite(bound[i])),
          name,
        ).toBe(true);
        const [largest, largestBound] = [y, bound].map((v) =>
          finite.reduce((most, i) => Math.max(most, Math.abs(v[i]!)), 0),
        );
        // Most are below 1e-4; the worst conditioned case, layerNorm of one value, divides an error by sqrt(eps).
        expect(largestBound!, name).toBeLessThan(0.2 * Math.max(largest!, 1));
      }
    },
  );
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
  const zeros = (...shape: number[]) => runtime.tensor(constant(shape, 0));
  const layer = (out: number, features: number, bias = out) =>
    runtime.linearLayer(constant([out, features], 0), constant([bias], 0), 'the layer');
  const ids = (...values: number[]) => Int32Array.from(values);
  const tables = { word: zeros(5, 4), position: zeros(3, 4), type: zeros(2, 4) };
  test.each<[string, RegExp, () => unknown]>([
    [
      'tensor: elements',
      /^tensor: expected a shape \[rows, columns\], .*, got \[2,3\], "F32", Float32Array of 5\.$/,
      () => runtime.tensor(tensor([2, 3], new Float32Array(5))),
    ],
    [
      'tensor: none',
      /^tensor: expected a shape .*at least 1, .*, got \[0,3\], "F32", Float32Array of 0\.$/,
      () => zeros(0, 3),
    ],
    [
      'tensor: three sizes',
      /^tensor: expected a shape .*, got \[1,2,3\], "F32", Float32Array of 6\.$/,
      () => zeros(1, 2, 3),
    ],
    [
      'linear: features',
      /^the layer \[2,3\] x \[5,4\]: expected input features of 4, got 3\.$/,
      () => runtime.linear(zeros(2, 3), layer(5, 4)),
    ],
    [
      'linear: bias',
      /^the layer: bias.data: expected Float32Array of 5, got Float32Array of 4\.$/,
      () => layer(5, 4, 4),
    ],
    [
      'layerNorm: gamma',
      /^layerNorm: expected gamma of 3, got 4\.$/,
      () => runtime.layerNorm(zeros(2, 3), null, { gamma: zeros(4), beta: zeros(3) }, 1e-12),
    ],
    [
      'layerNorm: beta',
      /^layerNorm: expected beta of 3, got 4\.$/,
      () => runtime.layerNorm(zeros(2, 3), null, { gamma: zeros(3), beta: zeros(4) }, 1e-12),
    ],
    [
      'layerNorm: residual',
      /^layerNorm: expected residual \[2,3\] of \[2,3\], got \[1,3\]\.$/,
      () => runtime.layerNorm(zeros(2, 3), zeros(1, 3), { gamma: zeros(3), beta: zeros(3) }, 1e-12),
    ],
    [
      'layerNorm: eps',
      /^layerNorm: eps: expected a number that is not negative, got NaN\.$/,
      () => runtime.layerNorm(zeros(2, 3), null, { gamma: zeros(3), beta: zeros(3) }, Number.NaN),
    ],
    [
      'attention: heads',
      /^attention: expected 18 columns to be 3 x heads x headDim, got 4 heads\.$/,
      () => runtime.attention(zeros(2, 18), 4),
    ],
    [
      'attention: no heads',
      /^attention: expected 18 columns to be 3 x heads x headDim, got 0 heads\.$/,
      () => runtime.attention(zeros(2, 18), 0),
    ],
    [
      'embedding: lengths',
      /^embedding: typeIds: expected Int32Array of 2, got Int32Array of 1\.$/,
      () => runtime.embedding(ids(0, 1), ids(0), tables),
    ],
    [
      'embedding: ids',
      /^embedding: ids\[1\]: expected an integer from 0 to 4, got 5\.$/,
      () => runtime.embedding(ids(4, 5), ids(0, 0), tables),
    ],
    [
      'embedding: types',
      /^embedding: typeIds\[0\]: expected an integer from 0 to 1, got -1\.$/,
      () => runtime.embedding(ids(4), ids(-1), tables),
    ],
    [
      'embedding: positions',
      /^embedding: expected 1 to 3 tokens, one for each position, got 4\.$/,
      () => runtime.embedding(ids(0, 0, 0, 0), ids(0, 0, 0, 0), tables),
    ],
    [
      'embedding: columns',
      /^embedding: expected columns of type of 4, got 3\.$/,
      () => runtime.embedding(ids(0), ids(0), { ...tables, type: zeros(2, 3) }),
    ],
  ])('%s', (_, message, run) => expectError('input', message, run));
});

test('ops leave their inputs alone', async () => {
  const x = tensor([1, 3], Float32Array.of(1, -2, 3));
  const [input, norm] = [
    runtime.tensor(x),
    { gamma: runtime.tensor(constant([3], 1)), beta: runtime.tensor(constant([3], 0)) },
  ];
  await runtime.read(runtime.layerNorm(input, input, norm, 1e-12), runtime.attention(input, 1));
  expect([...x.data]).toEqual([1, -2, 3]);
  expect([...(await runtime.read(input))]).toEqual([1, -2, 3]);
});
