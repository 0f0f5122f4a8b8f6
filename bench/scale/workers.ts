/** One model of n threads and n models of one thread answer the same questions of SQuAD on n cores, in turns. README.md */
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { type Environment, environment } from '../environment.ts';
import { median } from '../measure.ts';
import { Pool } from '../pool.ts';
import { type Question, readSquad, sample } from '../squad/dataset.ts';

/** The result file. */
export interface Workers {
  version: 1;
  environment: Environment;
  model: string;
  questions: number;
  compared: { workers: number; threads: number; questionsPerSecond: number; cpuMillisecondsPerQuestion: number }[];
  /** Of the turns: how many times as fast n models are. What else the machine does in a turn shows in few of them. */
  medianRatio: number;
}

const TURN = 20;
const command = new Command('workers')
  .argument('<squad>', 'a file of SQuAD')
  .option('--questions <n>', 'only so many', Number, 600)
  .option('--json <file>', 'write the results there')
  .parse();
const options = command.opts<{ questions: number; json?: string }>();
const questions = sample((await readSquad(command.args[0]!)).questions, options.questions, 1);
const begun = environment();
const cores = availableParallelism();
const model = 'minilm-l6-qa';

const load = async (workers: number, threads: number) => {
  const pool = await Pool.load(join(import.meta.dirname, '../../weights', model), {
    workers,
    threads,
    scheme: 'torch',
  });
  return { workers, threads, pool, milliseconds: [] as number[], cpu: 0 };
};
const shapes = [await load(1, cores), await load(cores, 1)];
const turn = (pool: Pool, some: readonly Question[]) =>
  Promise.all(some.map(({ question, context }) => pool.use((qa) => qa.answer({ question, context }))));
for (const { pool } of shapes) await turn(pool, questions.slice(0, TURN));
for (let begin = 0; begin < questions.length; begin += TURN) {
  for (const shape of begin % (2 * TURN) === 0 ? shapes : shapes.toReversed()) {
    const [before, start] = [process.cpuUsage(), performance.now()];
    await turn(shape.pool, questions.slice(begin, begin + TURN));
    shape.milliseconds.push(performance.now() - start);
    const { user, system } = process.cpuUsage(before);
    shape.cpu += (user + system) / 1000;
  }
}
for (const { pool } of shapes) await pool.dispose();

const compared = shapes.map(({ workers, threads, milliseconds, cpu }) => {
  const seconds = milliseconds.reduce((sum, value) => sum + value, 0) / 1000;
  const count = questions.length;
  return { workers, threads, questionsPerSecond: count / seconds, cpuMillisecondsPerQuestion: cpu / count };
});
const ratios = shapes[0]!.milliseconds.map((one, i) => one / shapes[1]!.milliseconds[i]!);
const medianRatio = median(ratios);
const result: Workers = { version: 1, environment: begun, model, questions: questions.length, compared, medianRatio };
const text = JSON.stringify(result, null, 2);
console.log(text);
if (options.json) writeFileSync(options.json, `${text}\n`);
