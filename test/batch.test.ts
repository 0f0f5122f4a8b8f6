// @unit
/** Batches on the reference and on the CPU device: each sequence has the bits that it has alone. webgpu: webgpu/batch.ts. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { randomWeights } from '../bench/model.ts';
import { constant, normal, tensor } from '../kernels/op.ts';
import { Bert } from '../src/bert.ts';
import { startCpu } from '../src/devices/cpu/start.ts';
import { ReferenceDevice } from '../src/devices/reference.ts';
import { type Answer, load, type QuestionAnswering } from '../src/index.ts';
import { type Device, Runtime } from '../src/runtime.ts';
import { batchTests, SMALL } from './batches.ts';
import { expectError, TINY } from './support.ts';

const DEVICES: Record<string, () => Promise<Device>> = {
  reference: async () => new ReferenceDevice(),
  'cpu, 1 thread': async () => (await startCpu({ threads: 1, wideSimd: false })).device,
  'cpu, 3 threads, wide': async () => (await startCpu({ threads: 3 })).device,
};

describe.each(Object.keys(DEVICES))('%s', (name) => {
  const started = DEVICES[name]!();
  afterAll(async () => (await started).dispose());
  batchTests(() => started);
});

describe('refusals', () => {
  const runtime = new Runtime(new ReferenceDevice());
  const two = Int32Array.of(0, 0);
  const table = runtime.tensor(constant([3, 4], 0));
  const tables = { word: table, position: table, type: table };
  const bert = new Bert(runtime, SMALL, randomWeights(SMALL, 'fp32'));
  test.each([
    [
      'type ids of other lengths',
      /^forwardBatch: typeIds\[0\]: expected Int32Array of 2, got Int32Array of 4/,
      () => bert.forwardBatch([two, two], [new Int32Array(4)]),
    ],
    [
      'a sequence without tokens',
      /^lengths: expected lengths of at least 1, 2 together, got \[2,0\]/,
      () => runtime.embedding(two, two, tables, [2, 0]),
    ],
    [
      'a sequence that is too long',
      /1 to 3 tokens, one for each position, got 4/,
      () => runtime.embedding(new Int32Array(6), new Int32Array(6), tables, [2, 4]),
    ],
    [
      'no sequence',
      /at least 1, 0 together, got \[\]/,
      () => runtime.embedding(new Int32Array(), two.slice(2), tables, []),
    ],
    ['no ids', /at least 1, 0 together, got \[0\]/, () => runtime.embedding(new Int32Array(), two.slice(2), tables)],
    [
      'ids in two arrays',
      /^embedding: ids: expected Int32Array, got an array/,
      () => runtime.embedding([two] as never, two, tables),
    ],
    ['a batch of one array', /^forwardBatch: expected an array/, () => bert.forwardBatch(two as never, [two])],
    [
      'lengths that are not all rows',
      /lengths of at least 1, 3 together, got \[1,1\]/,
      () => runtime.tensor(constant([3, 4], 0), [1, 1]),
    ],
    [
      'a length of zero',
      /lengths of at least 1, 3 together, got \[3,0\]/,
      () => runtime.tensor(constant([3, 4], 0), [3, 0]),
    ],
    [
      'a residual of other sequences',
      /residual of sequences of \[1,2\], got \[2,1\]/,
      () => {
        const [x, y] = [
          [1, 2],
          [2, 1],
        ].map((lengths) => runtime.tensor(normal([3, 4], 1), lengths));
        const gamma = runtime.tensor(tensor([4], new Float32Array(4)));
        return runtime.layerNorm(x!, y!, { gamma, beta: gamma }, 1e-12);
      },
    ],
  ])('%s', (_, message, make) => expectError('input', message, make));
});

describe('answers in batches', () => {
  const passage = readFileSync(`${TINY}/vocab.txt`, 'utf8')
    .split('\n')
    .filter((word) => /^[a-z]+$/.test(word))
    .join(' ');
  const questions = Array.from({ length: 9 }, (_, i) => ({
    question: passage.slice(i, i + 5 + i),
    context: i === 4 ? `${passage} ${passage}` : passage.slice(3 * i),
    ...{ maxTokens: 32, stride: 5, topK: 3 },
  }));
  /** Runs something while it counts the sequences of each forward. */
  async function batches(run: () => Promise<unknown>): Promise<number[]> {
    const spy = vi.spyOn(Bert.prototype, 'forwardBatch');
    await run();
    const sizes = spy.mock.calls.map(([ids]) => ids.length);
    spy.mockRestore();
    return sizes;
  }
  let [one, four]: QuestionAnswering[] = [];
  beforeAll(async () => {
    one = await load(TINY, { threads: 1 });
    four = await load(TINY, { threads: 1, batchSize: 4 });
  });
  afterAll(async () => {
    await one!.dispose();
    await four!.dispose();
  });

  test('the same answers, one after another and at once', async () => {
    const want: Answer[][] = [];
    for (const question of questions) want.push(await one!.answer(question));
    for (const [i, question] of questions.entries()) expect(await four!.answer(question)).toEqual(want[i]);
    const sizes = await batches(async () => {
      expect(await Promise.all(questions.map((question) => four!.answer(question)))).toEqual(want);
    });
    expect(Math.max(...sizes)).toBe(4);
    expect(sizes.filter((size) => size === 4).length).toBeGreaterThan(3);
    expect(new Set(await batches(() => one!.answer(questions[4]!)))).toEqual(new Set([1]));
  });
  test('progress of a passage is told window by window; a batch is four of them', async () => {
    const seen: number[] = [];
    const sizes = await batches(() =>
      four!.answer({ ...questions[4]!, onProgress: ({ done, total }) => void seen.push(done, total) }),
    );
    const total = seen[1]!;
    expect(seen).toEqual(Array.from({ length: total }, (_, i) => [i + 1, total]).flat());
    expect(sizes).toEqual([...Array(Math.floor(total / 4)).fill(4), ...(total % 4 ? [total % 4] : [])]);
  });
  test('a signal ends its own answer, and no other of the batch', async () => {
    const controller = new AbortController();
    const { forwardBatch } = Bert.prototype;
    const spy = vi.spyOn(Bert.prototype, 'forwardBatch').mockImplementationOnce(function (this: Bert, ...given) {
      const logits = forwardBatch.apply(this, given);
      controller.abort(new Error('enough')); // in the middle of the batch
      return logits;
    });
    const short = (i: number) => ({ question: questions[i]!.question, context: 'a b c' });
    const [first, ...others] = [0, 1, 2].map((i) =>
      four!.answer(i === 0 ? { ...short(i), signal: controller.signal } : short(i)),
    );
    await expect(first).rejects.toThrow('enough');
    for (const [i, answer] of others.entries()) expect(await answer).toEqual(await one!.answer(short(i + 1)));
    expect(spy.mock.calls[0]![0].length).toBe(3);
    spy.mockRestore();
  });
  test('what is wrong with one is its own error', async () => {
    const wrong = four!.logits({ inputIds: [1e9], tokenTypeIds: [0] });
    const right = four!.answer(questions[0]!);
    await expectError('input', /^inputIds\[0\]: expected an integer from 0/, () => wrong);
    expect(await right).toEqual(await one!.answer(questions[0]!));
  });
  test('maxQueue: one question more is refused at once; info.waiting says how many there are', async () => {
    await using model = await load(TINY, { threads: 1, maxQueue: 2 });
    const ask = () => model.answer({ question: questions[0]!.question, contexts: ['a b c', passage] });
    expect(model.info.waiting).toBe(0);
    const answers = [ask(), ask()];
    expect(model.info.waiting).toBe(2);
    const message = /^model: expected at most 2 questions at once, got one more\. Ask again later\.$/;
    await expectError('busy', message, ask);
    await expectError('busy', message, () => model.logits({ inputIds: [1], tokenTypeIds: [0] }));
    for (const answer of answers) expect((await answer)[0].context).toBeTypeOf('number');
    expect(model.info.waiting).toBe(0);
    expect((await ask()).length).toBe(1);
  });
  test('passages of one question share batches', async () => {
    const contexts = questions.map(({ context }) => context);
    const several = { question: questions[3]!.question, contexts, topK: 50, maxTokens: 32, stride: 5 };
    const sizes = await batches(async () => {
      expect(await four!.answer(several)).toEqual(await one!.answer(several));
    });
    expect(sizes.filter((size) => size === 4).length).toBeGreaterThan(2);
  });
  test('batchSize: 620, with as many windows: the same answers; in one program or refused with the limit', async () => {
    const long = { question: 'a b', context: Array(620).fill(passage).join(' '), maxTokens: 16, stride: 4, topK: 3 };
    const want = await one!.answer(long);
    for (const threads of [1, 2]) {
      await using model = await load(TINY, { threads, batchSize: 620 });
      const sizes = await batches(async () => expect(await model.answer(long)).toEqual(want));
      expect(Math.max(...sizes)).toBe(620);
    }
    // A range of its own for each sequence: more calls of kernels than there is room for.
    await using model = await load(TINY, { threads: 2, batchSize: 620, scheme: 'torch' });
    const refused =
      /^read: expected a program of at most 7616 calls of kernels, got \d+\. Read .* fewer sequences at once\.$/;
    await expectError('input', refused, () => model.answer(long));
    const [best] = await model.answer(questions[0]!);
    expect(best.score).toBeGreaterThan(0);
  });
  test('dispose() waits for what was asked for', async () => {
    const model = await load(TINY, { threads: 1, batchSize: 4 });
    const answers = questions.slice(0, 2).map(({ question }) => model.answer({ question, context: 'a b c' }));
    await model.dispose();
    for (const answer of answers) expect((await answer).length).toBe(1);
    await expectError('disposed', /a disposed one/, () => model.answer(questions[0]!));
  });
});
