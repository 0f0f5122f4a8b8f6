/** The caller's thread while a model computes: its events go on, a signal ends an answer, answers under way take turns. */
import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { load, type QuestionAnswering } from '../src/index.ts';
import { CHECKPOINT, expectError } from './support.ts';

/** Words of a passage that the model has to read window by window. */
const passage = (words: number) => Array.from({ length: words }, (_, i) => `Ada came to town number ${i}.`).join(' ');
const ask = { question: 'Who came yesterday?', context: 'Ada came yesterday.' };

describe.each([1, 2])('%d threads', (threads) => {
  let qa: QuestionAnswering;
  beforeAll(async () => {
    qa = await load(CHECKPOINT, { threads });
  });
  afterAll(() => qa.dispose());

  test('100 answers and a long passage: timers fire, a server answers meanwhile', async () => {
    const server = createServer((_, response) => response.end('here')).listen(0);
    const { port } = server.address() as AddressInfo;
    const request = () =>
      new Promise<number>((resolve, reject) => {
        const begin = performance.now();
        get({ port, agent: false }, (response) =>
          response.resume().on('end', () => resolve(performance.now() - begin)),
        ).on('error', reject);
      });
    await qa.answer(ask);
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    let under = true;
    const answers = Promise.all([
      ...Array.from({ length: 100 }, () => qa.answer(ask)),
      qa.answer({ ...ask, context: passage(400) }),
    ]).finally(() => {
      under = false;
    });
    const requests: number[] = [];
    while (under) {
      requests.push(await request());
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    for (const [best] of (await answers).slice(0, 100)) expect(best.text).toBe('Ada');
    delay.disable();
    server.close();
    const [p99, longest] = [delay.percentile(99) / 1e6, Math.max(...requests)];
    console.log(
      `${threads} threads: event loop's delay p99 ${p99.toFixed(1)} ms; ${requests.length} requests, the longest ${longest.toFixed(1)} ms`,
    );
    // While the answers computed, events had their turn many times: before, they waited until all were done.
    expect(requests.length).toBeGreaterThan(10);
  });

  test('a signal ends an answer with its reason; the model stays usable', async () => {
    const controller = new AbortController();
    const long = qa.answer({ ...ask, context: passage(3000), signal: controller.signal });
    const other = qa.answer(ask);
    await new Promise((resolve) => setTimeout(resolve, 30));
    const reason = new Error('changed my mind');
    controller.abort(reason);
    const begin = performance.now();
    await expect(long).rejects.toBe(reason);
    console.log(`${threads} threads: ended ${(performance.now() - begin).toFixed(1)} ms after abort()`);
    expect((await other)[0].text).toBe('Ada');
    expect((await qa.answer(ask))[0].text).toBe('Ada');
    await expect(qa.answer({ ...ask, signal: controller.signal })).rejects.toBe(reason);
    await expect(qa.answer({ ...ask, signal: AbortSignal.timeout(0), context: passage(500) })).rejects.toThrow(
      /timeout/,
    );
    await expectError('input', /^signal: expected an AbortSignal, got true/, () =>
      qa.answer({ ...ask, signal: true as never }),
    );
  });

  test('a signal ends a forward in its middle', async () => {
    const inputIds = Array.from({ length: 512 }, (_, i) => 1000 + i);
    const tokens = { inputIds, tokenTypeIds: inputIds.map(() => 0) };
    const whole = await qa.logits(tokens);
    const controller = new AbortController();
    const first = qa.logits({ ...tokens, signal: controller.signal });
    setTimeout(() => controller.abort(), 5);
    await expect(first).rejects.toThrow(/aborted/);
    expect(await qa.logits(tokens)).toEqual(whole);
  });

  test('a text of 2.2 MB is tokenized in slices: events go on, tokens are told, and a signal is heard', async () => {
    const context = passage(75_000);
    expect(context.length).toBeGreaterThan(2.2e6);
    const counted: number[] = [];
    const controller = new AbortController();
    const onProgress = ({ total, tokens }: { total: number; tokens: number }) => {
      counted.push(tokens);
      if (total > 0) controller.abort(new Error('read'));
    };
    const delay = monitorEventLoopDelay({ resolution: 2 });
    delay.enable();
    await expect(qa.answer({ ...ask, context, onProgress, signal: controller.signal })).rejects.toThrow('read');
    delay.disable();
    console.log(
      `${threads} threads: 2.2 MB of text, event loop's delay p99 ${(delay.percentile(99) / 1e6).toFixed(1)} ms, longest ${(delay.max / 1e6).toFixed(1)} ms`,
    );
    expect(counted.length).toBeGreaterThan(20);
    expect(counted).toEqual(counted.toSorted((a, b) => a - b));
    const early = new AbortController();
    const begin = performance.now();
    const stopped = qa.answer({ ...ask, context: `${context} `, signal: early.signal });
    setTimeout(() => early.abort(new Error('early')), 20);
    await expect(stopped).rejects.toThrow('early');
    expect(performance.now() - begin).toBeLessThan(1000);
    expect((await qa.answer(ask))[0].text).toBe('Ada');
  });

  test('answers under way at once take turns, a window each', async () => {
    const done: string[] = [];
    const long = qa.answer({ ...ask, context: passage(200) }).then(() => done.push('long'));
    const short = qa.answer(ask).then(() => done.push('short'));
    await Promise.all([long, short]);
    expect(done).toEqual(['short', 'long']);
  });
});
