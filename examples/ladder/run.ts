/**
 * The int8 product in seven steps on the CPU and in three on the GPU: runs all of them on this machine, checks that they make
 * the same integers, and prints how fast each is beside the most that the registers can do. docs/engine.md tells the story.
 *
 *   npm run ladder                       GMAC/s: milliards of multiplications, each with its addition, a second
 *   npm run ladder -- --narrow           without V8's revectorizer: registers of 128 bits
 *   npm run ladder -- --json FILE        writes the figures as well
 *   npm run ladder -- --seconds 2        for each step; 0.5 unless said
 *   npm run ladder -- --tokens 96        rows of x, a multiple of 96; 192 unless said
 */
import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { openCheckpoint, quantizeWeight } from '../bert-int8.ts';
import { multiply } from './1-loop.ts';
import { openGpu, prepareGpu } from './gpu.ts';
import { compile, type Problem, prepare } from './wasm.ts';

/** A step of the CPU, and the loop of bench/peak.wasm.ts that shows what its instruction does at most. */
export const STEPS = [
  { name: '1-loop', title: 'a loop in TypeScript', limit: null },
  { name: '2-bytes', title: 'WebAssembly, zero point out of the loop', limit: null },
  { name: '3-simd', title: 'SIMD in 16 bits', limit: 'int16' },
  { name: '4-panel', title: 'the weight in panels', limit: 'int16' },
  { name: '5-tile', title: 'relaxed dot product, tile of 6 x 16', limit: 'relaxed' },
  { name: '6-grouped', title: 'sums in 16 bits', limit: 'grouped' },
  { name: '7-threads', title: 'threads that claim panels', limit: 'grouped' },
] as const;
export const GPU_STEPS = [
  { name: 'gpu-1-loop', title: 'a thread for each result' },
  { name: 'gpu-2-tile', title: 'a tile in workgroup memory' },
  { name: 'gpu-3-packed', title: 'four bytes an instruction' },
] as const;

/** The file that `--json` writes. */
export interface LadderResult {
  readonly date: string;
  readonly cpu: string;
  readonly node: string;
  readonly threads: number;
  /** Bits of a register: 256 where V8 joins pairs. */
  readonly bits: 128 | 256;
  readonly shape: { readonly tokens: number; readonly features: number; readonly out: number };
  readonly steps: readonly {
    readonly name: string;
    readonly title: string;
    readonly rate: number;
    readonly limit: number | null;
  }[];
  readonly gpu: {
    readonly adapter: string;
    readonly steps: readonly { readonly name: string; readonly title: string; readonly rate: number }[];
  } | null;
}

/** The weight of the first layer's `intermediate`, in int8, and activations at random. */
function problemOf(folder: string, tokens: number): Problem {
  const {
    rows: out,
    columns: features,
    data: w,
  } = quantizeWeight(openCheckpoint(folder).read('bert.encoder.layer.0.intermediate.dense.weight'));
  const x = Uint8Array.from({ length: tokens * features }, (_, i) => Math.imul(i, 0x9e3779b1) >>> 25); // 0 to 127, mixed
  return { x, w, tokens, features, out, zeroPoint: 37 };
}

/** Refuses a result with other integers than step 1's. */
function check(name: string, got: Int32Array, want: Int32Array): void {
  const at = want.findIndex((value, i) => value !== got[i]);
  if (at >= 0 || got.length !== want.length) throw new Error(`${name}: y[${at}]: expected ${want[at]}, got ${got[at]}`);
}

/** GMAC/s of the fastest run that some seconds have room for: what else the machine does only takes away. */
async function rateOf(macs: number, seconds: number, run: () => unknown): Promise<number> {
  let least = Infinity;
  for (const end = performance.now() + 1000 * seconds; least === Infinity || performance.now() < end; ) {
    const begin = performance.now();
    await run();
    least = Math.min(least, performance.now() - begin);
  }
  return macs / least / 1e6;
}

/** Rates of loops over registers alone, in GMAC/s. */
async function limits(): Promise<Record<'int16' | 'relaxed' | 'grouped', number>> {
  const memory = new WebAssembly.Memory({ initial: 2, maximum: 1024, shared: true });
  const module = await compile('../../bench/peak.wasm.ts');
  const { exports } = new WebAssembly.Instance(module, { env: { memory, abort() {} } });
  const best = (name: string, macs: number) => {
    const run = exports[name] as (at: number, rounds: number) => void;
    const times = Array.from({ length: 400 }, () => {
      const begin = performance.now();
      run(32768, 20_000);
      return performance.now() - begin;
    });
    return (20_000 * macs) / Math.min(...times) / 1e6;
  };
  return { int16: best('int16', 24 * 8), relaxed: best('relaxed', 24 * 16), grouped: best('grouped', 48 * 16) };
}

async function onGpu(problem: Problem, want: Int32Array, seconds: number): Promise<LadderResult['gpu']> {
  const { device, adapter } = await openGpu();
  const times = /swiftshader|llvmpipe/i.test(adapter) ? 1 : 16; // products in one submission: a GPU needs some to do
  const macs = problem.tokens * problem.features * problem.out;
  const steps = [];
  for (const { name, title } of GPU_STEPS) {
    const { run, result, close } = await prepareGpu(device, name, problem);
    steps.push({ name, title, rate: await rateOf(times * macs, seconds, () => run(times)) });
    check(name, await result(), want);
    close();
  }
  device.destroy();
  return { adapter, steps };
}

async function ladder(tokens: number, seconds: number, bits: 128 | 256): Promise<LadderResult> {
  const problem = problemOf(`${import.meta.dirname}/../../weights/minilm-l6-qa`, tokens);
  const { x, w, features, out, zeroPoint } = problem;
  const [macs, most] = [tokens * features * out, await limits()];
  const want = new Int32Array(tokens * out);
  const loop = () => multiply(x, w, want, tokens, features, out, zeroPoint);
  const steps: LadderResult['steps'][0][] = [];
  const threads = availableParallelism();
  for (const { name, title, limit } of STEPS) {
    if (name === '1-loop') {
      steps.push({ name, title, rate: await rateOf(macs, seconds, loop), limit: null });
      continue;
    }
    const used = name === '7-threads' ? threads : 1;
    const module = await compile(`${name}.wasm.ts`);
    // V8 optimizes a function while it runs for the first time, and that time is slow: so with little to do.
    const small = { ...problem, tokens: 12, out: 32, x: x.subarray(0, 12 * features), w: w.subarray(0, 32 * features) };
    (await prepare(module, small)).run();
    const { run, result, close } = await prepare(module, problem, used);
    const rate = await rateOf(macs, seconds, run);
    check(name, result(), want);
    steps.push({ name, title, rate, limit: limit && most[limit] * used });
    await close();
  }
  const gpu = await onGpu(problem, want, seconds).catch((error: Error) => {
    console.error(`GPU: ${error.message}. \`npx node scripts/driver.ts npm run ladder\` brings one in software.`);
    return null;
  });
  const cpu = cpus()[0]!.model;
  return {
    date: new Date().toISOString(),
    cpu,
    node: process.version,
    threads,
    bits,
    shape: { tokens, features, out },
    steps,
    gpu,
  };
}

/** The figures as text. */
export function textOf({ cpu, node, date, threads, bits, shape, steps, gpu }: LadderResult): string {
  const { tokens, features, out } = shape;
  const line = (name: string, title: string, rate: number, limit: number | null) => {
    const share = limit ? `${limit.toFixed(0).padStart(8)}${((100 * rate) / limit).toFixed(0).padStart(5)} %` : '';
    const shown = rate.toFixed(rate < 10 ? 2 : 1).padStart(8);
    return `${name.padEnd(13)} ${title.padEnd(40)} ${shown} ${share}`.trimEnd();
  };
  const software = gpu && /swiftshader|llvmpipe/i.test(gpu.adapter);
  const note = software ? ' (software: which step is faster there says nothing about a GPU)' : '';
  return [
    `${cpu}, Node ${node}, ${date.slice(0, 10)}: ${threads} threads in step 7, registers of ${bits} bits`,
    `[${tokens}, ${features}] x [${out}, ${features}]; all steps give the same integers`,
    '',
    `${' '.repeat(57)}GMAC/s   limit of the registers`,
    ...steps.map(({ name, title, rate, limit }) => line(name, title, rate, limit)),
    ...(gpu ? ['', `${gpu.adapter}${note}`] : []),
    ...(gpu?.steps ?? []).map(({ name, title, rate }) => line(name, title, rate, null)),
  ].join('\n');
}

if (import.meta.main) {
  const { narrow, json, seconds, tokens } = parseArgs({
    options: {
      narrow: { type: 'boolean' },
      json: { type: 'string' },
      seconds: { type: 'string', default: '0.5' },
      tokens: { type: 'string', default: '192' },
    },
  }).values;
  if (!(Number(tokens) > 0 && Number(tokens) % 96 === 0)) {
    throw new Error(`--tokens: expected a multiple of 96, so that all tiles are whole, got ${tokens}`);
  }
  // The revectorizer is an experiment of V8; bertlet uses it where it is known to work (src/devices/cpu/widen.ts).
  const wide = !narrow && ['24', '26'].includes(process.versions.node.split('.')[0]!);
  const flags = wide ? ['--experimental-wasm-revectorize'] : [];
  for (const flag of [...flags, '--wasm-sync-tier-up', '--wasm-tiering-budget=1']) setFlagsFromString(flag);
  const result = await ladder(Number(tokens), Number(seconds), wide ? 256 : 128);
  console.log(textOf(result));
  if (json) writeFileSync(json, `${JSON.stringify(result, null, 1)}\n`);
}
