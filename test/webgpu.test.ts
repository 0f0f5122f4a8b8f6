/** The GPU backend on a software adapter (test/globalSetup.ts): every kernel, the quantizer, whole models, its limits. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { globals } from 'webgpu';
import { forwardOf, randomWeights } from '../bench/model.ts';
import { constant, normal, tensor, uniform } from '../kernels/op.ts';
import type { Backend } from '../src/backend.ts';
import { ReferenceBackend } from '../src/backends/reference.ts';
import { type StartedWebgpu, startWebgpu } from '../src/backends/startWebgpu.ts';
import { WebgpuBackend } from '../src/backends/webgpu.ts';
import type { GpuChoice } from '../src/backends/webgpuPlan.ts';
import type { BertConfig } from '../src/bert.ts';
import type { Precision } from '../src/checkpoint/load.ts';
import { toFloat32 } from '../src/checkpoint/safetensors.ts';
import { load, type QuestionAnswering } from '../src/index.ts';
import { chooseScale, quantizeWeight } from '../src/quantize.ts';
import {
  ACCUMULATOR_SIZES,
  CHECKPOINT,
  expectError,
  largestDifference,
  OP_CASES,
  ROOT,
  shareOfBound,
  TINY,
  wrongAccumulators,
} from './support.ts';

/** WebGPU's classes and flags, which Node has no globals for. */
const gpuClasses = globals as unknown as typeof globalThis;

let started: StartedWebgpu;
beforeAll(async () => {
  started = await startWebgpu(); // no adapter is a failure here, not a skip
  console.log(`WebGPU adapter: ${started.backend.adapter}; ${started.kernels}`);
}, 60_000);
afterAll(() => started.backend.dispose());

/** Backends of the same device with other kernels. */
const backends = new Map<string, WebgpuBackend>();
function backend(choice: GpuChoice): WebgpuBackend {
  const key = JSON.stringify(choice);
  if (!backends.has(key)) backends.set(key, new WebgpuBackend(started.device, started.backend.adapter, choice));
  return backends.get(key)!;
}
const CHOICES: [name: string, choice: GpuChoice][] = [
  ['direct, float', { product: 'direct', groups: 1, int8: 'float', workgroups: 1 }],
  ['direct, packed', { product: 'direct', groups: 1, int8: 'packed', workgroups: 1 }],
  ['tiled, float', { product: 'tiled', groups: 1, int8: 'float', workgroups: 1 }],
  ['tiled by 64, packed', { product: 'tiled', groups: 2, int8: 'packed', workgroups: 1 }],
];

describe.each(CHOICES)('%s', (_, choice) => {
  test.each(OP_CASES)('%s, %s: within its bound of the reference', { timeout: 60_000 }, async (_, key, op) => {
    expect(await shareOfBound(backend(choice) as Backend, key, op)).toBeLessThanOrEqual(1);
    backend(choice).clear();
  });
  test.each(ACCUMULATOR_SIZES)(
    '%d tokens, %d features, %d outputs: accumulators equal exact sums',
    async (...sizes) => {
      expect(await wrongAccumulators(backend(choice) as Backend, ...sizes)).toBe(0);
      backend(choice).clear();
    },
  );
});

/** Runs chooseQuantizer of int8.wgsl on pairs of numbers. */
async function quantizers(pairs: Float32Array<ArrayBuffer>) {
  const { device } = started;
  const kernel = `@group(0) @binding(4) var<storage, read> pairs: array<vec2f>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) at: vec3u) {
      let q = chooseQuantizer(pairs[at.x].x, pairs[at.x].y);
      y[at.x] = vec4u(bitcast<u32>(q.scale), bitcast<u32>(q.inverse), u32(q.zeroPoint + 64), 0u);
    }`;
  const files = ['common.wgsl', 'int8.wgsl'].map((name) => readFileSync(join(ROOT, 'kernels', name), 'utf8'));
  const module = device.createShaderModule({ code: [...files, kernel].join('\n') });
  const pipeline = await device.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main' } });
  const make = (size: number, usage: number) => device.createBuffer({ size, usage });
  const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = gpuClasses.GPUBufferUsage;
  const input = make(pairs.byteLength, STORAGE | COPY_DST);
  const output = make(pairs.byteLength * 2, STORAGE | COPY_SRC);
  const staging = make(pairs.byteLength * 2, MAP_READ | COPY_DST);
  device.queue.writeBuffer(input, 0, pairs);
  const entries = [output, input].map((buffer, i) => ({ binding: 3 + i, resource: { buffer } }));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(pairs.length / 128);
  pass.end();
  encoder.copyBufferToBuffer(output, 0, staging, 0, output.size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(MAP_READ);
  const bits = new Uint32Array(staging.getMappedRange().slice(0));
  return { floats: new Float32Array(bits.buffer), bits };
}

describe('quantizer', () => {
  const next = uniform(1);
  const exponential = (least: number, most: number) => 2 ** (least + (most - least) * next());
  const ranges: [name: string, make: () => [low: number, high: number]][] = [
    ['of like size', () => [exponential(-3, 3), exponential(-3, 3)]],
    ['lopsided', () => [exponential(-40, 5), exponential(-3, 8)]],
    ['symmetric', () => Array(2).fill(Math.fround(exponential(-10, 10))) as [number, number]],
    ['whole multiples: zero points halfway', () => [Math.floor(next() * 255), Math.floor(next() * 255)]],
    ['one-sided', () => (next() < 0.5 ? [exponential(-5, 5), 0] : [0, exponential(-5, 5)])],
    ['tiny: widened', () => [exponential(-115, -6), exponential(-115, -6)]],
    ['huge', () => [exponential(60, 126), exponential(60, 126)]],
    ['zero or nearly', () => [0, next() < 0.5 ? 0 : exponential(-148, -122)]],
  ];
  test.each(ranges)("%s: scale, its inverse and zero point equal PyTorch's to the bit", async (_, make) => {
    const count = 64 * 256;
    const pairs = Float32Array.from({ length: 2 * count });
    for (let i = 0; i < count; i++) pairs.set(make(), 2 * i);
    const { floats, bits } = await quantizers(pairs);
    const wrong: unknown[] = [];
    for (let i = 0; i < count; i++) {
      const [low, high] = [pairs[2 * i]!, pairs[2 * i + 1]!];
      const { scale, zeroPoint } = chooseScale(-low, high);
      const want = [scale, Math.fround(1 / scale), zeroPoint + 0];
      const got = [floats[4 * i]!, floats[4 * i + 1]!, bits[4 * i + 2]!];
      if (want.some((value, k) => value !== got[k])) wrong.push({ low, high, want, got });
    }
    expect(wrong.slice(0, 3)).toEqual([]);
    expect(wrong.length).toBe(0);
  });
});

const SMALL: BertConfig = {
  ...{ vocab: 500, positions: 130, types: 2, hidden: 128, layers: 2, heads: 2, intermediate: 256, eps: 1e-12 },
};
/** Logits of seeded weights; fp16's are rounded for the reference, which computes with the same numbers in float32. */
function forward(on: Backend, config: BertConfig, precision: Precision) {
  const weights = randomWeights(config, precision, 0.2); // large, so that attention is far from even
  const widened = (name: string) => {
    const weight = weights(name);
    return weight.dtype === 'F16' ? { ...weight, dtype: 'F32' as const, data: toFloat32(weight) } : weight;
  };
  return forwardOf(on, config, (on as unknown) instanceof ReferenceBackend ? widened : weights);
}

describe('whole models of seeded weights', () => {
  const reference = new ReferenceBackend() as Backend;
  const split: GpuChoice = { product: 'tiled', groups: 1, int8: 'packed', workgroups: 60 };
  const cases = [
    ...(['fp32', 'fp16', 'torch', 'accurate'] as const).flatMap((precision) => [
      ['direct', precision, CHOICES[0]![1]] as const,
      ['tiled, k in up to 6 parts', precision, split] as const,
    ]),
    ['tiled by 64, k in up to 6 parts', 'fp32', { ...split, groups: 2 }] as const,
    ['tiled, float, k in up to 6 parts', 'torch', { ...split, int8: 'float' }] as const,
  ];
  test.each(cases)(
    '%s, %s: near the reference, at any length and in any order',
    { timeout: 60_000 },
    async (...all) => {
      const [, precision, choice] = all;
      const [gpu, exact] = [
        forward(backend(choice) as Backend, SMALL, precision),
        forward(reference, SMALL, precision),
      ];
      const lengths = [130, 1, 33, 64];
      const first = new Map<number, Float32Array>();
      for (const tokens of lengths) first.set(tokens, await gpu(tokens));
      for (const tokens of lengths.toReversed()) {
        expect(await gpu(tokens), 'the same input gives the same bits, whatever came before').toEqual(
          first.get(tokens),
        );
      }
      for (const tokens of lengths) {
        // int8: a value that one last bit moves to the next step changes logits by what such a step is worth.
        const most = precision === 'fp32' || precision === 'fp16' ? 2e-4 : 0.1;
        expect(largestDifference(first.get(tokens)!, await exact(tokens))).toBeLessThan(most);
      }
      backend(choice).clear();
    },
  );
  test('the parts add up to the same bits for every number of them that the length gives', async () => {
    const gpu = forward(backend({ ...split, workgroups: 8 }) as Backend, SMALL, 'torch');
    const one = forward(backend({ ...split, workgroups: 1 }) as Backend, SMALL, 'torch');
    for (const tokens of [20, 90, 130]) expect(await gpu(tokens)).toEqual(await one(tokens)); // int32 sums
  });
});

test('rows beyond the last do not widen the range of those that are quantized', async () => {
  // Every token looks at the first one, whose value is 1; a row of padding would look at all, whose values are -5.
  const qkv = Float32Array.from({ length: 17 * 12 }, (_, i) => {
    const [token, part] = [Math.floor(i / 12), Math.floor((i % 12) / 4)];
    return [20, token === 0 ? 20 : -20, token === 0 ? 1 : -5][part]!;
  });
  const weight = quantizeWeight(normal([8, 4], 1), 'torch');
  const run = async <T, L>(on: Backend<T, L>) => {
    const mixed = on.attention(on.upload(tensor([17, 12], qkv)), 1);
    return on.read(on.linear(mixed, on.uploadLinear(weight, constant([8], 0))));
  };
  const on = backend(CHOICES[0]![1]);
  expect(largestDifference(await run(on), await run(new ReferenceBackend()))).toBeLessThan(1e-6);
  on.clear();
});

describe('what a forward costs', () => {
  /** Calls of the GPU objects' methods while something runs. */
  async function calls(run: () => Promise<unknown>): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    const methods = [
      ...(['createBuffer', 'createBindGroup', 'createComputePipelineAsync', 'createShaderModule'] as const).map(
        (name) => [gpuClasses.GPUDevice.prototype, name] as const,
      ),
      [gpuClasses.GPUQueue.prototype, 'submit'] as const,
      [gpuClasses.GPUBuffer.prototype, 'mapAsync'] as const,
      [gpuClasses.GPUCommandEncoder.prototype, 'beginComputePass'] as const,
      [gpuClasses.GPUComputePassEncoder.prototype, 'dispatchWorkgroups'] as const,
    ];
    const restore = methods.map(([owner, name]) => {
      const prototype = owner as unknown as Record<string, (...args: unknown[]) => unknown>;
      const original = prototype[name]!;
      prototype[name] = function (this: unknown, ...args: unknown[]) {
        counts[name] = (counts[name] ?? 0) + 1;
        return original.apply(this, args);
      };
      return () => Object.assign(prototype, { [name]: original });
    });
    await run();
    for (const undo of restore) undo();
    return counts;
  }
  const twelve: BertConfig = { ...SMALL, layers: 12, positions: 64 };
  test.each(['fp32', 'fp16', 'torch'] as const)(
    '12 layers, %s: 87 dispatches, one submit, one readback',
    async (precision) => {
      const gpu = forward(backend(CHOICES[0]![1]) as Backend, twelve, precision);
      const first = await calls(() => gpu(20));
      expect(first.createBindGroup).toBeGreaterThan(80);
      for (const tokens of [20, 7, 64]) {
        const want = { submit: 1, mapAsync: 1, beginComputePass: 1, dispatchWorkgroups: 87 };
        expect(await calls(() => gpu(tokens))).toEqual(want); // no buffer, bind group or pipeline
      }
      backend(CHOICES[0]![1]).clear();
    },
  );
  test('100 answers of mixed lengths leave GPU bytes and RSS as they were', { timeout: 60_000 }, async () => {
    const on = backend(CHOICES[0]![1]);
    const gpu = forward(on as Backend, { ...SMALL, hidden: 32, intermediate: 64 }, 'torch');
    for (let i = 0; i < 30; i++) await gpu(1 + ((i * 37) % 130));
    const [bytes, rss] = [on.bytes, process.memoryUsage().rss];
    for (let i = 0; i < 100; i++) await gpu(1 + ((i * 37) % 130));
    const grown = (process.memoryUsage().rss - rss) / 2 ** 20;
    console.log(
      `100 forwards of 1 to 130 tokens: RSS grew by ${grown.toFixed(1)} MB, GPU bytes by ${on.bytes - bytes}`,
    );
    expect(on.bytes).toBe(bytes);
    expect(grown).toBeLessThan(30);
    on.clear();
    expect(on.bytes).toBe(0);
  });
});

describe('the embedded checkpoint, all layers', () => {
  const question = 'Who wrote the tests?';
  const context = 'The kernels were measured on Monday. Ada Brown wrote the tests on Friday, in Lisbon, and left.';
  const cpu = new Map<string, Promise<QuestionAnswering>>();
  const onCpu = (dtype: 'fp32' | 'int8') => {
    if (!cpu.has(dtype)) cpu.set(dtype, load(CHECKPOINT, { dtype, threads: 1 }));
    return cpu.get(dtype)!;
  };
  afterAll(async () => {
    for (const qa of cpu.values()) await (await qa).dispose();
  });
  test.each(['fp32', 'fp16', 'int8'] as const)('%s: answers as the CPU does', { timeout: 120_000 }, async (dtype) => {
    const qa = await load(CHECKPOINT, { device: 'webgpu', dtype });
    expect(qa.info).toMatchObject({ device: 'webgpu', dtype, adapter: started.backend.adapter });
    const exact = await onCpu(dtype === 'int8' ? dtype : 'fp32');
    const { ids, typeIds } = qa.tokenizer.encodePair(question, context);
    const input = { inputIds: ids, tokenTypeIds: typeIds };
    const [got, want] = [await qa.logits(input), await exact.logits(input)];
    if (dtype !== 'int8') {
      expect(largestDifference(got.start, want.start)).toBeLessThan(2e-3);
      expect(largestDifference(got.end, want.end)).toBeLessThan(2e-3);
    }
    expect(await qa.logits(input), 'twice').toEqual(got);
    const [[answer], [same]] = [await qa.answer({ question, context }), await exact.answer({ question, context })];
    expect(answer!.text).toBe(same!.text);
    expect(answer!.text).toBe('Ada Brown');
    await qa.dispose();
  });
});

describe('passages of many windows', () => {
  test.each([11, 15, 19])('%d windows: answers as the CPU does', { timeout: 60_000 }, async (windows) => {
    const [gpu, cpu] = await Promise.all([
      load(TINY, { device: 'webgpu', dtype: 'fp32' }),
      load(TINY, { device: 'cpu', dtype: 'fp32', threads: 1 }),
    ]);
    const words = readFileSync(`${TINY}/vocab.txt`, 'utf8')
      .split('\n')
      .filter((word) => /^[a-z]+$/.test(word));
    const next = uniform(windows);
    const room = 64 - 3 - 1;
    const tokens = room + (windows - 1) * (room - 10);
    const context = Array.from({ length: tokens }, () => words[Math.floor(next() * words.length)]).join(' ');
    const input = { question: words[0]!, context, maxTokens: 64, stride: 10, topK: 5 };
    let runs = 0;
    const logits = gpu.logits.bind(gpu);
    gpu.logits = (...args) => {
      runs++;
      return logits(...args);
    };
    const [got, want] = [await gpu.answer(input), await cpu.answer(input)];
    expect(runs).toBe(windows);
    const spans = (answers: typeof got) => answers.map(({ start, end }) => [start, end]);
    expect(spans(got)).toEqual(spans(want));
    await gpu.dispose();
    await cpu.dispose();
  });
});

describe('limits', () => {
  const zeros = (...shape: number[]) =>
    ({ dtype: 'F32', shape, data: new Float32Array(shape.reduce((a, b) => a * b)) }) as const;
  const on = () => backend(CHOICES[0]![1]);
  test('layerNorm of more than 1024 columns', () =>
    expectError('input', /webgpu: layerNorm: expected at most 1024 columns, got 1028. Use `cpu`/, () => {
      const [x, gamma] = [on().upload(zeros(1, 1028)), on().upload(zeros(1028))];
      return on().layerNorm(x, null, { gamma, beta: gamma }, 1e-12);
    }));
  test('heads of more than 64', () =>
    expectError('input', /webgpu: attention: expected headDim a multiple of 4, at most 64, got 68/, () =>
      on().attention(on().upload(zeros(1, 3 * 68)), 1),
    ));
  test('linear: features', () =>
    expectError('input', /linear: expected 4 input features, got 3/, () =>
      on().linear(on().upload(zeros(2, 3)), on().uploadLinear(zeros(5, 4), zeros(5))),
    ));
  test('a tensor beyond the largest binding', () => {
    const { limits } = started.device;
    const most = Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize);
    const data = { length: most / 4 + 1, BYTES_PER_ELEMENT: 4 } as Float32Array;
    return expectError('device', new RegExp(`^webgpu, .*software.*limit of ${most} bytes`), () =>
      on().upload({ dtype: 'F32', shape: [most / 4 + 1, 1], data }),
    );
  });
});
