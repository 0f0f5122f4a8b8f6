/** `load` with the GPU, on a software adapter: the embedded checkpoint, and passages of many windows, as on the CPU. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { uniform } from '../../kernels/op.ts';
import { load, type QuestionAnswering } from '../../src/index.ts';
import { CHECKPOINT, GOLDEN, goldenJson, largestDifference, TINY } from '../support.ts';

describe('the embedded checkpoint, all layers', () => {
  const question = 'Who wrote the tests?';
  const context = 'Ada Brown wrote the tests in Lisbon, and left.';
  const cpu = new Map<string, Promise<QuestionAnswering>>();
  const onCpu = (dtype: 'fp32' | 'int8') => {
    if (!cpu.has(dtype)) cpu.set(dtype, load(CHECKPOINT, { dtype, threads: 1 }));
    return cpu.get(dtype)!;
  };
  afterAll(async () => {
    for (const qa of cpu.values()) await (await qa).dispose();
  });
  // The weights are float16, so fp32 computes with the same numbers.
  test.each(['fp16', 'int8'] as const)('%s: answers as the CPU does', async (dtype) => {
    const qa = await load(CHECKPOINT, { device: 'webgpu', dtype });
    expect(qa.info).toMatchObject({ device: 'webgpu', dtype, adapter: expect.any(String) });
    const exact = await onCpu(dtype === 'int8' ? dtype : 'fp32');
    const { ids, typeIds } = qa.tokenizer.encodePair(question, context);
    const input = { inputIds: ids, tokenTypeIds: typeIds };
    const [got, want] = [await qa.logits(input), await exact.logits(input)];
    if (dtype !== 'int8') {
      expect(largestDifference(got.start, want.start)).toBeLessThan(2e-3);
      expect(largestDifference(got.end, want.end)).toBeLessThan(2e-3);
    }
    const [[answer], [same]] = [await qa.answer({ question, context }), await exact.answer({ question, context })];
    expect(answer!.text).toBe(same!.text);
    expect(answer!.text).toBe('Ada Brown');
    await qa.dispose();
  });
});

describe('passages of many windows', () => {
  let [gpu, cpu]: QuestionAnswering[] = [];
  beforeAll(async () => {
    gpu = await load(TINY, { device: 'webgpu', dtype: 'fp32' });
    cpu = await load(TINY, { device: 'cpu', dtype: 'fp32', threads: 1 });
  });
  afterAll(async () => {
    await gpu!.dispose();
    await cpu!.dispose();
  });
  test('19 windows, two whole batches and a part of one: answers as the CPU does', async () => {
    const windows = 19;
    const words = readFileSync(`${TINY}/vocab.txt`, 'utf8')
      .split('\n')
      .filter((word) => /^[a-z]+$/.test(word));
    const next = uniform(windows);
    const room = 64 - 3 - 1;
    const tokens = room + (windows - 1) * (room - 10);
    const context = Array.from({ length: tokens }, () => words[Math.floor(next() * words.length)]).join(' ');
    const input = { question: words[0]!, context, maxTokens: 64, stride: 10, topK: 5 };
    const onProgress = vi.fn();
    const [got, want] = [await gpu!.answer({ ...input, onProgress }), await cpu!.answer(input)];
    expect(onProgress).toHaveBeenLastCalledWith(expect.objectContaining({ done: windows, total: windows }));
    const spans = (answers: typeof got) => answers.map(({ start, end }) => [start, end]);
    expect(spans(got)).toEqual(spans(want));
  });
});

/** checkpoints.test.ts compares the same goldens with the CPU. */
interface Golden {
  models: Record<string, { ids: number[]; types: number[]; fp32: number[]; int8: number[] }>;
}
describe('families', () => {
  const { bert: _, ...others } = goldenJson<Golden>('checkpoints/cases').models;
  test.each(Object.entries(others))(
    '%s: fp32 within 1e-4 of PyTorch, int8 near quantize_dynamic',
    async (name, { ids, types, ...want }) => {
      for (const [dtype, most] of [['fp32', 1e-4] as const, ['int8', 0.02] as const]) {
        const scheme = dtype === 'int8' ? 'torch' : undefined;
        const qa = await load(`${GOLDEN}/checkpoints/${name}`, { device: 'webgpu', dtype, scheme });
        const { start, end } = await qa.logits({ inputIds: ids, tokenTypeIds: types });
        const both = Array.from(start).flatMap((value, i) => [value, end[i]!]);
        expect(largestDifference(both, want[dtype])).toBeLessThan(most);
        await qa.dispose();
      }
    },
  );
});
