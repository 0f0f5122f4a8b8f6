/** `bertlet qa` as a program: its sections, its JSON, its exit codes. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { goldenJson, ROOT, TINY } from './support.ts';

/** Runs it as on a machine without a GPU, but for `env`. */
function runWith(env: NodeJS.ProcessEnv, ...args: string[]) {
  const options = { cwd: ROOT, encoding: 'utf8', env: { ...process.env, ...env } } as const;
  const child = spawnSync(process.execPath, ['cli/main.ts', 'qa', ...args], options);
  return { status: child.status, out: child.stdout, error: child.stderr };
}
const run = (...args: string[]) => runWith({ VK_DRIVER_FILES: '/nowhere', BERTLET_ADAPTER: '' }, ...args);
const tiny = ['--model', TINY, '--samples', '1'];

describe("the article's question on the embedded checkpoint", () => {
  test("answers as PyTorch's program does, and README shows what it prints", { timeout: 120_000 }, () => {
    const golden = goldenJson<Record<'fp32' | 'int8', { answer: string }>>('article');
    const { status, out } = run('--samples', '1');
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
  test('prints the three sections', () => {
    const { status, out, error } = run(...tiny, '--device', 'cpu', '--question', 'a b?', '--context', 'c d e');
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
  }, () => {
    const ask = ['--question', 'a b?', '--context', 'c d e'];
    const without = run(...tiny, ...ask);
    expect(without.status).toBe(0);
    expect(without.out).toMatch(/\nwebgpu: expected an adapter, got none\. .*\n$/);
    const { status, out } = runWith({}, ...tiny, ...ask);
    expect(status).toBe(0);
    const rows = out.slice(out.indexOf('\nwebgpu, '));
    expect(rows).toMatch(
      /^\nwebgpu, .* \(software\), .*; \d+ tokens\nGPU Inference Latency: \d.*\nFP16 GPU Inference Latency: \d.*\nDynamic Quantized GPU Inference Latency: \d.*\n$/,
    );
  });
  test('one dtype, a passage from a file', () => {
    const folder = mkdtempSync(join(tmpdir(), 'bertlet-'));
    const file = join(folder, 'passage.txt');
    writeFileSync(file, 'a b c d ');
    const { status, out } = run(...tiny, '--dtype', 'int8', '--question', 'x', '--context-file', file, '--json');
    rmSync(folder, { recursive: true });
    expect(status).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ context: 'a b c d ', info: { dtype: 'int8' }, answers: { int8: {} } });
  });
  test('a passage from standard input', () => {
    const args = ['cli/main.ts', 'qa', ...tiny, '--device', 'cpu', '--dtype', 'int8', '--question', 'x', '--json'];
    const input = 'c d e f';
    const { stdout } = spawnSync(process.execPath, [...args, '--context-file', '-'], {
      cwd: ROOT,
      encoding: 'utf8',
      input,
    });
    expect(JSON.parse(stdout)).toMatchObject({ context: input });
  });
  test.each(['qa', 'convert', 'evaluate', 'explain', 'bench'])('%s --help has examples', (name) => {
    const { status, stdout } = spawnSync(process.execPath, ['cli/main.ts', name, '--help'], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    expect([status, stdout.includes(`Examples:\n  $ bertlet ${name}`)]).toEqual([0, true]);
  });
  test('--help', () => {
    const { status, out } = run('--help');
    expect([status, out.includes('--context-file')]).toEqual([0, true]);
  });
  test.each([
    [['--samples', '0'], /Expected a positive integer/],
    [['--dtype', 'int4'], /Allowed choices are fp32, fp16, int8/],
    [['--nonsense'], /unknown option '--nonsense'/],
    [['--context', 'a', '--context-file', 'b'], /cannot be used with/],
  ])('usage error, exit code 2: %j', (args, message) => {
    const { status, error } = run(...args);
    expect(error).toMatch(message);
    expect(status).toBe(2);
  });
  test.each([
    [['--model', 'nowhere'], /BertletError \(file\): nowhere\/config\.json: expected a readable file/],
    [[...tiny, '--device', 'abacus'], /BertletError \(input\): device: expected .*, got "abacus"/],
    [[...tiny, '--question', ''], /BertletError \(input\): question: expected words, got none/],
    [[...tiny, '--context-file', 'nowhere.txt'], /nowhere\.txt/],
  ])('error, exit code 1: %j', (args, message) => {
    const { status, error } = run(...args);
    expect(error).toMatch(message);
    expect(error).not.toMatch(/\n {4}at /);
    expect(status).toBe(1);
  });
});
