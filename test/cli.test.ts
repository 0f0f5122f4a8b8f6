/** `bertlet qa` as a program: its sections, its JSON, its exit codes; and what all programs have. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, describe, expect, test, vi } from 'vitest';
import * as bertlet from '../src/index.ts';
import { goldenJson, ROOT, runProgram, spawnProgram, TINY, WITHOUT_GPU } from './support.ts';

const run = (...args: string[]) => runProgram(['qa', ...args], { env: WITHOUT_GPU });
const tiny = ['--model', TINY, '--samples', '1', '--threads', '1'];
const ask = ['--question', 'a b?', '--context', 'c d e'];

const folder = mkdtempSync(join(tmpdir(), 'bertlet-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe("the article's question on the embedded checkpoint", () => {
  test("answers as PyTorch's program does, and README shows what it prints", async () => {
    const golden = goldenJson<Record<'fp32' | 'int8', { answer: string }>>('article');
    const { status, out } = await run('--samples', '1');
    expect(status).toBe(0);
    expect(out).toMatch(new RegExp(`\nModel Answer: \n${golden.fp32.answer}\n.*"New York Times"\n`));
    expect(out).toMatch(new RegExp(`\nDynamic Quantized Model Answer: \n${golden.int8.answer}\n.*"New York Times"\n`));
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
    const shown = /<!-- qa -->\n```\n(.*)```\n<!-- \/qa -->/s.exec(readme)?.[1]?.split('\n');
    // Times differ, and so do threads, kernels and GPUs, from one machine to another.
    const stable = (lines?: string[]) => lines?.filter((line) => !/Latency: |^cpu, |^webgpu[,:]/.test(line));
    expect(stable(shown)).toEqual(stable(out.split('\n')));
  });
});

describe('on a tiny model', () => {
  test('prints the three sections', async () => {
    const { status, out, error } = await run(...tiny, ...ask, '--device', 'cpu');
    expect([status, error]).toEqual([0, '']);
    const bar = '='.repeat(75);
    for (const title of ['Model Sizes', 'BERT QA Example', 'BERT QA Inference Latencies']) {
      expect(out).toContain(`${bar}\n${title}\n${bar}\n`);
    }
    expect(out).toMatch(/FP32 Model Size: \d+\.\d\d MB\nINT8 Model Size: \d+\.\d\d MB/);
    expect(out).toMatch(/Text: \nc d e\nQuestion: \na b\?\nModel Answer: \n.*\n.*\nDynamic Quantized Model Answer: \n/);
    expect(out).toMatch(/CPU Inference Latency: \d+\.\d\d ms \/ sample {2}\(median .*, \d+ warm-ups, 1 samples\)/);
  });
  test('without an adapter it says so; with one it times it and names it, software as such', {
    timeout: 120_000,
  }, async () => {
    const without = await run(...tiny, ...ask);
    expect(without.status).toBe(0);
    expect(without.out).toMatch(/\nwebgpu: expected an adapter, got none\. .*\n$/);
    const { status, out } = await runProgram(['qa', ...tiny, ...ask, '--dtype', 'fp32']); // one: each compiles all kernels
    expect(status).toBe(0);
    const rows = out.slice(out.indexOf('\nwebgpu, '));
    expect(rows).toMatch(/^\nwebgpu, .* \(software\), .*; \d+ tokens\nGPU Inference Latency: \d.*\n$/);
  });
  test('with an adapter it times three dtypes, each with its name', async () => {
    const { load } = bertlet;
    const asked: unknown[] = [];
    // The reference stands for the GPU.
    const spy = vi.spyOn(bertlet, 'load').mockImplementation(async (model, options = {}) => {
      const { device, dtype } = options;
      if (device !== 'webgpu') return load(model, options);
      asked.push(dtype);
      const qa = await load(model, { device: 'reference', dtype: dtype === 'int8' ? 'int8' : 'fp32' });
      return Object.assign(qa, { info: { ...qa.info, device, dtype, adapter: 'an adapter' } });
    });
    const { status, out } = await run(...tiny, ...ask).finally(() => spy.mockRestore());
    expect([status, asked]).toEqual([0, ['fp32', 'fp16', 'int8']]);
    expect(out.slice(out.indexOf('\nwebgpu, '))).toMatch(
      /^\nwebgpu, an adapter.*; \d+ tokens\nGPU Inference Latency: \d.*\nFP16 GPU Inference Latency: \d.*\nDynamic Quantized GPU Inference Latency: \d.*\n$/,
    );
  });
  test('one dtype, a passage from a file', async () => {
    const file = join(folder, 'passage.txt');
    writeFileSync(file, 'a b c d ');
    const args = ['--dtype', 'int8', '--question', 'x', '--context-file', file, '--json'];
    const { status, out } = await run(...tiny, ...args);
    expect(status).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ context: 'a b c d ', info: { dtype: 'int8' }, answers: { int8: {} } });
  });
  test('--help', async () => {
    const { status, out } = await run('--help');
    expect([status, out.includes('--context-file')]).toEqual([0, true]);
  });
  test.each([
    [['--samples', '0'], /Expected a positive integer/],
    [['--dtype', 'int4'], /Allowed choices are fp32, fp16, int8/],
    [['--nonsense'], /unknown option '--nonsense'/],
    [['--context', 'a', '--context-file', 'b'], /cannot be used with/],
  ])('usage error, exit code 2: %j', async (args, message) => {
    const { status, error } = await run(...args);
    expect(error).toMatch(message);
    expect(status).toBe(2);
  });
  test.each([
    [['--model', 'nowhere'], /BertletError \(file\): nowhere\/config\.json: expected a readable file/],
    [[...tiny, '--device', 'abacus'], /BertletError \(input\): device: expected .*, got "abacus"/],
    [[...tiny, '--question', ''], /BertletError \(input\): question: expected words, got none/],
    [[...tiny, '--context-file', 'nowhere.txt'], /nowhere\.txt/],
  ])('error, exit code 1: %j', async (args, message) => {
    const { status, error } = await run(...args);
    expect(error).toMatch(message);
    expect(error).not.toMatch(/\n {4}at /);
    expect(status).toBe(1);
  });
});

describe('all programs', () => {
  const names = ['qa', 'answer', 'convert', 'evaluate', 'explain', 'bench'];
  test.each(names)('%s --help has examples', async (name) => {
    const { status, out } = await runProgram([name, '--help']);
    expect([status, out.includes(`Examples:\n  $ bertlet ${name}`)]).toEqual([0, true]);
  });
});

describe('a process', () => {
  const one = [...tiny, '--device', 'cpu', '--dtype', 'int8'];
  test('a passage from standard input, a result to a pipe, exit code 0', () => {
    const piped = ['--question', 'x', '--context-file', '-', '--json'];
    const { status, out, error } = spawnProgram(['qa', ...one, ...piped], { input: 'c d e f' });
    expect([status, error, JSON.parse(out)]).toMatchObject([0, '', { context: 'c d e f' }]);
  });
  test('through a link, as npx starts it: a usage error on stderr, exit code 2', () => {
    const link = join(folder, 'bertlet');
    symlinkSync(join(ROOT, 'programs/main.ts'), link);
    const { status, out, error } = spawnProgram(['qa', '--nonsense'], { program: link });
    expect([status, out]).toEqual([2, '']);
    expect(error).toMatch(/^error: unknown option '--nonsense'\n\nUsage: /);
  });
  test('without a Vulkan loader it says that there is no GPU, and Dawn prints no warning of its own', () => {
    const args = ['programs/main.ts', 'qa', ...tiny, '--dtype', 'int8', ...ask];
    const env = { ...process.env, LD_LIBRARY_PATH: '' };
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8', env });
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/\nwebgpu(: expected an adapter, got none\.|, .* tokens\n)/);
  });
  test('a reader that has enough, as `head` has, is no error', async () => {
    const args = ['programs/main.ts', 'qa', ...one, ...ask];
    const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    const [status, error] = await Promise.all([new Promise((done) => child.once('exit', done)), text(child.stderr)]);
    expect([status, error]).toEqual([0, '']);
  });
});
