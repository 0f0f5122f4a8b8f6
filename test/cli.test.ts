/** `bertlet qa` as a program: its sections, its JSON, its exit codes; and what all programs have. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { convert } from '../programs/convert.ts';
import * as models from '../programs/models.ts';
import { whyNot } from '../programs/qa.ts';
import * as bertlet from '../src/index.ts';
import { goldenJson, ROOT, runProgram, spawnProgram, TINY, WITHOUT_GPU } from './support.ts';

const run = (...args: string[]) => runProgram(['qa', ...args], { env: WITHOUT_GPU });
const tiny = ['--model', TINY, '--samples', '1', '--threads', '1'];
const ask = ['--question', 'a b?', '--context', 'c d e'];

const ARTICLE = goldenJson<Record<'question' | 'context', string>>('article');
const folder = mkdtempSync(join(tmpdir(), 'bertlet-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe("the article's question on the embedded checkpoint", () => {
  test("answers as PyTorch's program does, and docs/results.md shows what it prints, README some of it", async () => {
    const golden = goldenJson<Record<'fp32' | 'int8', { answer: string }>>('article');
    const { status, out } = await run('--samples', '1');
    expect(status).toBe(0);
    expect(out).toMatch(new RegExp(`\nModel Answer: \n${golden.fp32.answer}\n.*"New York Times"\n`));
    expect(out).toMatch(new RegExp(`\nDynamic Quantized Model Answer: \n${golden.int8.answer}\n.*"New York Times"\n`));
    const shownBy = (path: string) =>
      /<!-- qa -->\n```\n(.*)```\n<!-- \/qa -->/s.exec(readFileSync(join(ROOT, path), 'utf8'))![1]!.split('\n');
    const [shown, some] = [shownBy('docs/results.md'), shownBy('README.md')];
    expect(shown).toEqual(expect.arrayContaining(some));
    expect(some.length).toBe(9); // 8 lines, and the end of the last
    // Times differ, and so do threads, kernels and GPUs, from one machine to another.
    const stable = (lines?: string[]) =>
      lines?.filter((line) => !/Latency: |^cpu, |^webgpu, |^The machine is busy/.test(line));
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
    expect(out).toMatch(/FP32 Model Size: \d+\.\d\d MB\nINT8 Model Size: \d+\.\d\d MB, embeddings in float32\n/);
    expect(out).toMatch(/Text: \nc d e\nQuestion: \na b\?\nint8: accurate, the library's default\nModel Answer: \n/);
    expect(out).toMatch(/\nModel Answer: \n.*\n.*\nDynamic Quantized Model Answer: \n/);
    expect(out).toMatch(/CPU Inference Latency: \d+\.\d\d ms \/ sample {2}\(median .*, \d+ warm-ups, 1 samples\)/);
  });
  test('without an adapter the line of the GPU says so, as the other lines would', async () => {
    const { status, out } = await run(...tiny, ...ask);
    expect(status).toBe(0);
    expect(out).toMatch(
      /\nWebGPU Inference Latency: not measured, no adapter: WebGPU needs .*\(vulkaninfo lists them\)\n$/,
    );
  });
  test('a software adapter is timed only where it is asked for, and is named as such', {
    timeout: 120_000,
  }, async () => {
    const one = [...tiny, ...ask, '--dtype', 'fp32']; // one: each compiles all kernels
    const { out } = await runProgram(['qa', ...one]);
    expect(out).toMatch(
      /\nWebGPU Inference Latency: not measured, .* \(software\) computes on the CPU: see --device webgpu\n$/,
    );
    const asked = await runProgram(['qa', ...one, '--device', 'webgpu']);
    expect([asked.status, asked.error]).toEqual([0, '']); // Dawn's and Vulkan's warnings are not shown
    expect(asked.out.slice(asked.out.indexOf('\nwebgpu, '))).toMatch(
      /^\nwebgpu, .* \(software\), .*; \d+ tokens\nWebGPU Inference Latency: \d.*\n$/,
    );
  });
  test('with an adapter it times three dtypes, each with its name', async () => {
    const { loadHere } = models;
    const asked: unknown[] = [];
    // The reference stands for the GPU.
    const spy = vi.spyOn(models, 'loadApart').mockImplementation(async (model, options) => {
      const { device, dtype } = options;
      asked.push([device, dtype]);
      const made = await loadHere(model, { device: 'reference', dtype: dtype === 'int8' ? 'int8' : 'fp32' });
      return { ...made, info: { ...made.info, device: 'webgpu', dtype: dtype as 'fp16', adapter: 'an adapter' } };
    });
    const { status, out } = await run(...tiny, ...ask).finally(() => spy.mockRestore());
    const three = [
      ['auto', 'fp32'],
      ['webgpu', 'fp16'],
      ['webgpu', 'int8'],
    ];
    expect([status, asked]).toEqual([0, three]);
    expect(out.slice(out.indexOf('\nwebgpu, '))).toMatch(
      /^\nwebgpu, an adapter.*; \d+ tokens\nWebGPU Inference Latency: \d.*\nFP16 WebGPU Inference Latency: \d.*\nDynamic Quantized WebGPU Inference Latency: \d.*\n$/,
    );
  });
  test('what Dawn and Vulkan write is not shown, unless something fails', async () => {
    const ran = (device: string[]) => {
      // A driver that writes to stderr, and then none that works.
      const env = { ...process.env, VK_DRIVER_FILES: '/nowhere', VK_LOADER_DEBUG: 'all', BERTLET_ADAPTER: '' };
      const args = ['programs/main.ts', 'qa', ...tiny, ...ask, '--dtype', 'fp32', ...device];
      return spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8', env });
    };
    const timed = ran([]);
    expect([timed.status, timed.stderr]).toEqual([0, '']);
    const failed = ran(['--device', 'webgpu']);
    expect([failed.status, failed.stdout]).toEqual([1, '']);
    expect(failed.stderr).toMatch(/vulkan.*\nBertletError \(device\): webgpu: expected an adapter, got none/is);
  });
  test('models take turns, and it says that other processes are busy', async () => {
    const spin = () => spawn(process.execPath, ['-e', 'for (;;);']);
    const others = Array.from({ length: cpus().length }, spin);
    try {
      const { out } = await run(...tiny, ...ask, '--device', 'cpu', '--samples', '100');
      expect(out).toMatch(/\nThe machine is busy: other processes took \d+\.\d of its \d+ cores\. .*\n$/);
    } finally {
      for (const other of others) other.kill();
    }
    const order: string[] = [];
    const model = (name: string) => {
      let left = 3;
      const time = async () => {
        order.push(name);
        return { done: --left === 0, warmups: 1, milliseconds: [1] };
      };
      return { time } as unknown as models.Model;
    };
    const protocol = { warmups: 10, samples: 20, seconds: 1 };
    const tokens = { inputIds: [1], tokenTypeIds: [0] };
    const told: number[] = [];
    await models.timeInTurns([model('a'), model('b')], tokens, protocol, (done) => told.push(done));
    expect([order.join(''), told.at(-1)]).toEqual(['ababab', 60]);
  });
  test('the line of the GPU in words, whatever it lacks', () => {
    const said = [
      'webgpu: expected the package `webgpu`, got none that loads (not found). Install it: `npm install webgpu`. Or use `cpu`.',
      'webgpu: expected an adapter named x, got none. WebGPU needs a GPU driver. Or use `cpu`.',
      'webgpu: expected a GPU, got llvmpipe LLVM 15.0.6 (software), slower than `cpu`. Ask for `webgpu` to use it; cpu is the fastest device',
      'webgpu: expected an adapter that computes right, got x, wrong on gelu. Use `cpu`.',
      'the process ended',
    ];
    expect(said.map(whyNot)).toEqual([
      'no package webgpu that loads (not found): Install it: npm install webgpu',
      'no adapter named x: WebGPU needs a GPU driver',
      'llvmpipe LLVM 15.0.6 (software) computes on the CPU: see --device webgpu',
      'expected adapter that computes right, got x, wrong on gelu',
      'the process ended',
    ]);
  });
  test('one dtype, a passage from a file', async () => {
    const file = join(folder, 'passage.txt');
    writeFileSync(file, 'a b c d ');
    const args = ['--dtype', 'int8', '--question', 'x', '--context-file', file, '--json'];
    const { status, out } = await run(...tiny, ...args);
    expect(status).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ context: 'a b c d ', info: { dtype: 'int8' }, answers: { int8: {} } });
  });
  test.each<[string, BufferEncoding]>([
    ['\ufeff', 'utf8'],
    ['\ufeff', 'utf16le'],
  ])('a passage with a mark, %j in %s: offsets count from the first character', async (mark, encoding) => {
    const file = join(folder, 'marked.txt');
    writeFileSync(file, `${mark}c d e`, encoding);
    const ask = ['--dtype', 'int8', '--question', 'x', '--samples', '0', '--json'];
    const { out } = await run(...tiny, ...ask, '--context-file', file);
    const { context, answers } = JSON.parse(out);
    expect(context).toBe('c d e');
    expect(context.slice(answers.int8.start, answers.int8.end)).toBe(answers.int8.text);
    const piped = ['qa', ...tiny, ...ask, '--context-file', '-'];
    expect(JSON.parse((await runProgram(piped, { input: `${mark}c d e` })).out).context).toBe('c d e');
  });
  test('--top-k, --threshold, and --samples 0: the answers alone', async () => {
    const few = [...tiny, ...ask, '--dtype', 'int8', '--top-k', '3', '--samples', '0'];
    const { status, out } = await run(...few);
    expect([status, out.match(/ = text\.slice/g)!.length, out.includes('Latenc')]).toEqual([0, 3, false]);
    const { answers, latencies } = JSON.parse((await run(...few, '--json', '--threshold', '-1e9')).out);
    expect([answers.int8.noAnswer, answers.int8.others.length, latencies]).toEqual([true, 2, {}]);
    expect(answers.int8.tokens).toBeNull();
  });
  test('no answer is printed as such, and never as word pieces of the question', async () => {
    const { out } = await run(...tiny, ...ask, '--samples', '0', '--threshold', '-1e9');
    const lines = 'Model Answer: \\nno answer\\n {2}= no answer, score \\d\\.\\d{3}: the text does not say\\n';
    expect(out).toMatch(new RegExp(`${lines}Dynamic Quantized ${lines}$`));
  });
  test('--revision is for `load`', async () => {
    const spy = vi.spyOn(bertlet, 'load');
    await run(...tiny, ...ask, '--samples', '0', '--revision', 'abc');
    const revisions = spy.mock.calls.map(([, options]) => options!.revision);
    spy.mockRestore();
    expect(revisions).toEqual(['abc', 'abc']);
  });
  test('a passage of several windows is answered, and what fits the model is timed', async () => {
    const long = ['--question', 'a b?', '--context', 'c d e '.repeat(50), '--device', 'cpu'];
    const { status, out } = await run(...tiny, ...long);
    expect([status, out]).toEqual([0, expect.stringMatching(/; 64 tokens\nCPU Inference Latency: /)]);
  });
  test.each(['torch', 'accurate'] as const)('an int8 checkpoint: its own dtype and scheme, %s', async (scheme) => {
    const out = join(folder, scheme);
    await convert(TINY, out, { precision: scheme });
    const {
      status,
      out: said,
      error,
    } = await run('--model', out, '--samples', '1', '--threads', '1', ...ask, '--json');
    expect([status, error]).toEqual([0, '']);
    const { info, answers } = JSON.parse(said);
    expect([info, Object.keys(answers)]).toMatchObject([{ dtype: 'int8', scheme }, ['int8']]);
  });
  test("a question of one's own has the library's int8; the article's has PyTorch's; a line says so", async () => {
    const context = 'Ada Lovelace wrote the first program in 1843. Charles Babbage designed the machine.';
    const own = ['--question', 'Who wrote the program?', '--context', context, '--samples', '0'];
    const { out } = await run(...own);
    expect(out.match(/(?<== text\.slice\(0, 12\), score .*: ).*/g)).toEqual(['"Ada Lovelace"', '"Ada Lovelace"']);
    expect(out).toContain("\nint8: accurate, the library's default\n");
    expect((await run(...own, '--scheme', 'torch')).out).toContain('\nint8: torch, by --scheme\n');
    const article = ['--question', ARTICLE.question, '--context', ARTICLE.context, '--samples', '0', '--dtype', 'int8'];
    expect((await run(...article)).out).toContain("\nint8: torch, as PyTorch computes the article's question\n");
  });
  test('--help', async () => {
    const { status, out } = await run('--help');
    expect([status, out.includes('--context-file')]).toEqual([0, true]);
  });
  test.each([
    [['--samples', '-1'], /Expected a positive integer/],
    [['--top-k', '0'], /Expected a positive integer/],
    [['--threshold', 'high'], /Expected a number/],
    [['--device', 'abacus'], /Allowed choices are cpu, webgpu, reference, auto/],
    [['--scheme', 'coarse'], /Allowed choices are torch, accurate/],
    [['--dtype', 'fp16', '--device', 'cpu'], /dtype: expected fp32, int8 on cpu, got "fp16"/],
    [['--question', 'a'], /expected --question with --context or --context-file, got a question without a passage/],
    [['--context', 'a'], /got a passage without a question/],
    [['--context-file', 'a'], /got a passage without a question/],
    [[...tiny, '--question', '', '--context', 'b'], /question: expected words, got none/],
    [[...tiny, '--question', '\u00a0', '--context', 'b'], /question: expected words, got none/],
    [[...tiny, '--question', '\u200b', '--context', 'b'], /question: expected words, got none/],
    [[...tiny, '--question', 'a', '--context', ' \n'], /--context: expected a passage, got an empty one/],
    [[...tiny, '--question', 'a', '--context-file', '-'], /standard input: expected a passage, got an empty one/],
    [[...tiny, '--question', 'a '.repeat(100), '--context', 'b'], /question: expected at most \d+ tokens/],
    [['--model', ''], /--model: expected a value, got an empty one/],
    [['--revision', ''], /--revision: expected a value, got an empty one/],
    [['--dtype', 'int4'], /Allowed choices are fp32, fp16, int8/],
    [['--nonsense'], /unknown option '--nonsense'/],
    [['--context', 'a', '--context-file', 'b'], /cannot be used with/],
  ])('usage error, exit code 2, and nothing else is printed: %j', async (args, message) => {
    const { status, out, error } = await run(...args);
    expect(error).toMatch(message);
    expect(out).toBe('');
    expect(error.split('\n').slice(1)).toEqual(['See --help.', '']); // one line, and not the whole help
    expect([status, error.slice(0, 7)]).toEqual([2, 'error: ']);
  });
  test.each([
    [['--model', './nowhere'], /BertletError \(file\): \.\/nowhere: expected config\.json, got none/],
    [
      [...tiny, '--question', 'a', '--context-file', 'nowhere.txt'],
      /^error: nowhere\.txt: expected a file or folder, got none of this name\. Check the path\.\n$/,
    ],
    [[...tiny, '--question', 'a', '--context-file', tmpdir()], /^error: \/.*: expected a file, got a folder\.\n$/],
  ])('error in words, exit code 1, and nothing else is printed: %j', async (args, message) => {
    const { status, out, error } = await run(...args);
    expect(error).toMatch(message);
    expect([out, error]).toEqual(['', expect.not.stringMatching(/E[A-Z]{4}/)]);
    expect(error).not.toMatch(/\n {4}at /);
    expect(status).toBe(1);
  });
});

describe('all programs', () => {
  const names = ['qa', 'answer', 'convert', 'evaluate', 'explain', 'bench'];
  const needed: Record<string, string[]> = { convert: ['x', '--out', 'y'], evaluate: ['x'] };
  const wrong: [string, string[]][] = [
    ['--threads', ['qa', 'evaluate', 'bench']],
    ['--dtype', ['qa', 'evaluate', 'bench', 'convert']],
    ['--scheme', ['qa', 'answer', 'evaluate', 'bench', 'convert']],
    ['--device', ['qa', 'evaluate', 'bench', 'explain']],
    ['--samples', ['qa', 'bench']],
    ['--nonsense', names],
  ];
  test.each(wrong.flatMap(([option, programs]) => programs.map((name) => [name, option] as const)))(
    '%s: a wrong %s is one line and exit code 2',
    async (name, option) => {
      const { status, out, error } = await runProgram([name, ...(needed[name] ?? []), option, 'wrong']);
      expect([status, out]).toEqual([2, '']);
      expect(error).toMatch(new RegExp(`^error: .*${option}.*\\nSee --help\\.\\n$`));
    },
  );
  test.each(['qa', 'answer', 'convert', 'evaluate', 'bench'])('%s: a --scheme is for int8', async (name) => {
    const given = [name, ...(needed[name] ?? []), '--model', 'nowhere', '--dtype', 'fp32', '--scheme', 'torch'];
    const { status, error } = await runProgram(given.filter((arg) => name !== 'convert' || !/model|nowhere/.test(arg)));
    expect(error).toBe(
      'error: --scheme: expected none with --dtype fp32, got torch. Leave it out, or add int8.\nSee --help.\n',
    );
    expect(status).toBe(2);
  });
  test('convert: --embeddings are of int8', async () => {
    const { status, error } = await runProgram([
      'convert',
      'x',
      '--out',
      'y',
      '--dtype',
      'fp16',
      '--embeddings',
      'float',
    ]);
    expect([status, error]).toEqual([
      2,
      'error: --embeddings: expected none with --dtype fp16, got float. Leave it out, or add int8.\nSee --help.\n',
    ]);
  });
  test.each([
    ['answer', ['']],
    ['evaluate', ['']],
    ['convert', ['', '--out', 'y']],
    ['convert', ['x', '--out', '']],
    ['explain', ['--report', '']],
    ['bench', ['--report', '']],
    ['bench', ['--json', '']],
    ['bench', ['--evaluation', '']],
    ['evaluate', ['x', '--predictions', '']],
    ['answer', ['--out', '']],
  ])('%s %j: an empty name is one line and exit code 2', async (name, args) => {
    const { status, out, error } = await runProgram([name, ...args]);
    expect([status, out]).toEqual([2, '']);
    expect(error).toMatch(/^error: [-\w]+: expected a (value|name), got an empty one\.\nSee --help\.\n$/);
  });
  test.each([
    ['bench', '--json'],
    ['explain', '--report'],
  ])('%s %s: what cannot be written is said before the work', async (name, option) => {
    const place = name === 'bench' ? folder : join(ROOT, 'package.json', 'x');
    const { status, out, error } = await runProgram([name, '--model', TINY, option, place]);
    expect([status, out]).toEqual([1, '']);
    expect(error).toMatch(/expected a (file, got a folder|folder, got a file)\.\n$/);
  });
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
    expect(error).toBe("error: unknown option '--nonsense'\nSee --help.\n");
  });
  test('without a Vulkan loader it says that there is no GPU, and Dawn prints no warning of its own', () => {
    const args = ['programs/main.ts', 'qa', ...tiny, '--dtype', 'int8', ...ask];
    const env = { ...process.env, LD_LIBRARY_PATH: '' };
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8', env });
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(
      /\n(WebGPU Inference Latency: not measured, (no adapter: |.* computes on the CPU)|webgpu, .* tokens\n)/,
    );
  });
  test('a reader that has enough, as `head` has, is no error, and ends the work', async () => {
    const watch =
      'data:text/javascript,let n=0;const{now}=performance;performance.now=()=>(n++,now.call(performance));process.on("exit",()=>process._rawDebug(n))';
    const args = [
      '--import',
      watch,
      'programs/main.ts',
      'qa',
      ...tiny,
      ...ask,
      '--device',
      'cpu',
      '--samples',
      '1000000000',
    ];
    const child = spawn(process.execPath, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    const [status, error] = await Promise.all([new Promise((done) => child.once('exit', done)), text(child.stderr)]);
    expect([status, error]).toEqual([0, expect.stringMatching(/^\d+\n$/)]);
    expect(Number(error)).toBeLessThan(50_000); // readings of the clock: 500,000 in the 20 seconds of the samples
  });
  /** In a shell, with the program as $BERTLET. */
  const shell = (line: string) => {
    const env = { ...process.env, BERTLET: `${process.execPath} programs/main.ts` };
    const { status, stdout, stderr } = spawnSync('bash', ['-c', line], { cwd: ROOT, encoding: 'utf8', env });
    return { status, out: stdout, error: stderr };
  };
  const quick = [
    'qa',
    ...one,
    '--samples',
    '0',
    '--json',
    '--question',
    'a',
    '--context',
    `"${'c d e '.repeat(900)}"`,
  ].join(' ');
  test.runIf(process.platform === 'linux')('a full disk is an error, exit code 1', () => {
    const full = shell(`$BERTLET ${quick} > /dev/full`);
    expect([full.status, full.error]).toEqual([
      1,
      expect.stringMatching(/^error: output: expected room on the disk, got none\. Make some\.\n$/),
    ]);
    const file = join(folder, 'short');
    const short = shell(`ulimit -f 2; $BERTLET ${quick} > ${file}`); // blocks of 1024 bytes: the only write is cut short
    expect([short.status, short.error]).toEqual([1, expect.stringMatching(/^error: output: file too large\.\n$/)]);
    expect(statSync(file).size).toBe(2048);
  });
  test.runIf(process.platform === 'linux')('--json and --report into what a shell has opened', () => {
    const explain = `$BERTLET explain --model ${TINY} --question a --context 'c d'`;
    const { status, error } = shell(`${explain} --report /dev/stdout | head -c 15; exit \${PIPESTATUS[0]}`);
    expect([status, error]).toEqual([0, '']);
    const page = join(folder, 'page');
    expect(shell(`${explain} --report /dev/fd/7 7> ${page}`).status).toBe(0);
    expect(readFileSync(page, 'utf8').slice(0, 15)).toBe('<!doctype html>');
  });
});

describe.skipIf(process.platform === 'win32')('a signal', () => {
  const [hidden, shown] = ['\x1b[?7l', '\x1b[?7h']; // line wrap off, on
  test.each(['SIGINT', 'SIGTERM'] as const)(
    '%s: line wrap is back, no file is locked, and it ends by the signal',
    async (signal) => {
      const [data, kept] = [join(folder, 'squad.json'), join(folder, `${signal}.jsonl`)];
      const qas = Array.from({ length: 5000 }, (_, id) => ({ id, question: 'a b?', answers: [{ text: 'c' }] }));
      writeFileSync(data, JSON.stringify({ data: [{ paragraphs: [{ context: 'c d e', qas }] }] }));
      const terminal = ['--import', 'data:text/javascript,process.stderr.isTTY=true'];
      const args = ['evaluate', data, '--model', TINY, '--device', 'reference', '--predictions', kept];
      const child = spawn(process.execPath, [...terminal, 'programs/main.ts', ...args], { cwd: ROOT });
      let seen = '';
      child.stderr.on('data', (chunk) => {
        seen += chunk;
        if (seen.includes('answers')) child.kill(signal);
      });
      const ended = await new Promise((done) => child.once('close', (code, by) => done(by ?? code)));
      expect(ended).toBe(signal);
      expect(seen.lastIndexOf(shown)).toBeGreaterThan(seen.lastIndexOf(hidden));
      expect(readdirSync(folder).filter((name) => name.startsWith(signal))).toEqual([`${signal}.jsonl`]);
    },
  );
});
