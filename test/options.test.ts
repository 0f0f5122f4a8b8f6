// @unit
/** Nothing is accepted in silence: options that nobody knows, values of another type, calls without their arguments. */
import { getEventListeners } from 'node:events';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type Answer,
  type LoadOptions,
  load,
  type Question,
  type QuestionAnswering,
  Tokenizer,
  type TokenizerOptions,
} from '../src/index.ts';
import { checkNode } from '../src/platform.ts';
import { expectError, TINY } from './support.ts';

const ask: Question = { question: 'a b', context: 'c d e' };
let qa: QuestionAnswering;
beforeAll(async () => {
  qa = await load(TINY, { device: 'reference' });
});
afterAll(() => qa.dispose());

describe('load', () => {
  test.each([
    [{ thread: 2 }, /^load: expected options that it knows, got "thread"\. The options are device, dtype, .*threads/],
    [{ Dtype: 'fp32' }, /got "Dtype"\. The options are device, dtype, /],
    [{ toString: true }, /got "toString"\. The options are device, dtype, /],
    [{ device: 5 }, /^device: expected auto, webgpu, cpu, reference, got 5\.$/],
    [{ dtype: null }, /^dtype: expected fp32, int8 on cpu, got null\.$/],
    [{ dtype: 'fp16' }, /^dtype: expected fp32, int8 on cpu, got "fp16"\.$/],
    [{ device: 'wasm' }, /^device: expected auto, webgpu, cpu, reference, got "wasm"\.$/],
    [{ scheme: {} }, /^scheme: expected torch, accurate, got an object \(Object\)\.$/],
    [{ threads: '2' }, /^threads: expected an integer from 1 to 256, got "2"\.$/],
    [{ device: 'reference', threads: 0 }, /^threads: expected an integer from 1 to 256, got 0\.$/],
    [{ wideSimd: 'yes' }, /^wideSimd: expected a boolean, got "yes"\.$/],
    [{ batchSize: 0 }, /^batchSize: expected an integer of at least 1, got 0\.$/],
    [{ batchSize: '8' }, /^batchSize: expected an integer of at least 1, got "8"\.$/],
    [{ maxQueue: 0 }, /^maxQueue: expected an integer of at least 1, got 0\.$/],
    [{ revision: 5 }, /^revision: expected a string, got 5\.$/],
    [{ onProgress: 'tell me' }, /^onProgress: expected a function, got "tell me"\.$/],
    [null, /^load: options: expected an object, got null\.$/],
    [['cpu'], /^load: options: expected an object, got an array of 1\.$/],
  ])('%j is refused', (options, message) =>
    expectError('input', message, () => load(TINY, options as unknown as LoadOptions)),
  );
  test.each([undefined, null, 5, '', {}])('a model that is %j is refused', (model) =>
    expectError('input', /^model: expected a folder, an address, owner\/name, or Files, got /, () =>
      load(model as string),
    ),
  );
  test('a file: address is a folder, as text and as a URL; one of another machine is refused', async () => {
    for (const model of [pathToFileURL(TINY), String(pathToFileURL(TINY)), new URL(`${pathToFileURL(TINY)}/`)]) {
      await using model_ = await load(model, { device: 'reference' });
      expect((await model_.answer(ask)).length).toBe(1);
    }
    await expectError('input', /^model: expected a file: address of this machine, got "file:\/\/elsewhere\/x"/, () =>
      load('file://elsewhere/x'),
    );
  });
  test('options that are undefined are as if they were not there', async () => {
    await using model = await load(TINY, { device: 'reference', threads: undefined, scheme: undefined });
    expect(model.info).toMatchObject({ device: 'reference', dtype: 'int8', scheme: 'accurate' });
  });
});

describe('answer and logits', () => {
  test.each([
    [undefined, /^answer: options: expected an object, got undefined\.$/],
    [null, /^answer: options: expected an object, got null\.$/],
    ['a question', /^answer: options: expected an object, got "a question"\.$/],
    [{}, /^question: expected a string, got undefined\.$/],
    [{ question: 'a' }, /^context: expected a string, got undefined\.$/],
    [{ ...ask, top_k: 2 }, /^answer: expected options that it knows, got "top_k"\. The options are question, /],
    [{ ...ask, doc: 'x' }, /The options are question, context, contexts, topK, /],
    [{ ...ask, topK: '2' }, /^topK: expected an integer of at least 1, got "2"\.$/],
    [{ ...ask, overlap: 1 }, /^overlap: expected a boolean, got 1\.$/],
    [{ ...ask, nullThreshold: '0' }, /^nullThreshold: expected a finite number, got "0"\.$/],
  ])('answer(%j) is refused', (input, message) =>
    expectError('input', message, () => qa.answer(input as unknown as Question)),
  );
  test.each([
    [undefined, /^logits: options: expected an object, got undefined\.$/],
    [{}, /^inputIds: expected an array of integers, got undefined\.$/],
    [{ inputIds: 5 }, /^inputIds: expected an array of integers, got 5\.$/],
    [{ inputIds: [1] }, /^tokenTypeIds: expected an array of integers, got undefined\.$/],
    [{ inputIds: ['1'], tokenTypeIds: [0] }, /^inputIds\[0\]: expected an integer from 0 to 99, got "1"\.$/],
    [{ input_ids: [1], tokenTypeIds: [0] }, /The options are inputIds, tokenTypeIds, signal\.$/],
  ])('logits(%j) is refused', (input, message) =>
    expectError('input', message, () => qa.logits(input as unknown as Parameters<typeof qa.logits>[0])),
  );
  test("a signal of another realm's class is one", async () => {
    class AbortSignal extends EventTarget {
      readonly [Symbol.toStringTag] = 'AbortSignal';
      aborted = false;
      reason: unknown;
      throwIfAborted() {
        if (this.aborted) throw this.reason;
      }
    }
    const signal = new AbortSignal();
    expect((await qa.answer({ ...ask, signal: signal as never })).length).toBe(1);
    const answer = qa.answer({ ...ask, signal: signal as never });
    Object.assign(signal, { aborted: true, reason: new Error('enough') });
    signal.dispatchEvent(new Event('abort'));
    await expect(answer).rejects.toThrow('enough');
  });
  test('nothing listens to a signal after its answer: listeners are taken back, also where the CPU computes', async () => {
    const { signal } = new AbortController();
    await using cpu = await load(TINY, { threads: 2 });
    for (const model of [qa, cpu]) for (let i = 0; i < 20; i++) await model.answer({ ...ask, signal });
    await qa.logits({ inputIds: [1], tokenTypeIds: [0], signal });
    await (await load(TINY, { device: 'reference', signal })).dispose();
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
  test('there is a first answer, for the compiler as well', async () => {
    const [best]: [Answer, ...Answer[]] = await qa.answer(ask);
    expect(best.text).toBe(ask.context.slice(best.start, best.end));
  });
  test('`await using` disposes of the model', async () => {
    let kept: QuestionAnswering;
    {
      await using model = await load(TINY, { device: 'reference' });
      kept = model;
    }
    await expectError('disposed', /a disposed one/, () => kept.answer(ask));
  });
});

describe('Tokenizer', () => {
  const vocab = '[UNK]\n[CLS]\n[SEP]\na';
  test.each([
    [{ lower: false }, /^Tokenizer: expected options that it knows, got "lower"\. The options are lowercase, /],
    [{ strip_accents: true }, /The options are lowercase, stripAccents, /],
    [{ lowercase: 'no' }, /^lowercase: expected a boolean, got "no"\.$/],
  ])('options %j are refused', (options, message) =>
    expectError('input', message, () => Tokenizer.fromVocab(vocab, options as unknown as TokenizerOptions)),
  );
  test('a text or a vocabulary that is no string is refused', async () => {
    const tokenizer = Tokenizer.fromVocab(vocab);
    await expectError('input', /^text: expected a string, got undefined\.$/, () =>
      tokenizer.encode(undefined as unknown as string),
    );
    await expectError('input', /^vocabText: expected a string, got null\.$/, () =>
      Tokenizer.fromVocab(null as unknown as string),
    );
  });
});

test('an old Node is told so in one line', () => {
  for (const old of ['20.20.2', '22.17.1', '18.0.0']) {
    const message = `bertlet: expected Node 22.18 or newer, got ${old}. Update Node.`;
    expect(() => checkNode(old)).toThrow(message);
  }
  for (const fine of ['22.18.0', '24.0.0', '26.10.0', undefined]) checkNode(fine);
});
