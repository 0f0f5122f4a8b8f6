/** bertlet and its peers answer the same questions of SQuAD, in turns: figures and speed of all. README.md */
import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { environment } from '../environment.ts';
import { answerable, readSquad, sample } from '../squad/dataset.ts';
import { type Answered, Predictions } from '../squad/predictions.ts';
import { type Answerer, headerOf, identify, resultsOf, takeTurns, WINDOWS } from '../squad/run.ts';
import { MODEL, type Options, programsOf } from './engines.ts';
import { type Squad, squadText } from './result.ts';

const command = new Command('squad')
  .argument('<squad>', 'a file of SQuAD 2.0')
  .argument('[dir]', 'where setup.sh installed the peers; without it bertlet is alone')
  .option('--questions <n>', 'only so many', Number, Infinity)
  .option('--threads <n>', 'threads of each engine', Number, 2)
  .option('--predictions <file>', 'keep each answer there; run again to go on where it was stopped')
  .option('--only <names>', 'engines by parts of their names')
  .option('--json <file>', 'write the results there')
  .parse();
const [file, dir] = command.processedArgs as [string, string | undefined];
const options = command.opts<
  Pick<Options, 'threads' | 'only'> & Partial<Record<'predictions' | 'json', string>> & { questions: number }
>();
const { threads, only } = options;
const begun = environment(); // with the load before these processes make their own
const dataset = await readSquad(file);
const questions = sample(dataset.questions, options.questions, 1);
const withAnswer = answerable({ ...dataset, questions }).questions;

const programs = programsOf('answers', { dir, threads, only, tokens: 0, model: MODEL, checkout: [] });
const running = await Promise.all(programs.map(({ start }) => start()));
/** Windows and answers as in Hugging Face's run_qa.py; the threshold of "no answer" is put to the scores afterwards. */
const windows = { ...WINDOWS, nullThreshold: Number.MAX_VALUE };
const answerers = running.map(({ hello, child }, i): Answerer => {
  const answer = async ({ question, context }: { question: string; context: string }): Promise<Answered> => {
    const asked = JSON.stringify({ question, context, ...windows, times: 1 });
    const { times, ...said } = await child.ask<Answered & { times: [number] }>(asked);
    return { ...{ noAnswerScore: 0, windows: 1 }, ...said, milliseconds: times[0] };
  };
  return { name: `${hello.engine} ${hello.version} ${hello.dtype} ${i}`, answer };
});
const { name, sha256 } = dataset;
const model = await identify(MODEL, MODEL);
const predictions = new Predictions(options.predictions, headerOf(dataset, model));
await takeTurns(answerers, questions, predictions);
predictions.close();
await Promise.all(running.map(({ child }) => child.end()));

const names = answerers.map((answerer) => answerer.name);
const hasScore = running.map(({ hello }) => hello.engine !== 'transformers.js');
const [two, one] = (['2.0', '1.1'] as const).map((format) => {
  const some = format === '2.0' ? names.filter((_, i) => hasScore[i]) : names;
  const results = resultsOf(some, format === '2.0' ? questions : withAnswer, predictions, {
    format,
    threshold: 0,
    seed: 1,
  });
  return new Map(results.map((result) => [result.name, result]));
}) as [Map<string, Squad['engines'][0]['one']>, Map<string, Squad['engines'][0]['one']>];
const engines = running.map(({ hello: { start: _, again: __, ...about } }, i) => ({
  ...about,
  ...{ two: two.get(names[i]!) ?? null, one: one.get(names[i]!)! },
}));
const asked = { name, sha256, questions: questions.length, answerable: withAnswer.length };
const result: Squad = { environment: begun, dataset: asked, model: model.name, threads, engines };
console.log(squadText(result));
if (options.json) writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
