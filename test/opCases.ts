/**
 * Hard inputs of every op, by name: sizes that fill no tile, extreme values, what is no number. The few that a device must
 * pass when it starts are among them (`selfTest` of kernels/).
 */
import { makeAttention } from '../kernels/attention.ts';
import { hard, type PairInputs } from '../kernels/elementwise.ts';
import { makeEmbedding } from '../kernels/embedding.ts';
import { OPS } from '../kernels/index.ts';
import { makeLayerNorm } from '../kernels/layerNorm.ts';
import { type LinearInputs, makeLinear } from '../kernels/linear.ts';
import { extremes, type LinearInt8Inputs, limits, makeLinearInt8, ofIntegers } from '../kernels/linearInt8.ts';
import { constant, type Float32Tensor, normal, type Op, tensor } from '../kernels/op.ts';
import { ACTIVATIONS } from '../src/runtime.ts';

/** An op with all its cases. */
export interface TestedOp<Inputs> extends Op<Inputs> {
  readonly cases: Readonly<Record<string, () => Inputs>>;
}
const tested = <Inputs>(op: Op<Inputs>, cases: Record<string, () => Inputs>): TestedOp<Inputs> => ({
  ...op,
  cases: { ...op.selfTest, ...cases },
});

/** A tensor with one element replaced. */
const withValue = (from: Float32Tensor, index: number, value: number): Float32Tensor =>
  tensor([...from.shape], from.data.with(index, value));

/** Inputs whose x has a NaN. */
const withNaN = <I extends { x: Float32Tensor }>(inputs: I, index: number): I => ({
  ...inputs,
  x: withValue(inputs.x, index, Number.NaN),
});

/** Cases `tokens x in to out` whose sizes fill no tile. */
const oddSizes = <I>(make: (tokens: number, features: number, out: number) => I): Record<string, () => I> =>
  Object.fromEntries(
    [
      [1, 1, 1],
      [1, 3, 2],
      [3, 63, 65],
      [17, 64, 63],
      [5, 255, 257],
      [33, 384, 96],
      [130, 384, 96],
    ].map(([t, k, n]) => [`${t}x${k} to ${n}`, () => make(t!, k!, n!)]),
  );

/** The matrices of onnxruntime#7524, whose sums saturated on AVX2; the left one less its zero point, 42. */
function onnxruntime7524(): LinearInt8Inputs {
  const left = [238, 115, 94, 245, 111, 102, 158, 225, 48].map((value) => value - 42);
  const weight = ofIntegers(3, Int8Array.of(25, 42, -81, 36, -123, -86, 125, 76, 35));
  return { x: tensor([3, 3], Float32Array.from(left)), weight, bias: constant([3], 0) };
}

const denormals = (): Float32Tensor => tensor([1, 4], Float32Array.of(1e-42, -1e-42, 2e-40, 1e-38));

const PAIRS: Record<string, () => PairInputs> = {
  '1x1': () => ({ x: normal([1, 1], 1), other: normal([1, 1], 2) }),
  '5x17': () => ({ x: normal([5, 17], 1), other: normal([5, 17], 2) }),
  '7x33, one row for all': () => ({ x: normal([7, 33], 1), other: normal([1, 33], 2) }),
  '130x384': () => ({ x: normal([130, 384], 1), other: normal([130, 384], 2) }),
  hard: () => {
    const { data } = hard();
    const all = Float32Array.from({ length: data.length ** 2 }, (_, i) => data[Math.floor(i / data.length)]!);
    return { x: tensor([data.length, data.length], all), other: hard() };
  },
  denormals: () => ({ x: denormals(), other: tensor([1, 4], Float32Array.of(0.5, 3, -2, 1e-3)) }),
};

const product = (m: number, k: number, n: number, size = 1): PairInputs => ({
  x: normal([m, k], m, size),
  other: normal([k, n], n + 7),
});

export const TESTED = {
  embedding: tested(OPS.embedding, {
    '1 token': () => makeEmbedding(1, 32, 10),
    '512 tokens': () => makeEmbedding(512, 64, 1000),
    'NaN in one position': () => {
      const inputs = makeEmbedding(5, 12, 10);
      return { ...inputs, position: withValue(inputs.position, 30, Number.NaN) };
    },
  }),
  linear: tested<LinearInputs>(OPS.linear, {
    ...oddSizes(makeLinear),
    relu: () => ({ ...makeLinear(7, 65, 66), activation: 'relu' }),
    tanh: () => ({ ...makeLinear(7, 65, 66), activation: 'tanh' }),
    'values of 1e4': () => makeLinear(9, 100, 33, 1e4),
    zeros: () => ({ ...makeLinear(2, 20, 12), x: constant([2, 20], 0) }),
    // Only its row becomes NaN, after GELU, too; not the row before, whose padding it would be.
    'NaN in one row': () => withNaN(makeLinear(3, 65, 63), 65),
    'NaN in one row, gelu': () => withNaN({ ...makeLinear(3, 65, 9), activation: 'gelu' }, 65),
  }),
  linearInt8: tested<LinearInt8Inputs>(OPS.linearInt8, {
    ...oddSizes(makeLinearInt8),
    '3x3072 to 40': () => makeLinearInt8(3, 3072, 40),
    tanh: () => ({ ...makeLinearInt8(7, 65, 66), activation: 'tanh' }),
    'largest sums': () => extremes(6, 3072, 18, -1, 1.01),
    'activations of 128': () => extremes(6, 3072, 18, -1, 1),
    // Above the limit at which the grouped product must widen earlier.
    'sums beyond 16 bits': () => limits(32),
    // A range of 0.
    'activations of 0': () => ({ ...makeLinearInt8(4, 33, 20), x: constant([4, 33], 0) }),
    'one-sided activations': () => ({ ...makeLinearInt8(4, 33, 20), x: constant([4, 33], -3) }),
    'onnxruntime#7524': onnxruntime7524,
    // A range with a NaN in it is none: all rows that share it become NaN, after GELU, too.
    'NaN in one row': () => withNaN(makeLinearInt8(3, 63, 65), 63),
    'NaN in one row, gelu': () => withNaN({ ...makeLinearInt8(3, 63, 9), activation: 'gelu' }, 63),
  }),
  attention: tested(OPS.attention, {
    '1 token': () => makeAttention(1, 2, 32),
    '2 tokens': () => makeAttention(2, 12, 32),
    // The GPU's kernel takes 64 columns of a head at a time.
    '65 tokens, heads of 64': () => makeAttention(65, 2, 64),
    '3 tokens, heads of 68': () => makeAttention(3, 2, 68),
    '33 tokens, heads of 200': () => makeAttention(33, 2, 200),
    '133 tokens': () => makeAttention(133, 3, 32),
    '512 tokens': () => makeAttention(512, 1, 32),
    // All weights are 1 / tokens.
    'equal keys': () => ({ qkv: constant([21, 3 * 32], 1.5), heads: 1 }),
    'one score far above': () => {
      const { qkv, heads } = makeAttention(33, 1, 32, 0.1);
      // Key 20 is 5000 times query 0.
      const data = qkv.data.slice();
      for (let i = 0; i < 32; i++) data[20 * 96 + 32 + i] = data[i]! * 5000;
      return { qkv: tensor([...qkv.shape], data), heads };
    },
    // In a query one row becomes NaN, in a key all rows of the head, in a value one column.
    'NaN in one query, one key and one value': () => {
      const { qkv, heads } = makeAttention(33, 3, 8);
      const [query, key, value] = [20 * 72, 32 * 72 + 24 + 8, 2 * 72 + 48 + 19];
      return { qkv: [query, key, value].reduce((x, at) => withValue(x, at, Number.NaN), qkv), heads };
    },
  }),
  layerNorm: tested(OPS.layerNorm, {
    '1 row of 1': () => makeLayerNorm(1, 1),
    '7 rows of 384': () => makeLayerNorm(7, 384),
    '5 rows of 1100, no residual': () => ({ ...makeLayerNorm(5, 1100), residual: null }),
    'values of 1e4': () => makeLayerNorm(3, 65, 1e4),
    // The variance is 0: only eps keeps the division finite.
    zeros: () => ({ ...makeLayerNorm(2, 48), x: constant([2, 48], 0), residual: null }),
    'one outlier': () => {
      const inputs = makeLayerNorm(2, 100, 1e-3);
      const data = inputs.x.data.slice();
      data[150] = 1e3;
      return { ...inputs, x: tensor([2, 100], data) };
    },
    'NaN in one row': () => withNaN(makeLayerNorm(3, 31), 31),
  }),
  rows: tested(OPS.rows, {
    '1 of 1': () => ({ x: normal([1, 1], 1), indices: Int32Array.of(0) }),
    '40 of 7': () => ({ x: normal([7, 33], 3), indices: Int32Array.from({ length: 40 }, (_, i) => (i * 5) % 7) }),
  }),
  add: tested(OPS.add, PAIRS),
  mul: tested(OPS.mul, PAIRS),
  activation: tested(
    OPS.activation,
    Object.fromEntries(
      ACTIVATIONS.flatMap((name) => [
        [`${name}, denormals`, () => ({ x: denormals(), name })],
        [`${name}, 5x17`, () => ({ x: normal([5, 17], 3, 3), name })],
        [`${name}, near 0`, () => ({ x: normal([3, 65], 4, 1e-3), name })],
      ]),
    ),
  ),
  softmax: tested(OPS.softmax, {
    '1x1': () => ({ x: normal([1, 1], 1) }),
    '5x384': () => ({ x: normal([5, 384], 3, 10) }),
    'rows of equal values': () => ({ x: constant([2, 33], 7) }),
    'no numbers': () => ({
      x: tensor([3, 4], Float32Array.of(-Infinity, 1, 2, -Infinity, Infinity, 1, 2, 3, Number.NaN, 1, 2, 3)),
    }),
    // Padding, 0, is no maximum; and a kernel that takes a row in several rounds must keep that of the first.
    'far below 0, the largest early': () => ({ x: withValue(normal([1, 601], 4, 1, -1000), 5, -900) }),
    hard: () => ({ x: hard() }),
  }),
  mean: tested(OPS.mean, {
    '1x1': () => ({ x: normal([1, 1], 1), lengths: [1] }),
    '5x17': () => ({ x: normal([5, 17], 2), lengths: [5] }),
    '33x2100': () => ({ x: normal([33, 2100], 3, 100), lengths: [33] }),
    'no numbers': () => {
      const x = constant([3, 3], 1);
      x.data.set([Number.NaN, Infinity, -Infinity], 3);
      return { x, lengths: [2, 1] };
    },
  }),
  matmul: tested(OPS.matmul, {
    ...Object.fromEntries(
      [
        [1, 1, 1],
        [1, 5, 3],
        [3, 1, 65],
        [33, 64, 96],
      ].map(([m, k, n]) => [`${m}x${k}x${n}`, () => product(m!, k!, n!)]),
    ),
    'values of 1e4': () => product(9, 50, 20, 1e4),
    'no numbers': () => {
      const inputs = product(3, 2, 4);
      inputs.x.data.set([Number.NaN, 1, Infinity, 1]);
      return inputs;
    },
  }),
  transpose: tested(
    OPS.transpose,
    Object.fromEntries(
      [
        [1, 1],
        [1, 17],
        [19, 1],
        [133, 40],
      ].map(([rows, columns]) => [`${rows}x${columns}`, () => ({ x: normal([rows!, columns!], rows!) })]),
    ),
  ),
} satisfies Record<keyof typeof OPS, unknown>;

/** The ops of TESTED as a list, for loops that need not know the types of the inputs. */
export const TESTED_OPS = Object.values(TESTED) as unknown as TestedOp<unknown>[];
