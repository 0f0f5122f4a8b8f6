/**
 * Every kernel at the shapes of bert-base and of the embedded checkpoint, one thread: verified against the reference,
 * then timed, products in GMAC/s and as a share of what a loop over registers reaches. `npm run bench:ops`
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
import { quantizeWeight, Runtime } from '../src/tensor.ts';
import { median } from './measure.ts';

const TOKENS = 133;
const { device, kernels } = await startCpu({ threads: 1, wideSimd: !process.argv.includes('--narrow') });
const runtime = new Runtime(device);
const reference = new Runtime(new ReferenceDevice());
const peak = await peaks();
console.log(`${cpus()[0]!.model}, Node ${process.version}, one thread; ${kernels}`);
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
