/** The benchmark: its statistics against numpy's, its timing on a clock of ours, and `bertlet bench` as a program. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import os, { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Browser, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { latencyOf, Sampler } from '../bench/measure.ts';
import type { Result } from '../bench/result.ts';
import { busyLine, markedRows, textOf } from '../bench/text.ts';
import { startChild, takeTurns } from '../bench/turns.ts';
import { headlessChromium } from '../scripts/driver.ts';
import { expectError, goldenJson, picture, ROOT, runProgram, TINY, WITHOUT_GPU } from './support.ts';

interface Statistics extends Record<'mean' | 'stdev' | 'stdev_' | 'p50' | 'p90' | 'p95' | 'p99', number> {
  values: number[];
}
const { cases } = goldenJson<{ cases: Record<string, Statistics> }>('percentiles');

describe("statistics are numpy's", () => {
  test.each(Object.entries(cases))('%s', (_, { values, ...want }) => {
    const got = latencyOf(values.map((value) => value * 1000));
    expect(got.count).toBe(values.length);
    const largest = Math.max(...values);
    for (const [name, value] of Object.entries(want)) {
      // Relative to the values, whose sums are rounded in another order.
      const scale = name === 'stdev_' ? 100 : largest;
      expect(Math.abs(got[name as keyof typeof want] - value) / scale, name).toBeLessThan(1e-13);
    }
    expect(got.values.length).toBe(values.length);
  });
});

describe('what is timed, on a fake clock', () => {
  /** A forward that takes `dispatch` until it returns its promise, and `readback` until that resolves. */
  function fake(times: (n: number) => { dispatch: number; readback: number }) {
    const clock = { now: 0, forwards: 0 };
    const forward = () => {
      const { dispatch, readback } = times(clock.forwards++);
      clock.now += dispatch;
      return Promise.resolve().then(() => {
        clock.now += readback;
      });
    };
    return { clock, forward };
  }
  test('warm-ups are out, and the readback is in', async () => {
    const { clock, forward } = fake((n) => (n < 10 ? { dispatch: 500, readback: 1 } : { dispatch: 3, readback: n }));
    const sampler = new Sampler(forward, { warmups: 10, samples: 6, seconds: 1000 }, () => clock.now);
    for (let turns = 0; !sampler.done; turns++) {
      expect(sampler.warmups + sampler.milliseconds.length).toBe(5 * turns);
      await sampler.turn(5);
      clock.now += 10_000; // others have their turn: that is nobody's time
    }
    expect(sampler.warmups).toBe(10);
    expect(sampler.milliseconds).toEqual([13, 14, 15, 16, 17, 18]);
    expect(clock.forwards).toBe(16);
  });
  test('a slow device does what it can in the time, with one warm-up and one sample at least', async () => {
    const slow = fake(() => ({ dispatch: 0, readback: 1000 }));
    const sampler = new Sampler(slow.forward, { warmups: 10, samples: 100, seconds: 10 }, () => slow.clock.now);
    await sampler.turn(1000);
    expect([sampler.warmups, sampler.milliseconds.length]).toEqual([2, 8]); // a fifth of the time for warm-ups
    const slower = fake(() => ({ dispatch: 0, readback: 60_000 }));
    const one = new Sampler(slower.forward, { warmups: 10, samples: 100, seconds: 10 }, () => slower.clock.now);
    await one.turn(1000);
    expect([one.warmups, one.milliseconds]).toEqual([1, [60_000]]);
  });
});

describe('turns', () => {
  test('all have theirs, in order, until each has no more', async () => {
    const seen: string[] = [];
    const one = (name: string, turns: number) => async () => {
      seen.push(name);
      return --turns > 0;
    };
    await takeTurns([one('a', 1), one('b', 3), one('c', 2)]);
    expect(seen.join('')).toBe('abcbcb');
  });
  test('a process that ends in the middle is named, with what it said', async () => {
    const child = startChild('the name', process.execPath, [
      '-e',
      'console.log(7); console.error("why"); process.exit(3)',
    ]);
    expect(await child.next()).toBe(7);
    const ended = /^the name: expected an answer, got a process that ended \(exit code 3\)\. why$/;
    await expectError('device', ended, () => child.ask('x'));
    await child.end();
  });
});

const scratch = mkdtempSync(join(tmpdir(), 'bertlet-bench-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const tiny = ['--model', TINY, '--tokens', '16', '--samples', '3', '--warmups', '2'];
/** Without what it says of a machine that others use, as this one may be. */
const run = async (...args: string[]) => {
  const ran = await runProgram(['bench', ...args], { env: WITHOUT_GPU });
  return { ...ran, error: ran.error.replace(/^The machine is busy .*\n/, '') };
};

/** An evaluation whose figures are no numbers: JSON has no NaN. */
const unnumbered = join(scratch, 'unnumbered.json');
writeFileSync(
  unnumbered,
  JSON.stringify({ dataset: {}, model: {}, variants: [{ figures: { exact: Number.NaN, f1: 1 } }] }),
);

describe('bertlet bench', () => {
  const report = join(scratch, 'report');
  let ran: Awaited<ReturnType<typeof run>>;
  let result: Result;
  /** One run of all variants, of two lengths, with all that it can be asked for. */
  beforeAll(async () => {
    const evaluation = join(scratch, 'evaluation.json');
    const dataset = { name: 'dev.json', format: '1.1', questions: 20, of: 100 };
    const difference = { f1: -0.256, low: -1, high: 0.5 };
    const variants = [
      { name: 'cpu <fp32>', figures: { exact: 82.5, f1: 89.12345 } },
      { name: 'cpu int8 torch', figures: { exact: 82, f1: 88.867 }, difference },
    ];
    writeFileSync(evaluation, JSON.stringify({ dataset, model: { name: 'a model' }, variants }));
    ran = await run(...tiny, '--tokens', '32,16', '--report', report, '--evaluation', evaluation);
    result = JSON.parse(readFileSync(join(report, 'results.json'), 'utf8'));
  });

  const names = ['cpu fp32', 'cpu int8 torch', 'cpu int8 accurate'];
  test('a row for each variant, the environment, and why there is no GPU', () => {
    const { status, out, error } = ran;
    expect([status, error]).toEqual([0, `${join(report, 'index.html')}\n${join(report, 'results.json')}\n`]);
    const rows = [...out.matchAll(/^\| (cpu [a-z0-9 ]+?)(?: \(slower than fp32\))? +\| +(\d+) \|.*\| +3 \|$/gm)].map(
      ([, name, n]) => `${name} ${n}`,
    );
    expect(rows).toEqual([16, 32].flatMap((n) => names.map((name) => `${name} ${n}`)));
    for (const line of [/^CPU: .+, \d+ cores/m, /^CPU engine: \d+ threads; int8 /m, /^Node: v\d+/m, /^bertlet: \d/m]) {
      expect(out).toMatch(line);
    }
    expect(out).toMatch(
      /^Not measured: webgpu fp32, webgpu fp16, webgpu int8 torch, webgpu int8 accurate\. webgpu: expected an adapter, got none/m,
    );
    expect(out).not.toMatch(/NaN|undefined|null/);
  });
  test('int8 that is slower than float32 is marked: on its own device, at its own length; and a machine that others use', () => {
    const slower = structuredClone(result) as { benchmarks: { report: { forward: { latency: { p50: number } } } }[] };
    for (const [i, p50] of [2, 3, 1, 4, 3, 5].entries()) slower.benchmarks[i]!.report.forward.latency.p50 = p50;
    const rows = markedRows(slower as unknown as Result);
    const marked = rows.map(([name]) => name!.includes('slower'));
    expect(marked).toEqual([false, true, false, false, false, true]);
    expect(rows[1]![0]).toBe('cpu int8 torch (slower than fp32)');
    expect(textOf(slower as unknown as Result)).toMatch(/^\| cpu int8 torch \(slower than fp32\) +\| +16 \|/m);
    const busy = { ...result, environment: { ...result.environment, load: 3, cores: 4 } };
    expect(textOf(busy)).toMatch(/\nThe machine is busy \(load 3\.0 on 4 cores before the start\): .*\n/);
    expect(busyLine({ load: 1, cores: 4 })).toBe(undefined);
  });
  test('on a busy machine it says so before it begins', async () => {
    const spy = vi.spyOn(os, 'loadavg').mockReturnValue([99, 0, 0]);
    syncBuiltinESMExports();
    const { status, error } = await runProgram(['bench', '--model', './nowhere']);
    spy.mockRestore();
    syncBuiltinESMExports();
    expect([status, error]).toEqual([
      1,
      expect.stringMatching(/^The machine is busy \(load 99\.0 on .*\nBertletError/),
    ]);
  });
  test("optimum-benchmark's shape with all samples", () => {
    expect(result).toMatchObject({ version: 1, model: { name: 'tiny-bert', parameters: 22530 } });
    expect(result.skipped.length).toBe(4);
    expect(result.benchmarks.map(({ name }) => name)).toEqual([...names, ...names]);
    for (const [i, { report, config, warmups, speedup, file_bytes }] of result.benchmarks.entries()) {
      expect(Object.keys(report)).toEqual(['load_model', 'first_forward', 'forward']);
      const keys = ['memory', 'latency', 'throughput', 'energy', 'efficiency'];
      for (const part of Object.values(report)) expect(Object.keys(part)).toEqual(keys);
      const { latency, throughput, memory } = report.forward;
      expect(latency).toEqual(latencyOf(latency.values.map((seconds) => seconds * 1000)));
      expect([latency.unit, latency.count, latency.values.length, warmups]).toEqual(['s', 3, 3, 2]);
      expect(throughput).toEqual({ unit: 'samples/s', value: 1 / latency.mean });
      expect(memory!.max_ram).toBeGreaterThan(30);
      const fp32 = result.benchmarks[i < 3 ? 0 : 3]!;
      expect(speedup).toBeCloseTo(fp32.report.forward.latency.p50 / latency.p50, 12);
      expect(file_bytes).toBeGreaterThan(22530);
      const input_shapes = { sequence_length: i < 3 ? 16 : 32 };
      expect(config.scenario).toMatchObject({ iterations: 3, warmup_runs: 2, input_shapes });
    }
  });
  test('--json: the object alone, no sweep that was not asked for, and no path or host', async () => {
    const { status, out, error } = await run(...tiny, '--device', 'cpu', '--dtype', 'fp32', '--json');
    expect([status, error]).toEqual([0, '']);
    const alone = JSON.parse(out) as Result;
    expect(alone).toMatchObject({ version: 1, skipped: [], sweeps: null, stages: null });
    expect(Object.keys(alone)).toEqual(Object.keys(result));
    expect(alone.command).toBe(
      'npm run bench -- --model tiny-bert --tokens 16 --samples 3 --warmups 2 --device cpu --dtype fp32 --json',
    );
    expect(out).not.toContain(ROOT);
    expect(out).not.toContain('/home/');
  });
  test('on a software adapter: rows that say so, GPU memory, stages by timestamps', async () => {
    const few = ['--model', TINY, '--tokens', '16', '--samples', '1', '--warmups', '1'];
    const { status, out } = await runProgram([
      ...['bench', ...few, '--device', 'webgpu', '--dtype', 'fp16'],
      ...['--sweep', '--json', '--seconds', '5'],
    ]);
    expect(status).toBe(0);
    const result = JSON.parse(out) as Result;
    const { benchmarks, environment, stages, sweeps } = result;
    expect(textOf(result)).toMatch(/^\| webgpu fp16 \(software\) +\| +16 \|/m);
    expect(benchmarks.map(({ name }) => name)).toEqual(['webgpu fp16']);
    expect(environment).toMatchObject({ software: true, adapter: expect.stringContaining('(software)') });
    for (const { software, gpu_bytes, speedup, report } of benchmarks) {
      expect([software, speedup]).toEqual([true, null]);
      expect(gpu_bytes).toBeGreaterThan(0);
      expect(report.forward.memory!.max_allocated).toBe(gpu_bytes! / 1e6);
    }
    for (const { milliseconds } of stages!) {
      expect(Object.keys(milliseconds)).toEqual(expect.arrayContaining(['rows', 'layerNorm', 'attention']));
      expect(Object.values(milliseconds).reduce((sum, ms) => sum + ms)).toBeGreaterThan(0);
    }
    expect(stages!.length).toBe(1);
    expect(sweeps!.tokens.length).toBeGreaterThan(0);
    expect(sweeps!.threads).toEqual([]);
  });
  test.each([
    [['--samples', '0'], 2, /Expected a positive integer/],
    [['--dtype', 'int4'], 2, /Allowed are fp32, fp16, int8, each once, with commas/],
    [['--shape', 'bert-large'], 2, /Allowed choices are/],
    [['--shape', 'minilm-l6', '--model', TINY], 2, /cannot be used with/],
    [['--model', './nowhere'], 1, /^BertletError \(file\): \.\/nowhere: expected config/],
    [[...tiny, '--tokens', '65'], 2, /^error: tokens: expected at most the model's 64, got 65/],
    [[...tiny, '--device', 'cpu', '--dtype', 'fp16'], 2, /^error: device, dtype, scheme: expected/],
    [[...tiny, '--evaluation', 'nowhere.json'], 1, /nowhere\.json/],
    [[...tiny, '--evaluation', 'package.json'], 1, /^BertletError \(file\): package\.json: expected an evaluation/],
    [[...tiny, '--evaluation', unnumbered], 1, /: expected an evaluation in JSON, with its figures, got/],
    [[...tiny, '--json', 'nowhere/a.json'], 1, /nowhere/],
    [['--help'], 0, /^$/],
  ])('exit code: %j is %d', async (args, code, message) => {
    const { status, error } = await run(...args);
    expect(error).toMatch(message);
    expect(error).not.toMatch(/\n {4}at /);
    expect(status).toBe(code);
  });

  describe('--report', () => {
    let browser: Browser;
    beforeAll(async () => {
      browser = await chromium.launch(headlessChromium() as Parameters<typeof chromium.launch>[0]);
    });
    afterAll(() => browser?.close());

    test('the folder has the page and its result, whole', () => {
      expect(readdirSync(report).toSorted()).toEqual(['index.html', 'results.json']);
      const { sweeps, stages } = result;
      expect([...new Set(sweeps!.tokens.map(({ tokens }) => tokens))]).toEqual([16, 32, 64]);
      expect(new Set(sweeps!.threads.map(({ threads }) => threads)).has(1)).toBe(true);
      expect(stages!.map(({ name }) => name)).toEqual(names);
      const html = readFileSync(join(report, 'index.html'), 'utf8');
      for (const kind of ['linear', 'quantize', 'others']) expect(html, 'kernels in the chart').toContain(` ${kind} `);
      for (const name of ['index.html', 'results.json'])
        expect(readFileSync(join(report, name), 'utf8')).not.toContain(ROOT);
    });
    test.each([
      ['light', 1100],
      ['light', 390],
      ['dark', 1100],
      ['dark', 390],
    ] as const)('opens from disk without a network: %s, %d px', async (colorScheme, width) => {
      const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme, offline: true });
      const page = await context.newPage();
      const [requests, errors]: [string[], string[]] = [[], []];
      page.on('request', (request) => requests.push(request.url()));
      page.on('pageerror', ({ message }) => errors.push(message));
      page.on('console', (message) => errors.push(message.text()));
      const url = `file://${join(report, 'index.html')}`;
      await page.goto(url);
      const titles = await page.locator('h2').allTextContents();
      expect(titles).toEqual([
        ...['Latency of 16 tokens', 'Latency of 32 tokens', 'Size', 'Latency by tokens', 'Latency by threads'],
        ...['Where the time goes', 'Accuracy', 'All figures', 'Environment', 'Repeat it'],
      ]);
      const shown = await page.locator('figure svg:visible').count();
      expect(shown, 'charts of this width').toBe(7);
      expect(await page.locator('main').textContent()).toMatch(
        /cpu <fp32>82\.5089\.12[\s\S]*-0\.26-1\.00 to 0\.50[\s\S]*20 of 100 questions/,
      );
      const sizes = '[document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]';
      const background = { light: 'rgb(255, 255, 255)', dark: 'rgb(20, 23, 26)' }[colorScheme];
      expect(await page.evaluate(sizes)).toEqual([width, background]);
      // Nothing is cut off: all letters of a chart are within it.
      const cut = await page.locator('figure svg:visible').evaluateAll((charts) =>
        charts.flatMap((chart) => {
          const frame = chart.getBoundingClientRect();
          return [...chart.querySelectorAll('text')]
            .filter((text) => {
              const { left, right, top, bottom } = text.getBoundingClientRect();
              return (
                left < frame.left - 1 || right > frame.right + 1 || top < frame.top - 1 || bottom > frame.bottom + 1
              );
            })
            .map((text) => text.textContent);
        }),
      );
      expect(cut, 'labels cut').toEqual([]);
      mkdirSync(join(ROOT, 'test-output'), { recursive: true });
      await picture(page, { path: join(ROOT, 'test-output', `bench-${colorScheme}-${width}.png`), fullPage: true });
      expect(requests).toEqual([url]);
      expect(errors).toEqual([]);
      await context.close();
    });
  });
});

/** Processes that a process has started, by the fourth field of proc(5)'s stat. */
const childrenOf = ({ pid }: ChildProcess): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((other) => {
      try {
        return Number(/\) \w (\d+)/.exec(readFileSync(`/proc/${other}/stat`, 'utf8'))?.[1]) === pid;
      } catch {
        return false; // it has ended meanwhile
      }
    });
const alive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe.runIf(process.platform === 'linux')('an end before its time', () => {
  /** Starts it with random weights in a temporary folder, and waits until it has loaded two variants. */
  async function start() {
    const TMPDIR = mkdtempSync(join(scratch, 'tmp-'));
    const args = [
      'programs/main.ts',
      'bench',
      '--shape',
      'minilm-l6',
      '--device',
      'cpu',
      '--scheme',
      'torch',
      '--threads',
      '1',
    ];
    const env = { ...process.env, ...WITHOUT_GPU, TMPDIR };
    const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let error = '';
    child.stderr.on('data', (data) => {
      error += data;
    });
    const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
    while (childrenOf(child).length < 2 && child.exitCode === null) await sleep(50);
    expect(readdirSync(TMPDIR).length, 'the checkpoint').toBe(1);
    const done = async () => ({ status: await closed, error, left: readdirSync(TMPDIR) });
    return { child, variants: childrenOf(child), done };
  }
  test('a variant that dies: an error that names it, and nothing is left behind', async () => {
    const { variants, done } = await start();
    process.kill(variants[0]!, 'SIGKILL');
    const { status, error, left } = await done();
    expect(error).toMatch(
      /^BertletError \(device\): cpu fp32: expected an answer, got a process that ended \(SIGKILL\)/m,
    );
    expect(error).not.toMatch(/\n {4}at /);
    expect([status, left]).toEqual([1, []]);
    expect(variants.filter(alive)).toEqual([]);
  });
  test('Ctrl-C: it ends by the signal, and nothing is left behind', async () => {
    const { child, variants, done } = await start();
    child.kill('SIGINT');
    const { status, left } = await done();
    expect([status, child.signalCode, left]).toEqual([null, 'SIGINT', []]);
    while (variants.some(alive)) await sleep(50); // where one stays, this test ends by its timeout
  });
});
