// @unit
/** The microscope: its integers are PyTorch's, the outlier does what it says, and each number's line of code stands where it says. */
import { describe, expect, test } from 'vitest';
import { tensor } from '../kernels/op.ts';
import { beginning, look, moved, outlierOf, type Slide, slideOf } from '../programs/explain/microscope.ts';
import { caption, numberLine, reachOf, STEPS, steps, stillLife } from '../programs/report/microscope.ts';
import { functionText } from '../scripts/docs.ts';
import { readWeights } from '../src/bert.ts';
import { openCheckpoint, weightsOf } from '../src/checkpoint/index.ts';
import { ReferenceDevice } from '../src/devices/reference.ts';
import { matmulInt8, quantizeActivations, quantizeWeight } from '../src/quantize.ts';
import { type HostTensor, Runtime } from '../src/runtime.ts';
import { TESTED } from './opCases.ts';
import { expectError, float32, goldenCases, goldenTensors, TINY } from './support.ts';

const SCHEMES = ['torch', 'accurate'] as const;
function slideFrom(x: HostTensor<Float32Array>, weight: HostTensor<Float32Array>, bias: Float32Array): Slide {
  const tokens = Array.from({ length: x.shape[0]! }, (_, i) => `token ${i}`);
  const int8 = { torch: quantizeWeight(weight, 'torch'), accurate: quantizeWeight(weight, 'accurate') };
  return { name: 'qa_outputs', tokens, places: tokens.map((_, i) => 10 * i), x, weight, bias, int8 };
}
/** Three tokens of 64 features, the last with an outlier. */
function withOutlier(): Slide {
  const wave = (n: number, size: number) => Float32Array.from({ length: n }, (_, i) => size * Math.sin(1 + i * i));
  const data = wave(3 * 64, 1);
  data[2 * 64 + 5] = 8;
  return slideFrom(tensor([3, 64], data), tensor([4, 64], wave(4 * 64, 0.1)), wave(4, 0.5));
}

describe("PyTorch's numbers", () => {
  test.each([...goldenCases(goldenTensors('quantizer'), 'linearInt8')])(
    '%s: integers, accumulators, outputs',
    (_, golden) => {
      const slide = slideFrom(float32(golden.x), float32(golden.weight), float32(golden.bias).data);
      const [out, features] = slide.weight.shape as [number, number];
      for (const token of slide.tokens.keys()) {
        for (const output of new Set([0, out >> 1, out - 1])) {
          const { integers, weights, accumulator, sum, zeroPoint, weightSum, y } = look(slide, token, output).schemes
            .torch;
          const row = (name: string, at: number) => [
            ...golden[name]!.data.subarray(at * features, (at + 1) * features),
          ];
          expect([...integers]).toEqual(row('xq', token));
          expect([...weights]).toEqual(row('wq', output));
          expect(accumulator).toBe(golden.acc!.data[token * out + output]);
          expect(sum - zeroPoint * weightSum).toBe(accumulator);
          expect(sum).toBe(integers.reduce((total, integer, k) => total + integer * weights[k]!, 0));
          expect(y).toBe(golden.y!.data[token * out + output]);
        }
      }
    },
  );
});

test.each(SCHEMES)("%s: the engine's integers and the reference's outputs, bit for bit", async (scheme) => {
  const { x, weight, bias } = TESTED.linearInt8.cases.accurate!();
  const float = tensor(
    [...weight.shape],
    Float32Array.from(weight.data, (value) => value / 100),
  );
  const slide = slideFrom(x, float, bias.data);
  const { int8 } = slide;
  const all = quantizeActivations(x, scheme);
  const accumulators = matmulInt8(all, int8[scheme]);
  const runtime = new Runtime(new ReferenceDevice());
  const run = (w: typeof float | typeof int8.torch) =>
    runtime.read(runtime.linear(runtime.tensor(x), runtime.linearLayer(w, bias)));
  const [y, yq] = [await run(float), await run(int8[scheme])];
  const [out, features] = weight.shape as [number, number];
  for (const token of slide.tokens.keys()) {
    for (const output of new Set([0, out >> 1, out - 1])) {
      const view = look(slide, token, output);
      const own = view.schemes[scheme];
      expect(own.integers).toEqual(all.data.subarray(token * features, (token + 1) * features));
      expect([own.scale, own.zeroPoint]).toEqual([all.scale[token], all.zeroPoint[token]]);
      const at = token * out + output;
      expect([own.accumulator, own.y, view.y]).toEqual([accumulators[at], yq[at], y[at]]);
      expect(own.weightScale).toBe(Math.fround(own.largest / 127.5));
    }
  }
});

test('a slide of a model: the float input of each linear, the weights that the int8 model has', async () => {
  const checkpoint = await openCheckpoint(TINY);
  try {
    const input = { question: 'a b?', context: 'c d e' };
    const name = 'bert.encoder.layer.1.output.dense';
    const slide = await slideOf(checkpoint, input, new ReferenceDevice(), name);
    expect(slide.tokens).toEqual(checkpoint.tokenizer.encodePair(input.question, input.context).tokens);
    expect(slide.x.shape).toEqual([slide.tokens.length, slide.weight.shape[1]]);
    expect(slide.places.filter((place) => place !== null)).toEqual([0, 2, 4]);
    expect(beginning(slide, 2).token).toBe(slide.places.indexOf(2));
    expect(beginning(slide, -1).token).toBe(0);
    for (const scheme of SCHEMES) {
      expect(slide.int8[scheme]).toEqual(readWeights(weightsOf(checkpoint, scheme), [`${name}.weight`]));
    }
    const key = await slideOf(checkpoint, input, new ReferenceDevice(), 'bert.encoder.layer.0.attention.self.key');
    expect(key.int8.torch).toEqual(quantizeWeight(key.weight, 'torch')); // its own scale, though it is stacked
    await expectError('input', /linear: expected bert\..*qa_outputs, got nonsense/, () =>
      slideOf(checkpoint, input, new ReferenceDevice(), 'nonsense'),
    );
  } finally {
    checkpoint.close();
  }
});

describe('the outlier', () => {
  const slide = withOutlier();
  const levels = (from: Slide, token: number) => SCHEMES.map((scheme) => look(from, token, 0).schemes[scheme].levels);
  test('in another token: levels collapse for torch, and stay for accurate', () => {
    expect(outlierOf(slide)).toEqual({ token: 2, feature: 5, value: 8 });
    const [torch, accurate] = levels(slide, 0) as [number, number];
    const [far, same] = levels(moved(slide, 16), 0) as [number, number];
    expect(far).toBeLessThan(0.7 * torch);
    expect(same).toBe(accurate);
    expect(levels(moved(slide, 0.5), 0)[0]).toBeGreaterThan(1.7 * torch);
    const sqnr = (from: Slide) => SCHEMES.map((scheme) => look(from, 0, 0).schemes[scheme].sqnr!);
    expect(sqnr(moved(slide, 16))[0]).toBeLessThan(sqnr(slide)[0]! - 3);
    expect(sqnr(moved(slide, 16))[1]).toBe(sqnr(slide)[1]);
    expect(slide.x.data[2 * 64 + 5]).toBe(8);
  });
  test('in the token itself: both pay', () => {
    const [before, after] = [levels(slide, 2), levels(moved(slide, 16), 2)];
    expect(after[0]).toBeLessThan(before[0]!);
    expect(after[1]).toBeLessThan(before[1]!);
    expect(caption(slide, 2)).toContain('own, so both schemes pay');
    expect(caption(slide, 0)).toContain('accurate does not see it');
  });
});

describe('what is drawn', () => {
  test.each(STEPS)('$title: its code stands in $name of $file, once', ({ file, name, code }) => {
    expect(functionText(file, name).split(code).length).toBe(2);
  });
  test('the numbers add up as they are printed', () => {
    const html = steps(look(withOutlier(), 1, 2));
    const found = [...html.matchAll(/ ([−\d,]+) − ([\d]+) × ([−\d,]+) = ([−\d,]+)</g)].map(([, ...numbers]) =>
      numbers.map((text) => Number(text.replaceAll(',', '').replace('−', '-'))),
    );
    expect(found.length).toBe(2);
    for (const [sum, zeroPoint, weights, accumulator] of found) expect(sum! - zeroPoint! * weights!).toBe(accumulator);
    for (const { title } of STEPS) expect(html).toContain(`<h4>${title}</h4>`);
  });
  test('a stem for each integer in use; tokens of the reader are text, not HTML', () => {
    const slide = { ...withOutlier(), tokens: ['<i>', 'b', '&amp'] };
    const view = look(slide, 0, 0);
    const svg = numberLine(3, view, { outlier: 8, reach: reachOf(slide), width: 600 });
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
    expect(svg).toContain(`torch: ${view.schemes.torch.levels} of the integers`);
    const page = stillLife(slide, { token: 0, output: 0 });
    expect(page).toContain('&lt;i&gt;');
    expect(page).toContain('&quot;&amp;amp&quot;');
    expect(page).not.toContain('<i>');
  });
  test('a token of zeros, and one number alone', () => {
    const zeros = slideFrom(
      tensor([2, 2], Float32Array.of(0, 0, 1, -1)),
      tensor([1, 2], Float32Array.of(1, 2)),
      new Float32Array(1),
    );
    const view = look(zeros, 0, 0);
    expect(numberLine(2, view, { outlier: 1, reach: reachOf(zeros), width: 340 }) + steps(view)).not.toMatch(
      /NaN|undefined|Infinity/,
    );
  });
});
