// @unit
/** The reference against PyTorch: every layer of a tiny random BERT, and every linear of the embedded checkpoint. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Bert } from '../src/bert.ts';
import { parseConfig } from '../src/checkpoint/config.ts';
import { weightsOf } from '../src/checkpoint/index.ts';
import { readSafetensors, toFloat32 } from '../src/checkpoint/safetensors.ts';
import { ReferenceDevice } from '../src/devices/reference.ts';
import { matmulInt8, quantizeActivations, quantizeWeight } from '../src/quantize.ts';
import { type HostTensor, Runtime, type Step, type Tensor } from '../src/runtime.ts';
import {
  CHECKPOINT,
  float32,
  goldenCases,
  goldenJson,
  goldenTensors,
  largestDifference,
  splitLogits,
  storedTensors,
  TINY,
} from './support.ts';

function open(folder: string) {
  const config = parseConfig(JSON.parse(readFileSync(`${folder}/config.json`, 'utf8')) as Record<string, unknown>);
  return { config, tensors: readSafetensors(readFileSync(`${folder}/model.safetensors`)) };
}
const ints = (tensor: HostTensor | undefined) => Int32Array.from(tensor!.data as Int32Array);

/** A reference device that keeps what each op makes, in the order of forward(). */
class Recorder extends ReferenceDevice {
  readonly results: Partial<Record<Step['op'], Float32Array[]>> = {};
  override async run(steps: readonly Step[], results: readonly Tensor[]): Promise<Float32Array[]> {
    const all = await super.run(
      steps,
      steps.map(({ y }) => y),
    );
    for (const [i, { op }] of steps.entries()) this.results[op] = [...(this.results[op] ?? []), all[i]!];
    return super.run(steps, results);
  }
}

describe('tiny BERT: every layer within 1e-5 of PyTorch', () => {
  const { config, tensors } = open(TINY);
  test.each([...goldenInputs()])('%s', async (_, golden) => {
    const recorder = new Recorder();
    const bert = new Bert(
      new Runtime(recorder),
      config,
      weightsOf({ config, tensors: storedTensors(tensors) }, 'fp32'),
    );
    const { start, end } = splitLogits(await bert.forward(ints(golden.inputIds), ints(golden.typeIds)));
    const { layerNorm, linear, attention } = recorder.results;
    const points: [string, Float32Array][] = [['embeddings', layerNorm![0]!]];
    for (let i = 0; i < config.layers; i++) {
      points.push([`layer.${i}.attention`, attention![i]!]);
      points.push([`layer.${i}.attentionOutput`, layerNorm![1 + 2 * i]!]);
      points.push([`layer.${i}.intermediate`, linear![4 * i + 2]!]);
      points.push([`layer.${i}.output`, layerNorm![2 + 2 * i]!]);
    }
    points.push(['start', start], ['end', end]);
    for (const [name, got] of points) {
      expect(largestDifference(got, float32(golden[name]).data), name).toBeLessThan(1e-5);
    }
  });
  test.each([...goldenInputs()])('%s, int8: logits', async (_, golden) => {
    const bert = new Bert(
      new Runtime(new ReferenceDevice()),
      config,
      weightsOf({ config, tensors: storedTensors(tensors) }, 'torch'),
    );
    const { start, end } = splitLogits(await bert.forward(ints(golden.inputIds), ints(golden.typeIds)));
    expect(largestDifference(start, float32(golden['int8/start']).data)).toBeLessThan(1e-4);
    expect(largestDifference(end, float32(golden['int8/end']).data)).toBeLessThan(1e-4);
  });

  function goldenInputs(): Map<string, Record<string, HostTensor>> {
    const inputs = new Map<string, Record<string, HostTensor>>();
    for (const [name, tensor] of goldenTensors('tiny-bert/activations')) {
      const [input, ...point] = name.split('/') as [string, ...string[]];
      inputs.set(input, { ...inputs.get(input), [point.join('/')]: tensor });
    }
    return inputs;
  }
});

describe('embedded checkpoint, each quantized linear fed with the input that PyTorch gave it', () => {
  const { tensors } = open(CHECKPOINT);
  const goldens = goldenTensors('minilm-linears');
  const { sha256 } = goldenJson<{ sha256: Record<string, { wq: string; acc: string }> }>('minilm-linears');
  const hash = (data: Int8Array | Int32Array) =>
    createHash('sha256')
      .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
      .digest('hex');
  let worst = 0;
  const runtime = new Runtime(new ReferenceDevice());
  test.each(Object.entries(sha256))('%s: ints and accumulators equal, output within 1e-5', async (name, expected) => {
    const source = name.replace(/\.(key|value)$/, '.query'); // the three read one input
    const weight = tensors.get(`${name}.weight`)!;
    const wq = quantizeWeight({ dtype: 'F32', shape: weight.shape, data: toFloat32(weight) }, 'torch');
    expect(wq.scale[0]).toBe(float32(goldens.get(`${name}/wScale`)).data[0]);
    expect(hash(wq.data)).toBe(expected.wq);
    const x = float32(goldens.get(`${source}/x`));
    const xq = quantizeActivations(x, 'torch');
    expect(xq.scale[0]).toBe(float32(goldens.get(`${name}/scale`)).data[0]);
    expect(xq.zeroPoint[0]).toBe((goldens.get(`${name}/zeroPoint`)!.data as Int32Array)[0]);
    expect(xq.data).toEqual(new Uint8Array(goldens.get(`${source}/xq`)!.data as Uint8Array));
    expect(hash(matmulInt8(xq, wq))).toBe(expected.acc);
    const bias = tensors.get(`${name}.bias`)!;
    const linear = runtime.linearLayer(wq, { data: toFloat32(bias) }, name);
    const y = await runtime.read(runtime.linear(runtime.tensor(x), linear));
    const difference = largestDifference(y, float32(goldens.get(`${name}/y`)).data);
    worst = Math.max(worst, difference);
    expect(difference).toBeLessThan(1e-5);
  });
  test('all 37 of them', () => {
    console.log(`embedded checkpoint, linears: largest output difference to PyTorch ${worst.toExponential(2)}`);
    expect(Object.keys(sha256).length).toBe(37);
  });
});

test('goldenCases finds the groups that the goldens have', () => {
  expect(goldenCases(goldenTensors('quantizer'), 'linearInt8').size).toBeGreaterThanOrEqual(8);
});
