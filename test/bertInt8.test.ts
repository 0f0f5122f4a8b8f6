/** examples/bert-int8.ts: its size, and that each part of it computes what PyTorch and Hugging Face compute. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  answer,
  encode,
  forward,
  linear,
  loadModel,
  multiply,
  openCheckpoint,
  quantizeActivations,
  type Tensor,
} from '../examples/bert-int8.ts';
import { load } from '../src/index.ts';
import {
  CHECKPOINT,
  float32,
  goldenJson,
  goldenTensors,
  largestDifference,
  ROOT,
  spawnProgram,
  TINY,
} from './support.ts';

const FILE = join(ROOT, 'examples/bert-int8.ts');
const checkpoint = openCheckpoint(CHECKPOINT);
const models = { fp32: loadModel(checkpoint, 'fp32'), int8: loadModel(checkpoint, 'int8') };
const matrix = (golden: ReturnType<typeof float32>): Tensor => {
  const [rows, columns] = golden.shape as [number, number];
  return { rows, columns, data: golden.data };
};
const sha256 = (data: Int8Array | Int32Array) =>
  createHash('sha256')
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest('hex');

test('at most 300 lines, which import node:fs and nothing else', () => {
  const text = readFileSync(FILE, 'utf8');
  expect(text.trimEnd().split('\n').length).toBeLessThanOrEqual(300);
  expect([...text.matchAll(/\bfrom '(.+)'|\bimport\(|\brequire\(/g)].map(([, name]) => name)).toEqual(['node:fs']);
  expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(120);
});

test("tokens: Hugging Face's ids and types of 31 questions, and places in the passage", () => {
  const { items } = goldenJson<{ items: Asked[] }>('minilm-questions');
  for (const { question, context, inputIds, typeIds, expected } of [...items, goldenJson<Asked>('article')]) {
    const { ids, types, told } = encode(question, context, checkpoint.vocabulary);
    expect(ids, question).toEqual(inputIds);
    expect(types, question).toEqual(typeIds);
    if (!expected) continue;
    const begin = context.indexOf(expected);
    expect(told.some(({ start }) => start === begin) && told.some(({ end }) => end === begin + expected.length)).toBe(
      true,
    );
  }
});
interface Asked {
  question: string;
  context: string;
  expected?: string;
  inputIds: number[];
  typeIds: number[];
}

describe('the 37 linears of the int8 model, on the very inputs that PyTorch gave them', () => {
  const tensors = goldenTensors('minilm-linears');
  const { sha256: wanted } = goldenJson<{ sha256: Record<string, { wq: string; acc: string }> }>('minilm-linears');
  const value = (name: string) => tensors.get(name)!.data[0];

  test('there are 37, and no other weight becomes int8', () => {
    const quantized = [...models.int8].filter(([, { int8 }]) => int8).map(([name]) => name);
    expect(quantized.toSorted()).toEqual(Object.keys(wanted).toSorted());
    expect(quantized.length).toBe(37);
    expect([...models.fp32.values()].filter(({ int8 }) => int8)).toEqual([]);
  });
  test.each(Object.keys(wanted))('%s: weights, activations, accumulators and outputs, all equal', (name) => {
    const source = name.replace(/\.(key|value)$/, '.query'); // the three read one input
    const layer = models.int8.get(name)!;
    const int8 = layer.int8!;
    expect([sha256(int8.data), int8.scale]).toEqual([wanted[name]!.wq, value(`${name}/wScale`)]);
    const x = matrix(float32(tensors.get(`${source}/x`)));
    const xq = quantizeActivations(x);
    expect([xq.scale, xq.zeroPoint]).toEqual([value(`${name}/scale`), value(`${name}/zeroPoint`)]);
    expect(Buffer.compare(xq.data, tensors.get(`${source}/xq`)!.data as Uint8Array)).toBe(0);
    expect(sha256(multiply(xq, int8))).toBe(wanted[name]!.acc);
    expect(largestDifference(linear(x, layer).data, float32(tensors.get(`${name}/y`)).data)).toBe(0);
  });
});

describe('a question', () => {
  const { question, context } = goldenJson<Asked>('minilm-linears'); // the article takes the reference device seconds
  const encoded = encode(question, context, checkpoint.vocabulary);
  // The kernels of the CPU and the GPU are held to the reference device, and this file equals it to the last bit.
  test.each([
    ['fp32', {}],
    ['int8', { scheme: 'torch' }],
  ] as const)("%s: the bits of src's reference device, and its answer", async (dtype, options) => {
    const logits = forward(checkpoint, models[dtype], encoded.ids, encoded.types);
    await using qa = await load(CHECKPOINT, { device: 'reference', dtype, ...options });
    const { start, end } = await qa.logits({ inputIds: encoded.ids, tokenTypeIds: encoded.types });
    expect(logits.data.filter((_, i) => i % 2 === 0)).toEqual(start);
    expect(logits.data.filter((_, i) => i % 2 === 1)).toEqual(end);
    const [best] = await qa.answer({ question, context });
    const { text, score } = answer(logits, encoded, context);
    expect(text).toBe('Old Marta');
    expect([text, score]).toEqual([best.text, expect.closeTo(best.score, 6)]);
    logits.data.fill(100, 0, 2);
    expect(answer(logits, encoded, context), '[CLS] has the larger sum').toEqual({
      text: '',
      score: expect.closeTo(1, 6),
    });
  });
  test('run as a program: the answer to the article, and what it does not know is refused', () => {
    const run = (...args: string[]) => spawnProgram(args, { program: 'examples/bert-int8.ts' });
    expect(run()).toMatchObject({ status: 0, out: 'int8: "New York Times", score 0.812\n' });
    const other = run('fp32', 'Who wrote the program?', 'Ada wrote the first program in 1843.');
    expect(other.out).toMatch(/^fp32: "Ada", score 0\.\d{3}\n$/);
    expect(run('int4')).toMatchObject({ status: 1, error: expect.stringContaining('expected int8 or fp32, got int4') });
  });
});

test('a checkpoint in float32: PyTorch within 1e-5', () => {
  const tiny = openCheckpoint(TINY);
  const golden = goldenTensors('tiny-bert/activations');
  const [ids, types] = ['inputIds', 'typeIds'].map((name) =>
    Array.from(golden.get(`37tokens/${name}`)!.data as Int32Array),
  );
  const { data } = forward(tiny, loadModel(tiny, 'fp32'), ids!, types!);
  for (const [which, name] of ['start', 'end'].entries()) {
    const want = float32(golden.get(`37tokens/${name}`)).data;
    expect(
      largestDifference(
        data.filter((_, i) => i % 2 === which),
        want,
      ),
    ).toBeLessThan(1e-5);
  }
});
