/**
 * Every kernel at the shapes of bert-base and of the embedded checkpoint, one thread: verified against the reference,
 * then timed in turns, products in GMAC/s and as a share of what a loop over registers reaches; then the general ops, in turns
 * with a copy of as many bytes, and matmul in turns with linear. `npm run bench:ops`
 */
import { cpus } from 'node:os';
import { join } from 'node:path';
import { main as asc } from 'assemblyscript/asc';
import { OPS } from '../kernels/index.ts';
import { makeLinear } from '../kernels/linear.ts';
import { normal, type Op, runOp } from '../kernels/op.ts';
import { startCpu } from '../src/devices/cpu/start.ts';
import { withV8Flags } from '../src/devices/cpu/v8Flags.ts';
import { ReferenceDevice } from '../src/devices/reference.ts';
import { quantizeWeight, Runtime, type Tensor } from '../src/tensor.ts';
import { markdown } from './columns.ts';
import { inTurns, median, timed } from './measure.ts';
import { SHAPES } from './shapes.ts';

const TOKENS = 133;
const { device, kernels } = await startCpu({ threads: 1 });
const runtime = new Runtime(device);
const reference = new Runtime(new ReferenceDevice());
type Kernel = keyof typeof device.milliseconds;

/** The median milliseconds of runs in turns, warm. */
const medians = async (runs: (() => Promise<number>)[]): Promise<number[]> =>
  (await inTurns(runs, { warmups: 20, rounds: 40 })).map(median);

/** A read of y, which computes it: as long as its kernels take, or the one of this name. */
const readOf = (y: Tensor, kernel?: Kernel) => async () => {
  const spent = () => {
    const all = device.milliseconds;
    return kernel ? (all[kernel] ?? 0) : Object.values(all).reduce((sum, one) => sum + one, 0);
  };
  const before = spent();
  await runtime.read(y);
  return spent() - before;
};

interface Work {
  readonly kernel: Kernel;
  readonly shape: string;
  readonly read: () => Promise<number>;
  readonly macs?: number;
  /** GMAC/s of the registers. */
  readonly most?: number;
}

/** An op of these inputs, whose result is that of the reference. */
async function work<I>(op: Op<I>, inputs: I, shape: string, macs?: number, most?: number): Promise<Work> {
  const y = op.run(runtime, inputs);
  const got = await runtime.read(y);
  const want = await runOp(reference, op, inputs);
  const bound = op.bound(inputs);
  if (!got.every((value, i) => Math.abs(value - want[i]!) <= bound[i]!)) throw new Error(`${op.name}, ${shape}: wrong`);
  const kernel = op.name as Kernel;
  return { kernel, shape, read: readOf(y, kernel), ...(macs && { macs }), ...(most && { most }) };
}

/** BERT's ops at the shapes of two models. */
async function products(): Promise<string> {
  const peak = await peaks();
  const works: Work[] = [];
  for (const [model, { hidden, intermediate, heads }] of Object.entries(SHAPES)) {
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
      works.push(await work(OPS.linear, inputs, shape, macs, peak.float32));
      const weight = quantizeWeight(inputs.weight, 'torch');
      works.push(await work(OPS.linearInt8, { ...inputs, weight }, shape, macs, peak[device.choice.int8]));
    }
    const qkv = normal([TOKENS, 3 * hidden], 1);
    const macs = 2 * TOKENS * TOKENS * hidden;
    works.push(await work(OPS.attention, { qkv, heads }, `${model}, ${heads} heads`, macs, peak.float32));
    const x = normal([TOKENS, hidden], 2);
    const norm = { gamma: normal([hidden], 3), beta: normal([hidden], 4), eps: 1e-12 };
    works.push(await work(OPS.layerNorm, { x, residual: x, ...norm }, `${model}, ${TOKENS} x ${hidden}`));
  }
  const times = await medians(works.map(({ read }) => read));
  const rows = works.map(({ kernel, shape, macs, most }, i) => {
    const rate = macs && macs / times[i]! / 1e6;
    const share = rate ? [rate.toFixed(1), `${((100 * rate) / most!).toFixed(0)} %`] : ['', ''];
    return [kernel, shape, (1000 * times[i]!).toFixed(0), ...share];
  });
  const rates = Object.entries(peak).map(([name, rate]) => `${name} ${rate.toFixed(1)}`);
  const table = markdown(['kernel', 'shape', 'median us', 'GMAC/s', 'of the peak'], rows);
  return `Registers only, GMAC/s: ${rates.join(', ')}\n\n${table}`;
}

/** The ops of heads and of one's own models, as a share of the machine's copy bandwidth. */
async function generalOps(): Promise<string> {
  const [rows, columns] = [4096, 1024];
  const bytes = rows * columns * 4;
  const { data } = normal([rows, columns], 1);
  const tensorOf = (height: number) =>
    runtime.tensor({ shape: [height, columns], data: data.subarray(0, height * columns) });
  const [x, other, row] = [rows, rows, 1].map(tensorOf) as [Tensor, Tensor, Tensor];
  const indices = Int32Array.from({ length: rows }, (_, i) => (i * 1667) % rows);
  const activation = (name: 'relu' | 'gelu' | 'tanh' | 'sigmoid'): [Tensor, number] => [runtime.activation(x, name), 2];
  /** For each op its result, and how often what it reads and writes has the bytes of x. */
  const ops: Record<string, [y: Tensor, times: number]> = {
    rows: [runtime.rows(x, indices), 2],
    add: [runtime.add(x, other), 3],
    'add, one row': [runtime.add(x, row), 2],
    mul: [runtime.mul(x, other), 3],
    relu: activation('relu'),
    gelu: activation('gelu'),
    tanh: activation('tanh'),
    sigmoid: activation('sigmoid'),
    softmax: [runtime.softmax(x), 2],
    mean: [runtime.mean(x), 1],
    transpose: [runtime.transpose(x), 2],
  };
  const to = new Float32Array(data.length);
  const reads = Object.values(ops).map(([y]) => readOf(y));
  const [copying, ...times] = (await medians([timed(() => to.set(data)), ...reads])) as [number, ...number[]];
  const most = (2 * bytes) / copying / 1e6;
  const table = Object.entries(ops).map(([name, [, parts]], i) => {
    const rate = (parts * bytes) / times[i]! / 1e6;
    return [name, (1000 * times[i]!).toFixed(0), rate.toFixed(1), `${((100 * rate) / most).toFixed(0)} %`];
  });
  const head = ['op', 'median us', 'GB/s', 'of copying'];
  return `${rows} x ${columns}, a copy of it: ${most.toFixed(1)} GB/s read and written\n\n${markdown(head, table)}`;
}

/** The rate of matmul, both of whose factors are results, as a share of that of linear, whose weight is packed once. */
async function matmuls(): Promise<string> {
  const rows: string[][] = [];
  for (const [m, k, n] of [
    [512, 512, 512],
    [133, 384, 1536],
    [64, 64, 64],
  ] as const) {
    const [a, b] = [runtime.tensor(normal([m, k], 2)), runtime.tensor(normal([k, n], 3))];
    const layer = runtime.linearLayer(normal([n, k], 4));
    const products = [runtime.matmul(a, b), runtime.linear(a, layer)];
    const [matmul, linear] = (await medians(products.map((y) => readOf(y)))) as [number, number];
    const rates = [matmul, linear].map((milliseconds) => ((m * k * n) / milliseconds / 1e6).toFixed(1));
    rows.push([`${m} x ${k} x ${n}`, ...rates, `${((100 * linear) / matmul).toFixed(0)} %`]);
  }
  return markdown(['product', 'matmul, GMAC/s', 'linear', 'matmul of linear'], rows);
}

/** GMAC/s of loops over registers (peak.wasm.ts), each the best of many short runs. */
async function peaks() {
  let bytes = new Uint8Array();
  const options = '--outFile peak.wasm -O3 --noAssert --runtime stub --enable simd --enable relaxed-simd'.split(' ');
  const { error, stderr } = await asc([join(import.meta.dirname, 'peak.wasm.ts'), ...options], {
    writeFile: (_, contents) => {
      bytes = Uint8Array.from(contents as Uint8Array);
    },
  });
  if (error) throw new Error(`${error.message}\n${stderr}`);
  const module = await withV8Flags(true, async ({ bytesOf }) => WebAssembly.compile(bytesOf(bytes)));
  const { exports } = await WebAssembly.instantiate(module, { env: { abort() {} } });
  /** `macs` of a round. */
  const rate = (name: string, macs: number) => {
    const run = exports[name] as (at: number, rounds: number) => void;
    let best = 0;
    for (let i = 0; i < 400; i++) {
      const begin = performance.now();
      run(1024, 20_000);
      best = Math.max(best, (20_000 * macs) / (performance.now() - begin) / 1e6);
    }
    return best;
  };
  const relaxed = rate('relaxed', 24 * 16);
  const [grouped, int16, float32] = [rate('grouped', 48 * 16), rate('int16', 24 * 8), rate('float32', 24 * 4)];
  return { relaxed, signed: relaxed, grouped, int16, float32 }; // signed has the same instruction
}

console.log(`${cpus()[0]!.model}, Node ${process.version}, one thread; ${kernels}`);
for (const table of [products, generalOps, matmuls]) console.log(`${await table()}\n`);
await device.dispose();
