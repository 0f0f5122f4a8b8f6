/** The CPU device with threads, on whole models, and its life as a process. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { normal, runOp } from '../kernels/op.ts';
import { Bert } from '../src/bert.ts';
import { openCheckpoint, type Precision, weightsOf } from '../src/checkpoint/index.ts';
import { startCpu } from '../src/devices/cpu/start.ts';
import { load } from '../src/index.ts';
import { Runtime } from '../src/runtime.ts';
import { CHECKPOINT, expectError, goldenJson, OP_CASES, runScript, TINY } from './support.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

describe('threads', () => {
  const THREADS = [1, 2, 3, 5, 7];
  const started = new Map<number, Runtime>();
  beforeAll(async () => {
    for (const threads of THREADS) started.set(threads, new Runtime((await startCpu({ threads })).device));
  });
  afterAll(() => Promise.all([...started.values()].map((runtime) => runtime.dispose())));

  test.each([2, 3, 7])("%d threads: all ops and cases, bits equal to one thread's", async (threads) => {
    const [one, many] = [started.get(1)!, started.get(threads)!];
    for (const [name, key, op] of OP_CASES) {
      const inputs = op.cases[key]!();
      expect(await runOp(many, op, inputs), `${name}, ${key}`).toEqual(await runOp(one, op, inputs));
    }
  });

  const { items } = goldenJson<{ items: { inputIds: number[]; typeIds: number[] }[] }>('minilm-questions');
  const ids = (tokens: number, first = 0) => Array.from({ length: tokens }, (_, i) => first + i);
  /** One row, which leaves threads idle, up to so many that each thread has many tiles of rows. */
  const INPUTS = {
    'the tiny model': [TINY, [ids(1), ids(7), ids(64)]],
    'the embedded model': [CHECKPOINT, [[101], items[0]!.inputIds, ids(256, 1000)]],
  } as const;
  const cases = Object.entries(INPUTS).flatMap(([name, [folder, inputs]]) =>
    (['fp32', 'torch', 'accurate'] as const).map((precision) => [name, precision, folder, inputs] as const),
  );
  test.each(cases)(
    '%s, %s: logits equal between 1, 2 and 5 threads',
    async (_, precision: Precision, folder, inputs) => {
      const checkpoint = await openCheckpoint(folder);
      const models = [1, 2, 5].map(
        (threads) => new Bert(started.get(threads)!, checkpoint.config, weightsOf(checkpoint, precision)),
      );
      checkpoint.close();
      const forward = (model: (typeof models)[number], input: readonly number[]) =>
        model.forward(Int32Array.from(input), new Int32Array(input.length));
      for (const input of inputs) {
        const [one, two, five] = await Promise.all(models.map((model) => forward(model, input)));
        expect(two).toEqual(one);
        expect(five).toEqual(one);
      }
      // Once more, after longer and shorter ones: nothing is left of them.
      expect(await forward(models[1]!, inputs[1])).toEqual(await forward(models[0]!, inputs[1]));
    },
  );

  // Two threads on the small one: on a busy machine each op waits for both.
  test.each([
    ['the embedded model, 1 thread', CHECKPOINT, 1],
    ['the tiny model, 2 threads', TINY, 2],
  ] as const)('%s: 40 forwards of mixed lengths leave memory as it was', async (name, folder, threads) => {
    const qa = await load(folder, { threads });
    const forwards = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const inputIds = ids(1 + ((i * 37) % 60));
        await qa.logits({ inputIds, tokenTypeIds: inputIds.map(() => 0) });
      }
      for (let i = 0; i < 3; i++) {
        collect();
        await new Promise(setImmediate); // what is let go of in turns
      }
      const { rss, heapUsed, external } = process.memoryUsage();
      return { rss: rss / 2 ** 20, javaScript: (heapUsed + external) / 2 ** 20 };
    };
    await qa.logits({ inputIds: ids(60), tokenTypeIds: ids(60).fill(0) });
    const before = await forwards(20);
    const grow = vi.spyOn(WebAssembly.Memory.prototype, 'grow');
    const after = await forwards(40);
    expect(grow).not.toHaveBeenCalled(); // none is longer than the first
    grow.mockRestore();
    const [rss, javaScript] = [after.rss - before.rss, after.javaScript - before.javaScript];
    console.log(
      `${name}, 40 forwards of 1 to 60 tokens: RSS grew by ${rss.toFixed(1)} MB, JavaScript's objects by ${javaScript.toFixed(2)} MB`,
    );
    expect(rss).toBeLessThan(10);
    expect(javaScript).toBeLessThan(0.5);
    await qa.dispose();
  });
});

describe('life of a process', () => {
  test('16 threads, far more than cores, not disposed: it answers and exits by itself with code 0', () => {
    const { status, stdout, stderr } = runScript(
      'const qa = await load(folder, { threads: 16 }); console.log((await qa.answer(ask))[0].text)',
    );
    expect([status, stdout, stderr]).toEqual([0, 'Ada\n', '']);
  });
  test('loaded and disposed five times, then disposed during an answer and used after it: exits by itself with code 0', () => {
    const { status, stdout, stderr } = runScript(`for (let i = 0; i < 5; i++) {
        const qa = await load(tiny, { threads: 3 }); await qa.answer(ask); await qa.dispose();
      }
      const qa = await load(folder, { threads: 2 });
      const answer = qa.answer(ask); const end = qa.dispose(); console.log((await answer)[0].text); await end; await qa.dispose();
      await qa.answer(ask).catch((error) => console.log(error.code));`);
    expect([status, stdout, stderr]).toEqual([0, 'Ada\ndisposed\n', '']);
  });
  test('without WebAssembly: cpu says so, auto uses the reference and says why', async () => {
    vi.stubGlobal('WebAssembly', undefined);
    try {
      await expectError('device', /cpu: expected an engine with WebAssembly, got one without/, () =>
        load(TINY, { device: 'cpu' }),
      );
      const qa = await load(TINY, { device: 'auto' });
      expect(qa.info.device).toBe('reference');
      expect(qa.info.reason).toMatch(
        /^webgpu: .*; cpu: expected an engine with WebAssembly, got one without. Use `reference`; reference is the fastest device that starts here$/,
      );
      await qa.dispose();
    } finally {
      vi.unstubAllGlobals();
    }
  });
  test('a worker that does not start is an error, the others end, and auto goes on', async () => {
    const workers: Worker[] = [];
    const kill = (worker: Worker) => {
      if (workers.push(worker) % 3 === 0) worker.terminate();
    };
    process.on('worker', kill);
    try {
      await expectError(
        'device',
        /^cpu: expected 3 threads, got no worker that starts \(exit code \d\)\. .* leave `threads` out/,
        () => startCpu({ threads: 3 }),
      );
      await Promise.all(workers.map((worker) => worker.terminate())); // resolves at once: they have ended
      const qa = await load(TINY, { device: 'auto', threads: 3 });
      expect([qa.info.device, qa.info.reason]).toEqual([
        'reference',
        expect.stringMatching(/cpu: expected 3 threads, got no worker/),
      ]);
      await qa.dispose();
    } finally {
      process.off('worker', kill);
    }
  });
  test('`--permission`: the caller computes alone, and info says why; more threads are refused', () => {
    const { status, stdout, stderr } = runScript(
      `for (const options of [{}, { threads: 1 }, { device: 'auto', dtype: 'fp32' }]) {
         await using qa = await load(tiny, options);
         console.log(qa.info.device, qa.info.threads, qa.info.reason.includes('Access to this API has been restricted'));
       }
       await load(tiny, { threads: 2 }).catch(({ code, message }) => console.log(code, message));`,
      { flags: ['--permission', '--allow-fs-read=*'] },
    );
    expect(stdout.split('\n').slice(0, 3)).toEqual(Array(3).fill('cpu 1 true'));
    expect(stdout).toMatch(/^device cpu: expected 2 threads, got no worker that starts \(Access .*--allow-worker/m);
    expect([status, stderr]).toEqual([0, '']);
  });
  test('a Worker that throws: the caller computes alone, the same bits, while its events go on', async () => {
    const threads = process.getBuiltinModule('node:worker_threads');
    const worker = vi.spyOn(threads, 'Worker').mockImplementation(
      class {
        constructor() {
          throw new Error('no more of them.');
        }
      } as never,
    );
    const alone = await load(CHECKPOINT);
    worker.mockRestore();
    await using one = await load(CHECKPOINT, { threads: 1 });
    expect(alone.info).toMatchObject({
      threads: 1,
      reason: "the caller's thread computes: cpu got no worker that starts (no more of them)",
    });
    expect(one.info.reason).toBeUndefined();
    const inputIds = Array.from({ length: 512 }, (_, i) => 1000 + i);
    const tokens = { inputIds, tokenTypeIds: inputIds.map(() => 0) };
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    expect(await alone.logits(tokens)).toEqual(await one.logits(tokens));
    clearInterval(timer);
    expect(turns).toBeGreaterThan(2);
    await alone.dispose();
  });
  test('without SharedArrayBuffer one thread is the default, and two are refused', async () => {
    vi.stubGlobal('SharedArrayBuffer', undefined);
    try {
      const qa = await load(TINY);
      expect([qa.info.threads, qa.info.reason]).toEqual([1, undefined]);
      await qa.dispose();
      await expectError('device', /^cpu: expected shared memory for 2 threads, got none\. Ask for 1 thread\.$/, () =>
        startCpu({ threads: 2 }),
      );
    } finally {
      vi.unstubAllGlobals();
    }
  });
  test('dispose gives the memory back, also of models that are still referred to', async () => {
    const kept: unknown[] = [];
    const size = async () => {
      for (let i = 0; i < 3; i++) {
        collect();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return process.memoryUsage().rss / 2 ** 20;
    };
    const cycle = async () => {
      const qa = await load(CHECKPOINT, { threads: 2 });
      await qa.dispose();
      kept.push(qa);
    };
    await cycle();
    const before = await size();
    for (let i = 0; i < 4; i++) await cycle();
    const grown = (await size()) - before;
    console.log(`RSS grew by ${grown.toFixed(0)} MB in 4 loads of 40 MB each`);
    expect(grown).toBeLessThan(60);
  });
  test('a worker that dies is an error, not a hang', async () => {
    const workers: Worker[] = [];
    const remember = (worker: Worker) => workers.push(worker);
    process.on('worker', remember);
    const { device } = await startCpu({ threads: 2 });
    process.off('worker', remember);
    const runtime = new Runtime(device);
    const x = runtime.tensor(normal([4, 64], 1));
    const norm = { gamma: runtime.tensor(normal([64], 2)), beta: runtime.tensor(normal([64], 3)) };
    expect((await runtime.read(runtime.layerNorm(x, null, norm, 1e-12))).length).toBe(256);
    await workers[1]!.terminate(); // as if the system had killed it
    await expectError('device', /expected 2 threads at work, got a worker that ended/, () =>
      runtime.read(runtime.layerNorm(x, null, norm, 1e-12)),
    );
    await runtime.dispose();
  });
});
