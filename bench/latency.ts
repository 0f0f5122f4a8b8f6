/** Time of one forward on the CPU backend, and of its stages. `npm run bench:latency -- --help` */
import { cpus } from 'node:os';
import { Command, Option } from 'commander';
import { Bench } from 'tinybench';
import { randomBert, SHAPES } from './model.ts';

const list = (text: string) => text.split(',').map(Number);
const options = new Command('latency')
  .addOption(
    new Option('--shape <name>', 'seeded random weights of this shape')
      .choices(Object.keys(SHAPES))
      .default('bert-base-cased'),
  )
  .option('--tokens <list>', 'lengths', list, [16, 133, 384])
  .option('--threads <list>', 'numbers of threads', list, [1, 2])
  .option('--narrow', "leave V8's revectorizer off")
  .option('--dtypes <list>', 'fp32, int8', 'fp32,int8')
  .parse()
  .opts<{ shape: string; tokens: number[]; threads: number[]; narrow?: boolean; dtypes: string }>();

console.log(`${options.shape}'s shape, ${cpus()[0]!.model}, Node ${process.version}\n`);
console.log(
  '| dtype | tokens | threads | median ms | p99 ms | stages, mean ms | not in products |\n|---|---|---|---|---|---|---|',
);
let kernels = '';
for (const dtype of options.dtypes.split(',') as ('fp32' | 'int8')[]) {
  for (const threads of options.threads) {
    const model = await randomBert(SHAPES[options.shape]!, dtype, { threads, wideSimd: !options.narrow });
    kernels = model.kernels;
    for (const tokens of options.tokens) {
      for (let i = 0; i < 5; i++) await model.forward(tokens);
      const { milliseconds } = model.backend;
      for (const stage of Object.keys(milliseconds) as (keyof typeof milliseconds)[]) delete milliseconds[stage];
      const bench = new Bench({ time: 2000, iterations: 10, warmup: false });
      bench.add('forward', () => model.forward(tokens));
      const [task] = await bench.run();
      const { result } = task!;
      if (result.state !== 'completed') throw new Error(`${dtype}, ${tokens} tokens: ${result.state}`);
      const runs = result.latency.samplesCount;
      const stages = Object.entries(milliseconds).map(([name, ms]) => [name, ms / runs] as const);
      const all = stages.reduce((sum, [, ms]) => sum + ms, 0);
      const products = stages.reduce((sum, [name, ms]) => sum + (name.startsWith('linear') ? ms : 0), 0);
      const shown = stages.map(([name, ms]) => `${name} ${ms.toFixed(2)}`).join(', ');
      const { p50, p99 } = result.latency;
      const share = `${((1 - products / all) * 100).toFixed(0)} %`;
      console.log(
        `| ${dtype} | ${tokens} | ${threads} | ${p50.toFixed(2)} | ${p99.toFixed(2)} | ${shown} | ${share} |`,
      );
    }
    await model.backend.dispose();
  }
}
console.log(`\nKernels: ${kernels}. Attention as a whole counts as "not in products".`);
