/**
 * Every kernel at the shapes of bert-base and of the embedded checkpoint, one thread: verified against the reference,
 * then timed, products in GMAC/s and as a share of what a loop over registers reaches; then the general ops, in turns with
 * a copy of as many bytes, and matmul in turns with linear. `npm run bench:ops`; `-- --general` for the latter alone.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { main as asc } from 'assemblyscript/asc';
import { Bench } from 'tinybench';
import { OPS } from '../kernels/index.ts';
import { makeLinear } from '../kernels/linear.ts';
import { normal, type Op } from '../kernels/op.ts';
import { startCpu } from '../src/devices/cpu/start.ts';
import { withV8Flags } from '../src/devices/cpu/v8Flags.ts';
import { ReferenceDevice } from '../src/devices/reference.ts';
import { quantizeWeight, Runtime, type Tensor } from '../src/tensor.ts';
import { median } from './measure.ts';

const TOKENS = 133;
/** Turns of a general op. */
const ROUNDS = 60;
const { device, kernels } = await startCpu({ threads: 1, wideSimd: !process.argv.includes('--narrow') });
const runtime = new Runtime(device);
const reference = new Runtime(new ReferenceDevice());
const isGeneral = process.argv.includes('--general');
console.log(`${cpus()[0]!.model}, Node ${process.version}, one thread; ${kernels}`);
const peak = isGeneral ? null : await peaks();
if (peak) await products(peak);
await generalOps();
await device.dispose();

type Peaks = Awaited<ReturnType<typeof rates>>;

/** BERT's ops at the shapes of two models. */
async function products(peak: Peaks): Promise<void> {
  console.log(
    `Registers only, GMAC/s: ${Object.entries(peak)
      .map(([name, rate]) => `${name} ${rate.toFixed(1)}`)
      .join(', ')}\n`,
  );
  console.log('| kernel | shape | median us | GMAC/s | of the peak |\n|---|---|---|---|---|');

  for (const [model, hidden, intermediate, heads] of [
    ['bert-base', 768, 3072, 12],
    ['minilm-l6', 384, 1536, 12],
  ] as const) {
    const sizes = [
      [hidden, 3 * hidden],
      [hidden, hidden],
      [hidden, intermediate],
      [intermediate, hidden],
    ] as const;
    for (const [features, out] of sizes) {
      const activation = out === intermediate ? ({ activation: 'gelu' } as const) : {};
      const inputs = { ...makeLinear(TOKENS, features, out), ...activation };
      const shape = `${model}, ${TOKENS} x ${features} to ${out}${'activation' in activation ? ', gelu' : ''}`;
      const macs = TOKENS * features * out;
      await time(OPS.linear, inputs, 'linear', shape, macs, peak.float32);
      const int8 = { ...inputs, weight: quantizeWeight(inputs.weight, 'torch') };
      await time(OPS.linearInt8, int8, 'linearInt8', shape, macs, peak[device.choice.int8]);
    }
    const qkv = normal([TOKENS, 3 * hidden], 1);
    await time(
      OPS.attention,
      { qkv, heads },
      'attention',
      `${model}, ${heads} heads`,
      2 * TOKENS * TOKENS * hidden,
      peak.float32,
    );
    const x = normal([TOKENS, hidden], 2);
    const norm = { gamma: normal([hidden], 3), beta: normal([hidden], 4), eps: 1e-12 };
    await time(OPS.layerNorm, { x, residual: x, ...norm }, 'layerNorm', `${model}, ${TOKENS} x ${hidden}`);
  }
}

/** The median milliseconds of several runs that take turns, each of which returns what it took; the first third warms up. */
async function inTurns(runs: Record<string, () => Promise<number>>): Promise<Record<string, number>> {
  const all = Object.fromEntries(Object.keys(runs).map((name) => [name, [] as number[]]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, run] of Object.entries(runs)) all[name]!.push(await run());
  }
  return Object.fromEntries(Object.entries(all).map(([name, times]) => [name, median(times.slice(ROUNDS / 3))]));
}

/** The ops of heads and of one's own models: a share of the machine's copy bandwidth, and of linear's rate. */
async function generalOps(): Promise<void> {
  const [rows, columns] = [4096, 1024];
  const bytes = rows * columns * 4;
  const data = normal([rows, columns], 1).data;
  const shape = [rows, columns];
  const [x, other, row] = [data, data, data.subarray(0, columns)].map((some) => {
    return runtime.tensor({ shape: some === data ? shape : [1, columns], data: some });
  }) as [Tensor, Tensor, Tensor];
  const indices = Int32Array.from({ length: rows }, (_, i) => (i * 1667) % rows);
  /** For each op its result, and the times that its bytes are those of x: of what it reads and writes. */
  const ops: Record<string, [y: Tensor, times: number]> = {
    rows: [runtime.rows(x, indices), 2],
    add: [runtime.add(x, other), 3],
    'add, one row': [runtime.add(x, row), 2],
    mul: [runtime.mul(x, other), 3],
    ...Object.fromEntries(
      (['relu', 'gelu', 'tanh', 'sigmoid'] as const).map((name) => [name, [runtime.activation(x, name), 2]]),
    ),
    softmax: [runtime.softmax(x), 2],
    mean: [runtime.mean(x), 1],
    transpose: [runtime.transpose(x), 2],
  };
  const to = new Float32Array(data.length);
  const copy = async () => {
    const begin = performance.now();
    to.set(data);
    return performance.now() - begin;
  };
  const sum = () => Object.values(device.milliseconds).reduce((all, one) => all + one, 0);
  /** A read of y, as long as its kernels take. */
  const kernelsOf = (y: Tensor) => async () => {
    const before = sum();
    await runtime.read(y);
    return sum() - before;
  };
  const runs = Object.entries(ops).map(([name, [y]]) => [name, kernelsOf(y)] as const);
  const times = await inTurns({ copy, ...Object.fromEntries(runs) });
  const bandwidth = (name: string, times_: number) => (times_ * bytes) / times[name]! / 1e6;
  const most = bandwidth('copy', 2);
  console.log(`\n${rows} x ${columns}, a copy of it: ${most.toFixed(1)} GB/s read and written\n`);
  console.log('| op | median us | GB/s | of copying |\n|---|---|---|---|');
  for (const [name, [, parts]] of Object.entries(ops)) {
    const rate = bandwidth(name, parts);
    console.log(
      `| ${name} | ${(1000 * times[name]!).toFixed(0)} | ${rate.toFixed(1)} | ${((100 * rate) / most).toFixed(0)} % |`,
    );
  }
  console.log('\n| product | matmul, GMAC/s | linear | matmul of linear |\n|---|---|---|---|');
  for (const [m, k, n] of [
    [512, 512, 512],
    [133, 384, 1536],
    [64, 64, 64],
  ] as const) {
    const [a, b] = [normal([m, k], 2), normal([k, n], 3)];
    const layer = runtime.linearLayer(normal([n, k], 4));
    const matmul = kernelsOf(runtime.matmul(runtime.tensor(a), runtime.tensor(b)));
    const linear = kernelsOf(runtime.linear(runtime.tensor(a), layer));
    const each = await inTurns({ matmul, linear });
    const rate = (name: string) => (m * k * n) / each[name]! / 1e6;
    const share = (100 * rate('matmul')) / rate('linear');
    console.log(
      `| ${m} x ${k} x ${n} | ${rate('matmul').toFixed(1)} | ${rate('linear').toFixed(1)} | ${share.toFixed(0)} % |`,
    );
  }
}

/** Runs an op, compares it with the reference, and prints what its kernel of this name takes. */
async function time<I>(
  op: Op<I>,
  inputs: I,
  kernel: keyof typeof device.milliseconds,
  shape: string,
  macs = 0,
  most = 0,
) {
  const y = op.run(runtime, inputs); // its inputs are uploaded once; each read computes it anew
  const got = await runtime.read(y);
  const want = await reference.read(op.run(reference, inputs));
  const bound = op.bound(inputs);
  if (!got.every((value, i) => Math.abs(value - want[i]!) <= bound[i]!)) throw new Error(`${kernel}, ${shape}: wrong`);
  const microseconds: number[] = [];
  const bench = new Bench({ time: 500, iterations: 20, warmupTime: 300 });
  bench.add(kernel, async () => {
    const before = device.milliseconds[kernel] ?? 0;
    await runtime.read(y);
    microseconds.push(((device.milliseconds[kernel] ?? 0) - before) * 1000);
  });
  await bench.run();
  const middle = median(microseconds.slice(microseconds.length >> 1)); // of the second half, warm
  const rate = macs / middle / 1000;
  const products = macs ? `${rate.toFixed(1)} | ${((100 * rate) / most).toFixed(0)} %` : ' | ';
  console.log(`| ${kernel} | ${shape} | ${middle.toFixed(0)} | ${products} |`);
}

/** GMAC/s of loops over registers, the best of many short runs. */
async function peaks() {
  const folder = mkdtempSync(join(tmpdir(), 'bertlet-'));
  const out = join(folder, 'peak.wasm');
  const source = join(import.meta.dirname, 'peak.wasm.ts');
  const features = ['--enable', 'simd', '--enable', 'relaxed-simd'];
  const { error, stderr } = await asc([
    source,
    '--outFile',
    out,
    '-O3',
    '--noAssert',
    '--runtime',
    'stub',
    ...features,
  ]);
  if (error) throw new Error(`${error.message}\n${stderr}`);
  const bytes = new Uint8Array(readFileSync(out));
  rmSync(folder, { recursive: true });
  return withV8Flags(!process.argv.includes('--narrow'), ({ bytesOf }) => rates(bytesOf(bytes)));
}

/** GMAC/s of the loops of a module, each the best of many short runs. */
async function rates(bytes: Uint8Array<ArrayBuffer>) {
  const { instance } = await WebAssembly.instantiate(bytes, { env: { abort() {} } });
  /** `macs` of a round. */
  const rate = (name: string, macs: number) => {
    const run = instance.exports[name] as (at: number, rounds: number) => void;
    let best = 0;
    for (let i = 0; i < 400; i++) {
      const begin = performance.now();
      run(1024, 20_000);
      best = Math.max(best, (20_000 * macs) / (performance.now() - begin) / 1e6);
    }
    return best;
  };
  return {
    relaxed: rate('relaxed', 24 * 16),
    signed: rate('relaxed', 24 * 16), // the same instruction
    grouped: rate('grouped', 48 * 16),
    int16: rate('int16', 24 * 8),
    float32: rate('float32', 24 * 4),
  };
}
