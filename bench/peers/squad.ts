/** bertlet and PyTorch answer the same questions of SQuAD in turns: speed and figures of both. README.md */
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { modelOption, positive } from '../../programs/options.ts';
import { writeWhole } from '../../programs/write.ts';
import { environment as environmentNow } from '../environment.ts';
import { readSquad, sample } from '../squad/dataset.ts';
import { type Answered, type Header, Predictions } from '../squad/predictions.ts';
import {
  type Answerer,
  type Evaluation,
  identify,
  loadVariant,
  resultsOf,
  takeTurns,
  variantsOf,
  WINDOWS,
} from '../squad/run.ts';
import { startChild } from '../turns.ts';

const command = new Command('squad')
  .argument('<dir>', 'where setup.sh installed the peers')
  .argument('<squad>', 'a file of SQuAD')
  .addOption(modelOption())
  .option('--questions <n>', 'only so many', positive)
  .option('--threads <n>', 'threads of each engine', positive, 2)
  .option('--predictions <file>', 'keep each answer there; run again to go on where it was stopped')
  .option('--json <file>', 'write the results there')
  .parse();
const options = command.opts<{
  model: string;
  questions?: number;
  threads: number;
  predictions?: string;
  json?: string;
}>();
const [dir, file] = command.args.map((path) => resolve(path)) as [string, string];
const { threads } = options;
const dataset = await readSquad(file);
const questions = sample(dataset.questions, options.questions ?? dataset.questions.length, 1);

const begun = environmentNow(); // with the load before these processes make their own
const python = [join(import.meta.dirname, 'torch_squad.py'), file, options.model, `${threads}`];
const child = startChild('torch_squad.py', join(dir, 'venv/bin/python'), python);
const torch = await child.next<{ name: string; dtypes: string[] }>();
const index = new Map(dataset.questions.map(({ id }, i) => [id, i]));
const peers = torch.dtypes.map((dtype): Answerer => {
  const answer = ({ id }: { id: string }) => child.ask<Answered>(`${dtype} ${index.get(id)}`);
  return { name: `${torch.name} ${dtype}`, answer };
});
const own = [];
for (const variant of variantsOf(['cpu'], ['int8', 'fp32'], ['torch', 'accurate'])) {
  own.push(await loadVariant(options.model, variant, { workers: 1, threads }));
}

const answerers: Answerer[] = [...own, ...peers];
const { name, sha256 } = dataset;
const model = await identify(options.model, options.model);
const header: Header = { version: 1, dataset: { name, sha256 }, model, options: WINDOWS };
const predictions = new Predictions(options.predictions, header);
await takeTurns(answerers, questions, predictions);
predictions.close();
await child.end();
for (const { dispose } of own) await dispose();

const names = answerers.map((answerer) => answerer.name);
const results = resultsOf(names, questions, predictions, { ...dataset, threshold: 0, seed: 1 });
const speed = (dtype: string) => results.find((result) => result.name === `${torch.name} ${dtype}`)!.questionsPerSecond;
console.log(
  `${name}, ${questions.length} questions; ${model.name}, ${threads} threads, ${begun.cpu}, Node ${begun.node}`,
);
console.log(`${own[0]!.info.kernels}\n`);
console.log('| engine | questions/s | it / PyTorch of its dtype | EM | F1 | best F1 |\n|---|---|---|---|---|---|');
const variants = results.map((result) => {
  const ratio = result.questionsPerSecond / speed(result.name.includes('int8') ? 'int8' : 'fp32');
  const { exact, f1, best_f1: best } = result.figures;
  const cells = [result.questionsPerSecond.toFixed(1), ratio.toFixed(2), exact.toFixed(2), f1.toFixed(2)];
  console.log(`| ${[result.name, ...cells, best?.toFixed(2) ?? ''].join(' | ')} |`);
  return { ...result, ratio };
});
if (options.json) {
  const environment = { ...begun, torch: torch.name, kernels: own[0]!.info.kernels, threads };
  const of = dataset.questions.length;
  const asked = { name, sha256, format: dataset.format, questions: questions.length, of, seed: 1 };
  const report: Evaluation = { version: 1, environment, dataset: asked, model, variants };
  await writeWhole(options.json, `${JSON.stringify(report, null, 2)}\n`);
}
