/** `bertlet explain`: the trace changes nothing, the figures are what they say, and the program and its page show them. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { chromium } from 'playwright-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { QUESTION, TEXT } from '../bench/article.ts';
import { tensor } from '../kernels/op.ts';
import * as explaining from '../programs/explain/explain.ts';
import { type Explanation, explain } from '../programs/explain/explain.ts';
import * as flipping from '../programs/explain/flip.ts';
import { flipText } from '../programs/explain/flip.ts';
import { type LinearCall, TraceDevice } from '../programs/explain/trace.ts';
import { headlessChromium } from '../scripts/driver.ts';
import { Bert } from '../src/bert.ts';
import { type Checkpoint, openCheckpoint, type Precision, weightsOf } from '../src/checkpoint/index.ts';
import { readSafetensors } from '../src/checkpoint/safetensors.ts';
import { startCpu } from '../src/devices/cpu/start.ts';
import { ReferenceDevice } from '../src/devices/reference.ts';
import { load } from '../src/index.ts';
import { quantizeActivations, roundHalfEven } from '../src/quantize.ts';
import { type Device, Runtime } from '../src/runtime.ts';
import {
  CHECKPOINT,
  expectError,
  float32,
  goldenCases,
  goldenJson,
  goldenTensors,
  largestDifference,
  picture,
  ROOT,
  runProgram,
  spawnProgram,
  splitLogits,
  TINY,
} from './support.ts';

const START: Record<string, () => Promise<Device>> = {
  reference: async () => new ReferenceDevice(),
  cpu: async () => (await startCpu({ threads: 2 })).device,
};
const golden = goldenJson<{
  question: string;
  context: string;
  inputIds: number[];
  typeIds: number[];
  sha256: Record<string, unknown>;
}>('minilm-linears');
const linearNames = Object.keys(golden.sha256);

async function withCheckpoint<R>(folder: string, use: (checkpoint: Checkpoint) => Promise<R>): Promise<R> {
  const checkpoint = await openCheckpoint(folder);
  return use(checkpoint).finally(checkpoint.close);
}

describe('the trace', () => {
  const [ids, typeIds] = [Int32Array.of(2, 5, 6, 3, 7, 8, 9, 3), Int32Array.of(0, 0, 0, 0, 1, 1, 1, 1)];
  /** The reference takes a second to make integers of the embedded checkpoint's weights. */
  const FOLDERS: Record<string, string> = { reference: TINY, cpu: CHECKPOINT };
  test.each(
    ['reference', 'cpu'].flatMap((device) => (['fp32', 'torch', 'accurate'] as const).map((p) => [device, p] as const)),
  )('%s, %s: the bits of the plain forward, and every linear', (device, precision) =>
    withCheckpoint(FOLDERS[device]!, async (checkpoint) => {
      const plain = new Runtime(await START[device]!());
      const want = await new Bert(plain, checkpoint.config, weightsOf(checkpoint, precision)).forward(ids, typeIds);
      await plain.dispose();
      const calls: LinearCall[] = [];
      const trace = new TraceDevice(await START[device]!(), (call) => void calls.push(call));
      const bert = new Bert(new Runtime(trace), checkpoint.config, weightsOf(checkpoint, precision));
      const got = await bert.forward(ids, typeIds);
      expect(got).toEqual(want);
      const all = [...checkpoint.tensors.keys()].filter((name) =>
        /(query|key|value|dense|qa_outputs)\.weight$/.test(name),
      );
      expect(calls.flatMap(({ names }) => names).toSorted()).toEqual(all.map((name) => name.slice(0, -7)).toSorted());
      expect(calls.at(-1)!.y.data).toEqual(want);
      for (const { x, y, run, names, shape } of calls.filter((_, i) => i % 8 === 2)) {
        expect([x.shape, y.shape]).toEqual([
          [ids.length, shape[1]],
          [ids.length, shape[0]],
        ]);
        expect(await run(x), `${names} again`).toEqual(y.data);
      }
      const before = calls.length;
      expect(await bert.forward(ids, typeIds), 'a second forward').toEqual(want);
      expect(calls.length).toBe(2 * before);
      await trace.dispose();
    }),
  );
});

describe('figures', () => {
  test('SQNR and cosine', () => {
    const { sqnr, cosine } = explaining.compare([3, 4], [3, 3]); // signal 25, noise 1
    expect(sqnr).toBeCloseTo(13.9794, 4);
    expect(cosine).toBeCloseTo(21 / (5 * Math.sqrt(18)), 12);
    expect(explaining.compare([1, -2], [1, -2])).toEqual({ sqnr: null, cosine: 1 });
    expect(explaining.compare([1, 0], [0, 1])).toEqual({ sqnr: 10 * Math.log10(1 / 2), cosine: 0 });
    expect(explaining.compare([1, 2], [-1, -2]).cosine).toBeCloseTo(-1, 12);
  });
  test('clipped, levels, steps: [-1, 1] has zero point 63.5, rounded up, and 1 becomes 128', () => {
    const x = tensor([2, 4], Float32Array.of(-1, 1, 1, 1, 0, 0, -1, 1));
    expect(explaining.describe(x, quantizeActivations(x, 'torch'))).toEqual({
      ...{ low: -1, high: 1, clipped: 4 / 8, levels: 3 },
      scale: { low: Math.fround(2 / 127), median: Math.fround(2 / 127), high: Math.fround(2 / 127) },
      zeroPoint: { low: 64, median: 64, high: 64 },
      steps: expect.closeTo(Math.sqrt(6 / 8) * 63.5, 4),
    });
  });
  test('a scale for each token: the range of all, the spread of the scales', () => {
    const x = tensor([3, 2], Float32Array.of(0, 127, 0, 1270, -12.7, 0));
    const { low, high, scale, zeroPoint, clipped } = explaining.describe(x, quantizeActivations(x, 'accurate'));
    expect([low, high, clipped]).toEqual([Math.fround(-12.7), 1270, 0]);
    expect(scale).toEqual({ low: Math.fround(0.1), median: 1, high: 10 });
    expect(zeroPoint).toEqual({ low: 0, median: 0, high: 127 });
  });
  test.each([...goldenCases(goldenTensors('quantizer'), 'activations')])(
    'clipped as PyTorch: %s',
    (name, { x, xq }) => {
      const integers = [...(xq!.data as Uint8Array)];
      const { clipped } = explaining.describe(float32(x), quantizeActivations(float32(x), 'torch'));
      const below = name === 'clampedAtZero-1x4' ? 1 : 0; // the goldens' one -1, which became 0
      expect(clipped).toBe((integers.filter((integer) => integer > 127).length + below) / integers.length);
    },
  );
  test('outliers: the features that reach the furthest, and the others', () => {
    const x = tensor([2, 4], Float32Array.of(1, -9, 3, 0.5, 2, 1, 5, -0.5));
    expect(explaining.outliers(x, 2)).toEqual({
      outliers: [
        { feature: 1, low: -9, high: 1 },
        { feature: 2, low: 0, high: 5 },
      ],
      others: { low: -0.5, high: 2 },
    });
  });
});

describe("explain, on the goldens' question", () => {
  const tensors = goldenTensors('minilm-linears');
  const value = (name: string) => tensors.get(name)!.data[0] as number;
  let explanation: Explanation;
  const progress: { done: number; total: number }[] = [];
  beforeAll(async () => {
    explanation = await withCheckpoint(CHECKPOINT, (checkpoint) =>
      explain(checkpoint, golden, START.reference!, (each) => progress.push(each)),
    );
  });

  test("PyTorch's scales, zero points, clipped shares, of its own inputs: equal", () => {
    for (const name of linearNames) {
      const source = name.replace(/\.(key|value)$/, '.query'); // the three read one input
      const x = float32(tensors.get(`${source}/x`));
      const { scale, zeroPoint, clipped } = explaining.describe(x, quantizeActivations(x, 'torch'));
      expect([scale.low, scale.high], name).toEqual(Array(2).fill(value(`${name}/scale`)));
      expect([zeroPoint.low, zeroPoint.high], name).toEqual(Array(2).fill(value(`${name}/zeroPoint`)));
      const xq = tensors.get(`${source}/xq`)!.data as Uint8Array;
      expect(clipped, name).toBe(xq.filter((integer) => integer > 127).length / xq.length);
    }
  });
  // On this short input no integer is rounded the other way, so nothing moves what follows (test/golden/README.md).
  test("the whole int8 model: PyTorch's weight scales and zero points, its scales to a few float32 steps", () => {
    expect(explanation.linears.flatMap(({ names }) => names)).toEqual(linearNames);
    for (const { names, schemes } of explanation.linears) {
      const weights = names.map((each) => value(`${each}/wScale`));
      const { low, high } = schemes.torch.weightScale;
      expect([low, high], names[0]).toEqual([Math.min(...weights), Math.max(...weights)]);
      const distance = Math.abs(schemes.torch.whole.scale.median / value(`${names[0]}/scale`) - 1);
      expect(distance, names[0]).toBeLessThan(2 ** -20);
      expect(schemes.torch.whole.zeroPoint.median, names[0]).toBe(value(`${names[0]}/zeroPoint`));
    }
  });
  test('alone and whole differ by their inputs only', () => {
    const [first, ...others] = explanation.linears;
    for (const { alone, whole } of Object.values(first!.schemes)) expect(alone).toEqual(whole);
    for (const { schemes, kind } of others) {
      const { torch, accurate } = schemes;
      expect(torch.alone).not.toEqual(torch.whole);
      expect([torch.alone.low, torch.alone.high]).toEqual([accurate.alone.low, accurate.alone.high]);
      expect(accurate.alone.output.sqnr!, kind).toBeGreaterThan(torch.alone.output.sqnr!);
    }
  });
  test('an int8 linear alone, computed again', () =>
    withCheckpoint(CHECKPOINT, async (checkpoint) => {
      const run = async (precision: Precision) => {
        const calls: LinearCall[] = [];
        const trace = new TraceDevice(await START.reference!(), (call) => void calls.push(call));
        const bert = new Bert(new Runtime(trace), checkpoint.config, weightsOf(checkpoint, precision));
        await bert.forward(Int32Array.from(golden.inputIds), Int32Array.from(golden.typeIds));
        return calls;
      };
      const at = 6; // layer 1, intermediate
      const { x, y } = (await run('fp32'))[at]!;
      const yq = await (await run('accurate'))[at]!.run(x);
      const { kind, layer, schemes } = explanation.linears[at]!;
      expect([layer, kind]).toEqual([1, 'intermediate']);
      expect(schemes.accurate.alone.output).toEqual(explaining.compare(y.data, yq));
    }));
  test('what it says of the whole, as plain data', () => {
    const { linears, logits, answers, tokens } = explanation;
    expect(tokens).toBe(golden.inputIds.length);
    expect(linears.map(({ layer, kind }) => `${layer} ${kind}`).slice(-5)).toEqual([
      ...['5 query|key|value', '5 attention.output', '5 intermediate', '5 output', 'null qa_outputs'],
    ]);
    for (const scheme of explaining.SCHEMES) {
      expect(logits[scheme]).toEqual(linears.at(-1)!.schemes[scheme].whole.output);
      const least = Math.min(...linears.map(({ schemes }) => schemes[scheme].alone.output.sqnr!));
      expect(explaining.worst(linears, scheme).schemes[scheme].alone.output.sqnr).toBe(least);
    }
    for (const { text, start, end } of Object.values(answers)) expect(golden.context.slice(start, end)).toBe(text);
    expect(JSON.parse(JSON.stringify(explanation))).toEqual(explanation);
    expect(progress).toEqual(Array.from({ length: 75 }, (_, i) => ({ done: i + 1, total: 75 })));
  });
  test('it can run in a page: no import of Node, none of the programs', () => {
    for (const file of ['trace', 'explain', 'flip', 'microscope']) {
      const text = readFileSync(join(ROOT, `programs/explain/${file}.ts`), 'utf8');
      const from = [...text.matchAll(/from '(.+)'/g)].map(([, name]) => name);
      expect(from.length).toBeGreaterThan(0);
      expect(from.filter((name) => !/^(\.\.\/\.\.\/(src\/|bench\/columns)|\.\/)/.test(name!))).toEqual([]);
    }
    expect(readFileSync(join(ROOT, 'bench/columns.ts'), 'utf8')).not.toMatch(/^import/m); // text in columns
  });
  test('what it cannot explain: int8 weights, a text of two windows', async () => {
    await withCheckpoint(TINY, async (checkpoint) => {
      const int8 = { ...checkpoint, scheme: 'torch' } as const;
      await expectError('input', /checkpoint: expected float weights, .*, got int8 \(torch\)\. Give the float32/, () =>
        explain(int8, golden, START.reference!),
      );
      const context = 'a '.repeat(checkpoint.config.positions);
      await expectError('input', /question and context: expected at most \d+ tokens, got \d+\. Shorten/, () =>
        explain(checkpoint, { question: 'a', context }, START.reference!),
      );
    });
  });
});

describe("the flip: the article's question, the reference device beside PyTorch's trace", () => {
  const input = { question: QUESTION, context: TEXT };
  const file = join(ROOT, 'test/golden/article-trace.safetensors.gz');
  const tensors = readSafetensors(gunzipSync(readFileSync(file)), 'article-trace');
  const pytorch = flipping.readTrace(tensors);
  let reference: flipping.Trace;
  let flip: flipping.Flip;
  beforeAll(() =>
    withCheckpoint(CHECKPOINT, async (checkpoint) => {
      reference = await flipping.traceOf(checkpoint, input, await START.reference!());
      flip = flipping.compareTraces(checkpoint, input, pytorch, reference);
    }),
  );
  const { int8 } = goldenJson<{ int8: { startLogits: number[]; endLogits: number[] } }>('article');

  test("PyTorch's trace: every linear, compared in the order of the forward; the logits of article.json", () => {
    const names = ({ inputs }: flipping.Trace) => inputs.map(({ linear }) => linear);
    expect(names(pytorch).toSorted()).toEqual(names(reference).toSorted());
    expect(flip.growth.map(({ linear }) => linear)).toEqual(names(reference));
    expect(splitLogits(pytorch.logits).start).toEqual(Float32Array.from(int8.startLogits));
    expect(splitLogits(pytorch.logits).end).toEqual(Float32Array.from(int8.endLogits));
  });
  test('the first input is equal; in the next, one activation lies on the other side of a border', () => {
    const { linear, sides, border } = flip.first!;
    expect([flip.growth[0]!.different, flip.growth[1]!.different, linear]).toEqual([0, 1, 'layer 0 attention.output']);
    const [a, b] = sides.toSorted((one, other) => one.x! - other.x!) as [(typeof sides)[0], (typeof sides)[0]];
    expect(b.integer - a.integer).toBe(1);
    const half = a.integer + 0.5 - a.zeroPoint; // in steps
    expect(a.quotient!).toBeLessThan(half);
    expect(b.quotient!).toBeGreaterThan(half);
    expect(border / a.scale).toBeCloseTo(half, 4);
    expect(a.x! < border && border < b.x!).toBe(true);
    expect(b.x! - a.x!, 'floats that differ in their last bits').toBeLessThan(1e-6);
    // What was compared are the integers of the quantizer that PyTorch's goldens hold.
    for (const { x, quotient, scale, zeroPoint, integer } of sides) {
      expect(quotient).toBe(Math.fround(x! * Math.fround(1 / scale)));
      expect(roundHalfEven(quotient!) + zeroPoint).toBe(integer);
    }
  });
  test('the difference grows to the logits, which are another score of the same answer', () => {
    const shares = flip.growth.map(({ different, integers }) => different / integers);
    expect(shares.at(-1)).toBeGreaterThan(0.5);
    expect(flip.logits).toBe(largestDifference(pytorch.logits, reference.logits));
    expect(flip.answers.map(({ text }) => text)).toEqual(['New York Times', 'New York Times']);
    expect(JSON.parse(JSON.stringify(flip))).toEqual(flip);
  });
  test("its scores are answer's", () =>
    withCheckpoint(TINY, async (checkpoint) => {
      const short = { question: 'a b?', context: 'c d e' };
      const trace = await flipping.traceOf(checkpoint, short, await START.reference!());
      const { text, score } = flipping.compareTraces(checkpoint, short, trace, trace).answers[1];
      await using qa = await load(TINY, { device: 'reference', scheme: 'torch' });
      const [best] = await qa.answer(short);
      expect([text, score]).toEqual([best.text, expect.closeTo(best.score, 6)]);
      expect(text).not.toBe('');
    }));
  test('the same run twice differs nowhere; a trace of another text, and a file that is none, are refused', () =>
    withCheckpoint(CHECKPOINT, async (checkpoint) => {
      const same = flipping.compareTraces(checkpoint, input, reference, reference);
      expect([same.first, same.logits]).toEqual([null, 0]);
      expect(flipText(same, ['cpu', 'cpu'])).toContain('all integers of all linears are equal');
      const short = { ...reference, logits: reference.logits.slice(2) };
      await expectError('input', /trace: expected one of this question, of 130 tokens, got 129 tokens/, () =>
        flipping.compareTraces(checkpoint, input, pytorch, short),
      );
      await expectError(
        'input',
        /trace: expected a tensor .*, as test\/golden\/make_trace.py writes it, got none/,
        () => flipping.readTrace(new Map()),
      );
    }));
  test('as a program', async () => {
    const run = (...args: string[]) => runProgram(['explain', '--flip', ...args]);
    const { status, out } = await run(file, '--device', 'cpu'); // the reference takes seconds
    expect(status).toBe(0);
    expect(out).toMatch(/^130 tokens, int8 torch: PyTorch beside cpu\n.*\ncpu: "New York Times", score 0\.702\n$/s);
    expect(flipText(flip, ['PyTorch', 'reference'])).toMatch(
      /^PyTorch {4}0\.31213\d* .*7\.5000\d* +8 +89\nreference {2}0\.31213\d* .*7\.4999\d* +7 +88\nborder /m,
    );
    const tiny = await run('--model', TINY, '--question', 'a b?', '--context', 'c d e', '--json');
    expect(JSON.parse(tiny.out)).toMatchObject({ names: ['reference', 'cpu'] });
    expect(await run('cpu')).toMatchObject({
      status: 2,
      error: expect.stringMatching(/--flip: expected another device/),
    });
    expect(await run('nowhere.gz')).toMatchObject({ status: 1, error: expect.stringContaining('nowhere.gz') });
    expect(await run('--report', 'x')).toMatchObject({
      status: 2,
      error: expect.stringContaining('cannot be used with'),
    });
  });
});

describe('the program', () => {
  const run = (...args: string[]) => runProgram(['explain', ...args]);
  const ask = ['--model', TINY, '--question', 'a b?', '--context', 'c d e'];

  test('a table for each scheme, a row for each linear, the lowest dB marked, and a summary that names it', async () => {
    const { status, out, error } = await run(...ask);
    expect([status, error]).toEqual([0, '']);
    const tables = ['torch', 'accurate'].map((scheme) => {
      const lines = out.split(`${scheme}\nlinear `)[1]!.split('\n\n')[0]!.split('\n').slice(1);
      return lines.map((line) => line.split(/ {2,}/));
    });
    expect(tables.map(([first]) => first!.length)).toEqual([13, 13]);
    const [rows, accurate] = tables.map((table) => table.map((cells) => cells.join('  '))) as [string[], string[]];
    expect(accurate.length).toBe(rows.length);
    expect(rows.map((row) => row.slice(0, 8).trim())).toEqual([
      ...Array(4).fill('layer 0'),
      ...Array(4).fill('layer 1'),
      'qa_outpu',
    ]);
    const [, name, dB] = /^torch: (.*) costs most, (-?[\d.]+) dB alone; logits .* dB, cosine .*; .*score/m.exec(out)!;
    expect(rows.filter((row) => row.startsWith(`${name}  ${dB}*  `)).length).toBe(1);
    expect(out).toMatch(/\naccurate: .* costs most, .*\naccurate gains most at .*, \d.* dB: feature \d+ /);
    expect(out).toMatch(/\n\d+ tokens, computed by cpu\n[\s\S]*int8 scores differ by device.*`bertlet explain --flip`/);
    const reference = await run(...ask, '--device', 'reference');
    expect(reference.out.split('\n')[2]!.slice(0, 60)).toBe(out.split('\n')[2]!.slice(0, 60));
  });
  test('--json, in a process of its own', () => {
    const { status, out, error } = spawnProgram(['explain', ...ask, '--json']);
    expect([status, error]).toEqual([0, '']);
    const { linears, answers, question } = JSON.parse(out) as Explanation;
    expect([linears.length, Object.keys(answers), question]).toEqual([9, ['fp32', 'torch', 'accurate'], 'a b?']);
  });
  test('--report: a page without network and without errors, light, dark and on a phone', {
    timeout: 120_000,
  }, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'bertlet-'));
    expect((await run(...ask, '--report', join(folder, 'one.html'))).out).toContain(join(folder, 'one.html'));
    expect(existsSync(join(folder, 'one.html'))).toBe(true);
    await run(...ask, '--report', folder, '--microscope', 'layer 1 value:2:3');
    expect(readFileSync(join(folder, 'explain.html'), 'utf8')).toContain('<h3>layer 1 value, token 2, ');
    const { status, out } = await run('--report', folder);
    expect([status, out.split('\n')[0]]).toEqual([0, join(folder, 'explain.html')]);
    const browser = await chromium.launch(headlessChromium() as Parameters<typeof chromium.launch>[0]);
    mkdirSync(join(ROOT, 'test-output'), { recursive: true });
    const errors: string[] = [];
    const requests: string[] = [];
    for (const [colorScheme, width] of [
      ['light', 1100],
      ['dark', 390],
    ] as const) {
      const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
      page.on('pageerror', ({ message }) => errors.push(message));
      page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
      page.on('request', (request) => requests.push(request.url().replace(/^data:.*/, 'data:')));
      await page.goto(`file://${folder}/explain.html`);
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width);
      expect(await page.locator('figure svg:visible').count()).toBe(3);
      expect(await page.locator('mark:visible').count()).toBe(4);
      expect(await page.locator('tbody tr').count()).toBe(3 + 2 * 25 + 2 * 5);
      expect(await page.locator('.microscope h3').textContent()).toMatch(/^layer 0 output, token \d+, "new", output/);
      await picture(page, {
        path: join(ROOT, 'test-output', `explain-${colorScheme}-${width}.png`),
        fullPage: true,
      });
      await page.close();
    }
    await browser.close();
    rmSync(folder, { recursive: true });
    expect(errors).toEqual([]);
    expect(new Set(requests)).toEqual(new Set([`file://${folder}/explain.html`]));
  });
  test.each([
    [['--device', 'webgpu'], 2, /Allowed choices are cpu, reference/],
    [['--question', 'a'], 2, /got a question without a passage/],
    [['--nonsense'], 2, /unknown option '--nonsense'/],
    [['--context', 'a', '--context-file', 'b'], 2, /cannot be used with/],
    [['--model', './nowhere'], 1, /BertletError \(file\): \.\/nowhere: expected config\.json/],
    [[...ask, '--microscope', 'layer 0 key:0:0'], 2, /--microscope: expected --report as well/],
    [
      [...ask, '--report', '/dev/null', '--microscope', 'a:0:0'],
      2,
      /the name of a linear, from layer 0 query to .*, before :TOKEN:OUTPUT, got "a:0:0"/,
    ],
    [
      [...ask, '--report', '/dev/null', '--microscope', 'layer 0 key:99:0'],
      2,
      /layer 0 key:TOKEN:OUTPUT, a token below/,
    ],
    [[...ask, '--question', ''], 2, /error: --question: expected words, got none/],
    [['--question', 'a', '--context-file', 'nowhere.txt'], 1, /nowhere\.txt/],
  ])('%j: exit code %d', async (args, code, message) => {
    const { status, error } = await run(...args);
    expect(error).toMatch(message);
    expect(error).not.toMatch(/\n {4}at /);
    expect(status).toBe(code);
  });
  test('--help with examples', async () => {
    const { status, out } = await run('--help');
    expect([status, out.includes('Examples:'), out.includes('--report')]).toEqual([0, true, true]);
  });
});
