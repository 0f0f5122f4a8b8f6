/** Sizes far beyond BERT's on the CPU: they are computed right, or refused before anything runs; and a read that is aborted holds nobody up. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { randomWeights } from '../bench/model.ts';
import { constant, normal, tensor } from '../kernels/op.ts';
import { Bert } from '../src/bert.ts';
import { CpuDevice } from '../src/devices/cpu/device.ts';
import { startCpu } from '../src/devices/cpu/start.ts';
import { COMMAND_WORDS, CommandList, instantiate, KERNELS, WEIGHTS } from '../src/devices/cpu/threads.ts';
import { quantizeWeight } from '../src/quantize.ts';
import { Runtime, type Tensor } from '../src/runtime.ts';
import { expectError, ROOT } from './support.ts';

const ROWS = 1_100_000;
/** Rows that repeat after ten. */
const periodic = (rows: number, columns: number) => {
  const { data } = normal([10, Math.min(columns, 1000)], columns);
  const all = new Float32Array(rows * columns);
  for (let at = 0; at < all.length; at += data.length) all.set(data.subarray(0, all.length - at), at);
  return tensor([rows, columns], all);
};

/** Place of the first element that is not as wanted, or -1. In arrays so long `toEqual` takes seconds. */
const wrongAt = (got: Float32Array, wanted: (at: number) => number) => got.findIndex((y, at) => y !== wanted(at));

let runtime: Runtime;
beforeAll(async () => {
  runtime = new Runtime((await startCpu({ threads: 2 })).device);
});
afterAll(() => runtime.dispose());

/** The runtime computes as before. */
async function isUsable(rt = runtime): Promise<void> {
  const x = constant([2, 3], 1);
  expect(await rt.read(rt.add(rt.tensor(x), rt.tensor(x)))).toEqual(constant([2, 3], 2).data);
}

describe(`every op on ${ROWS} rows`, () => {
  const bias = constant([5], 0.5);
  const weight = normal([5, 3], 1);
  const norm = () => ({ gamma: runtime.tensor(normal([3], 2)), beta: runtime.tensor(normal([3], 3)) });
  /** Ops whose rows do not see each other, so that their results repeat as x does. */
  const OPS: Record<string, (x: Tensor) => Tensor> = {
    linear: (x) => runtime.linear(x, runtime.linearLayer(weight, bias), 'gelu'),
    'linear, torch': (x) => runtime.linear(x, runtime.linearLayer(quantizeWeight(weight, 'torch'), bias)),
    'linear, accurate': (x) => runtime.linear(x, runtime.linearLayer(quantizeWeight(weight, 'accurate'), bias)),
    layerNorm: (x) => runtime.layerNorm(x, x, norm(), 1e-12),
    'layerNorm without residual': (x) => runtime.layerNorm(x, null, norm(), 1e-12),
    add: (x) => runtime.add(x, x),
    mul: (x) => runtime.mul(x, runtime.tensor(normal([1, 3], 4))),
    activation: (x) => runtime.activation(x, 'tanh'),
    softmax: (x) => runtime.softmax(x),
    matmul: (x) => runtime.matmul(x, runtime.tensor(normal([3, 5], 5))),
    rows: (x) =>
      runtime.rows(
        x,
        Int32Array.from({ length: x.shape[0] }, (_, i) => i),
      ),
    'transpose and back': (x) => runtime.transpose(runtime.transpose(x)),
  };
  test.each(Object.entries(OPS))('%s', async (_, op) => {
    using few = runtime.tensor(periodic(10, 3));
    using many = runtime.tensor(periodic(ROWS, 3));
    const want = await runtime.read(op(few));
    const got = await runtime.read(op(many));
    expect(got.length).toBe((ROWS / 10) * want.length);
    expect(wrongAt(got, (at) => want[at % want.length]!)).toBe(-1);
  });
  test('mean, of one sequence and of 550,000', async () => {
    const x = periodic(ROWS, 3);
    using whole = runtime.tensor(x);
    using pairs = runtime.tensor(x, Array(ROWS / 2).fill(2));
    const close = (got: number, want: number) => expect(Math.abs(got - want)).toBeLessThan(1e-2);
    const all = await runtime.read(runtime.mean(whole));
    for (const [i, got] of all.entries()) {
      close(
        got,
        Array.from({ length: 10 }, (_, row) => x.data[row * 3 + i]! / 10).reduce((a, b) => a + b),
      );
    }
    const each = await runtime.read(runtime.mean(pairs));
    const wrong = each.findIndex((got, at) => {
      const first = Math.floor(at / 3) * 6 + (at % 3);
      return Math.abs(got - (x.data[first]! + x.data[first + 3]!) / 2) > 1e-6;
    });
    expect(wrong).toBe(-1);
  });
  test('attention: 550,000 heads of one row, and as many rows as a sequence', async () => {
    const heads = 550_000;
    const x = periodic(1, 3 * heads);
    using qkv = runtime.tensor(x);
    // A token that attends to itself alone is its value.
    const y = await runtime.read(runtime.attention(qkv, heads));
    expect(wrongAt(y, (at) => x.data[2 * heads + at]!)).toBe(-1);
  });
});

describe('columns', () => {
  test(`one row of ${ROWS}: linear, layerNorm, softmax, matmul`, async () => {
    using x = runtime.tensor(constant([1, ROWS], 1));
    const some = constant([ROWS], 0.5);
    const layer = runtime.linearLayer(constant([1, ROWS], 2 ** -10), constant([1], 0));
    expect((await runtime.read(runtime.linear(x, layer)))[0]).toBe(ROWS / 2 ** 10);
    const norm = { gamma: runtime.tensor(some), beta: runtime.tensor(some) };
    expect(wrongAt(await runtime.read(runtime.layerNorm(x, null, norm, 1e-12)), () => 0.5)).toBe(-1);
    const even = await runtime.read(runtime.softmax(x));
    expect(even.every((y) => Math.abs(y * ROWS - 1) < 1e-3)).toBe(true);
    const product = runtime.matmul(runtime.tensor(constant([1, 1], 2)), x);
    expect(wrongAt(await runtime.read(product), () => 2)).toBe(-1);
    await isUsable();
  });
  test('a tile reads past the last upload, however long its rows are', async () => {
    const module = new WebAssembly.Module(readFileSync(join(ROOT, 'wasm', 'relaxed.wasm')));
    const memory = new WebAssembly.Memory({ initial: 8, maximum: 65536 });
    const rt = new Runtime(new CpuDevice(module, memory, { int8: 'relaxed', tile: '6x8' }, 1));
    const x = constant([1, 3 * 48_000], 0.25);
    expect(await rt.read(rt.attention(rt.tensor(x), 1000))).toEqual(x.data.slice(96_000));
  });
  test('int8: 131,072 fit int32, one more is refused', async () => {
    const most = 2 ** 17;
    const layer = (features: number) =>
      runtime.linearLayer(
        { ...quantizeWeight(constant([2, features], 1), 'torch'), scale: new Float32Array(2).fill(1) },
        constant([2], 0),
      );
    using x = runtime.tensor(constant([1, most], 127)); // scale 1, zero point 0: the largest sum there is
    expect(await runtime.read(runtime.linear(x, layer(most)))).toEqual(
      Float32Array.of(127 * 127 * most, 127 * 127 * most),
    );
    await expectError('input', /^linear: expected at most 131072 columns in int8, .*, got 131073\.$/, () =>
      layer(most + 1),
    );
  });
});

describe('attention', () => {
  /** Keys of 0: each token of a head is the mean of the head's values. */
  const even = (tokens: number, heads: number) => {
    const qkv = constant([tokens, 3 * heads], 0);
    for (let token = 0; token < tokens; token++) {
      for (let head = 0; head < heads; head++) qkv.data[(token * 3 + 2) * heads + head] = (token % 2) + head;
    }
    return qkv;
  };
  test('16,384 heads of 384 tokens end', async () => {
    const [tokens, heads] = [384, 16_384];
    using qkv = runtime.tensor(even(tokens, heads));
    const y = await runtime.read(runtime.attention(qkv, heads));
    expect(y.findIndex((value, at) => Math.abs(value / ((at % heads) + 0.5) - 1) > 1e-5)).toBe(-1);
  });
  // All of it takes half a minute: the kernel is asked for some of its chunks.
  test.each([0, 6000, 9599])('300 heads of 8,192 tokens: chunk %d of 9600', (chunk) => {
    const [tokens, heads, chunks] = [8192, 300, 9600];
    const [stride, yStride] = [912, 304];
    const [qkv, y] = [WEIGHTS, WEIGHTS + tokens * stride * 4];
    const scratch = y + tokens * yStride * 4;
    const each = (tokens + 16 * tokens + 6 * tokens + 6 * 16) * 4 + 64;
    const memory = new WebAssembly.Memory({ initial: Math.ceil((scratch + each) / 65536) + 1, maximum: 65536 });
    const module = new WebAssembly.Module(readFileSync(join(ROOT, 'wasm', 'relaxed.wasm')));
    const { data } = even(tokens, heads);
    const input = new Float32Array(memory.buffer, qkv, tokens * stride);
    for (let token = 0; token < tokens; token++) {
      input.set(data.subarray(token * 3 * heads, (token + 1) * 3 * heads), token * stride);
    }
    const command = WEIGHTS - 64;
    new Int32Array(memory.buffer, command, 10).set([qkv, y, tokens, heads, 1, stride, yStride, scratch, each, 1]);
    instantiate(module, memory).kernels[KERNELS.indexOf('attention')]!(command, chunk, chunks, 0);
    const got = new Float32Array(memory.buffer, y, tokens * yStride);
    const blocks = Math.ceil(tokens / 6); // of rows
    const [begin, end] = [chunk, chunk + 1].map((c) => Math.floor((heads * blocks * c) / chunks)) as [number, number];
    const isMade = (head: number, row: number) => {
      const item = head * blocks + Math.floor(row / 6);
      return item >= begin && item < end;
    };
    let wrong = 0;
    for (let row = 0; row < tokens; row++) {
      for (let head = 0; head < heads; head++) {
        const want = isMade(head, row) ? head + 0.5 : 0;
        if (Math.abs(got[row * yStride + head]! - want) > 1e-4 * want) wrong++;
      }
    }
    expect(wrong).toBe(0);
  });
});

test('a batch of 620 windows of 1,692 tokens: the bits of each alone', async () => {
  const [count, tokens] = [620, 1692]; // with as many columns the rows times the chunks are more than 31 bits
  const config = {
    vocab: 50,
    positions: tokens,
    types: 1,
    hidden: 16,
    layers: 1,
    heads: 1,
    intermediate: 16,
    eps: 1e-12,
  };
  const bert = new Bert(runtime, config, randomWeights(config, 'fp32', 0.2));
  const ids = [0, 1].map((which) => Int32Array.from({ length: tokens }, (_, i) => (7 * i + which) % 50));
  const types = new Int32Array(tokens);
  const want = [await bert.forward(ids[0]!, types), await bert.forward(ids[1]!, types)];
  const all = await bert.forwardBatch(
    Array.from({ length: count }, (_, i) => ids[i % 2]!),
    Array(count).fill(types),
  );
  const wrong = all.findIndex((logits, i) => wrongAt(logits, (at) => want[i % 2]![at]!) >= 0);
  expect([all.length, wrong]).toEqual([count, -1]);
});

describe('refused before anything runs', () => {
  test('a result for which there is no room', async () => {
    using x = runtime.tensor(periodic(ROWS, 3));
    const y = runtime.linear(x, runtime.linearLayer(constant([1024, 3], 1), constant([1024], 0)));
    const none = /^cpu: expected \d+ bytes of memory, got none\. WebAssembly has 4 GB at most/;
    await expectError('device', none, () => runtime.read(y));
    await isUsable();
  });
  test('a batch of more sequences than there is room for commands', async () => {
    const layer = runtime.linearLayer(quantizeWeight(normal([2, 3], 1), 'torch'), constant([2], 0));
    const batch = (count: number) => {
      const rows = normal([count, 3], 2);
      return runtime.linear(runtime.tensor(rows, Array(count).fill(1)), layer);
    };
    const refused = /^read: expected a program of at most 7616 calls of kernels, got 8001\. Read .* fewer sequences/;
    await expectError('input', refused, () => runtime.read(batch(4000)));
    expect((await runtime.read(batch(3000))).length).toBe(6000);
  });
});

describe('after an abort', () => {
  test.each([0, 1, 2])('%d workers: the next read and dispose() do not wait for the whole command', async (threads) => {
    const { device } = await startCpu({ threads: Math.max(threads, 1) });
    let rt = new Runtime(device);
    if (threads === 0) {
      await rt.dispose();
      const module = new WebAssembly.Module(readFileSync(join(ROOT, 'wasm', 'relaxed.wasm')));
      const memory = new WebAssembly.Memory({ initial: 8, maximum: 65536 });
      rt = new Runtime(new CpuDevice(module, memory, { int8: 'relaxed', tile: '6x8' }, 1));
    }
    const qkv = rt.tensor(constant([8192, 900], 0.5));
    const controller = new AbortController();
    const long = rt.read(rt.attention(qkv, 300), { signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), 50);
    await expect(long).rejects.toThrow('enough');
    await isUsable(rt);
    await rt.dispose();
  });
  test('no chunk is computed that was not under way', () => {
    const memory = new WebAssembly.Memory({ initial: 8 });
    let computed = 0;
    const kernels = KERNELS.map(() => () => {
      if (++computed === 3) list.cancel();
    });
    const list = new CommandList(memory, kernels, 0);
    const calls = new Int32Array(2 * COMMAND_WORDS);
    calls.set([0, 1000]);
    calls.set([1, 1000], COMMAND_WORDS);
    list.start(calls);
    let ended = 'some';
    for (let claims = 0; claims < 1000; claims++) ended = list.work();
    expect([ended, computed]).toEqual(['last', 3]);
  });
});
