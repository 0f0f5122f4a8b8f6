/** Time of one forward on a device, and of its stages. `npm run bench:latency -- --help` */
import { cpus } from 'node:os';
import { Command, Option } from 'commander';
import { Bench } from 'tinybench';
import { startCpu } from '../src/devices/cpu/start.ts';
import { startWebgpu } from '../src/devices/webgpu/start.ts';
import type { Device } from '../src/tensor.ts';
import { forwardOf, randomWeights } from './model.ts';
import { SHAPES } from './shapes.ts';

type Dtype = 'fp32' | 'fp16' | 'int8';
const numbers = (text: string) => text.split(',').map(Number);
const options = new Command('latency')
  .addOption(new Option('--device <name>').choices(['cpu', 'webgpu']).default('cpu'))
  .addOption(
    new Option('--shape <name>', 'seeded random weights of this shape')
      .choices(Object.keys(SHAPES))
      .default('bert-base-cased'),
  )
  .option('--tokens <list>', 'lengths', numbers, [16, 133, 384])
  .option('--dtypes <list>', 'fp32, fp16 (webgpu), int8; default all the device has', (text) => text.split(','))
  .option('--seconds <n>', 'least time for each row', Number, 2)
  .option('--threads <list>', 'cpu: numbers of threads', numbers, [1, 2])
  .option('--narrow', "cpu: leave V8's revectorizer off")
  .parse()
  .opts();
const config = SHAPES[options.shape]!;
const dtypes: Dtype[] = options.dtypes ?? (options.device === 'cpu' ? ['fp32', 'int8'] : ['fp32', 'fp16', 'int8']);

/** A device that takes the time of its kernels. */
type Timed = Device & { milliseconds: Readonly<Partial<Record<string, number>>> };
/** A device with the model on it. */
interface Model {
  readonly device: Timed;
  readonly forward: (tokens: number) => Promise<Float32Array>;
}
function model(device: Timed, dtype: Dtype): Model {
  const forward = forwardOf(device, config, randomWeights(config, dtype === 'int8' ? 'torch' : dtype));
  return { device, forward };
}

/** Wall time of forwards to the logits read back, after some that are not counted. */
async function wall({ forward }: Model, tokens: number) {
  for (let i = 0; i < 5; i++) await forward(tokens);
  const bench = new Bench({ time: options.seconds * 1000, iterations: 10, warmup: false });
  bench.add('forward', () => forward(tokens), { async: true }); // else it calls it once to see, and does not wait
  const [task] = await bench.run();
  const { result } = task!;
  if (result.state !== 'completed') throw new Error(`${tokens} tokens: ${result.state}`);
  return result.latency;
}

/** Mean time of each stage of one forward. */
async function stages({ device, forward }: Model, tokens: number, runs: number): Promise<[string, number][]> {
  await forward(tokens);
  const before = { ...device.milliseconds };
  for (let i = 0; i < runs; i++) await forward(tokens);
  const used = Object.entries(device.milliseconds).map(([name, ms = 0]) => [name, ms - (before[name] ?? 0)] as const);
  return used.filter(([, ms]) => ms > 0).map(([name, ms]) => [name, ms / runs]);
}

const shown = (times: [string, number][]) => times.map(([name, ms]) => `${name} ${ms.toFixed(2)}`).join(', ');
const row = (...cells: (string | number)[]) => console.log(`| ${cells.join(' | ')} |`);
const header = (...cells: string[]) => {
  row(...cells);
  row(...cells.map(() => '---'));
};
/** Floating point operations of the linears of one forward. */
const flops = (tokens: number) =>
  2 * tokens * config.layers * config.hidden * (4 * config.hidden + 2 * config.intermediate);

async function onCpu(): Promise<void> {
  console.log(`${options.shape}'s shape, ${cpus()[0]!.model}, Node ${process.version}\n`);
  header('dtype', 'tokens', 'threads', 'median ms', 'p99 ms', 'stages, mean ms', 'not in products');
  let kernels = '';
  for (const dtype of dtypes) {
    for (const threads of options.threads as number[]) {
      const started = await startCpu({ threads, wideSimd: !options.narrow });
      const cpu = model(started.device, dtype);
      kernels = started.kernels;
      for (const tokens of options.tokens as number[]) {
        const { p50, p99 } = await wall(cpu, tokens);
        const times = await stages(cpu, tokens, 10);
        const sum = (part: typeof times) => part.reduce((total, [, ms]) => total + ms, 0);
        const products = sum(times.filter(([name]) => name.startsWith('linear'))) / sum(times);
        row(
          dtype,
          tokens,
          threads,
          p50.toFixed(2),
          p99.toFixed(2),
          shown(times),
          `${((1 - products) * 100).toFixed(0)} %`,
        );
      }
      await cpu.device.dispose();
    }
  }
  console.log(`\nKernels: ${kernels}. Attention as a whole counts as "not in products".`);
}

async function onGpu(): Promise<void> {
  const { device, kernels } = await startWebgpu();
  console.log(
    `${options.shape}'s shape, ${device.adapter}; ${kernels}; Node ${process.version}, ${cpus()[0]!.model}\n`,
  );
  await device.dispose();
  header(
    'dtype',
    'tokens',
    'load ms',
    'first ms',
    'median ms',
    'p99 ms',
    'GPU MB',
    'GPU, mean ms by kernel',
    'linears, GFLOP/s',
  );
  for (const dtype of dtypes) {
    const begin = performance.now();
    const started = await startWebgpu();
    const gpu = model(started.device, dtype);
    const loaded = performance.now();
    await gpu.forward(options.tokens[0]);
    const first = performance.now();
    const profiled = await startWebgpu({ profile: true });
    const slow = model(profiled.device, dtype); // a pass for each dispatch: not what is timed as a whole
    for (const [i, tokens] of (options.tokens as number[]).entries()) {
      const { p50, p99 } = await wall(gpu, tokens);
      const times = await stages(slow, tokens, 3);
      const linears = times.filter(([name]) => name.startsWith('linear')).reduce((sum, [, ms]) => sum + ms, 0);
      const rate = linears > 0 ? (flops(tokens) / linears / 1e6).toFixed(1) : 'no timestamps';
      const cold = i === 0 ? [(loaded - begin).toFixed(0), (first - loaded).toFixed(1)] : ['', ''];
      const bytes = (started.device.bytes / 2 ** 20).toFixed(0);
      row(dtype, tokens, ...cold, p50.toFixed(2), p99.toFixed(2), bytes, shown(times), rate);
    }
    await started.device.dispose();
    await profiled.device.dispose();
  }
}

await (options.device === 'cpu' ? onCpu() : onGpu());
