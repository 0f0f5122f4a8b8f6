/**
 * The figures of docs/results.md and README, from the result files of bench/results, and the table of ops: what
 * `npm run docs` writes between `<!-- results NAME -->` and `<!-- /results -->`. bench/results/README.md says what made each
 * file.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Contention } from '../bench/contention.ts';
import { machine } from '../bench/environment.ts';
import type { Peers } from '../bench/peers/run.ts';
import type { Point, Result } from '../bench/result.ts';
import type { Scale } from '../bench/scale/run.ts';
import type { Workers } from '../bench/scale/workers.ts';
import type { Result as Evaluated, Evaluation } from '../bench/squad/run.ts';
import { COLUMNS, cells, environmentRows, LEGEND, shown, skippedLines } from '../bench/text.ts';
import { ladderText } from './ladder.ts';
import { opTable } from './opTable.ts';

const FOLDER = join(import.meta.dirname, '..', 'bench', 'results');
const read = <T>(name: string): T => JSON.parse(readFileSync(join(FOLDER, `${name}.json`), 'utf8')) as T;

/** Markdown; all columns but the first to the right. */
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map((_, i) => (i ? '--:' : '---')), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

const latency = (name: string): string => {
  const result = read<Result>(name);
  const list = environmentRows(result).map(([what, value]) => `- ${what}: ${value}`);
  return [...list, '', table(COLUMNS, result.benchmarks.map(cells)), '', ...skippedLines(result), LEGEND].join('\n');
};

/** Medians: a row for each length or number of threads, a column for each variant. */
function growth(what: 'tokens' | 'threads'): string {
  const { sweeps } = read<Result>('bench');
  const points: Point[] = sweeps![what];
  const names = [...new Set(points.map(({ name }) => name))];
  const rows = [...new Set(points.map((point) => point[what]!))].map((value) => [
    String(value),
    ...names.map((name) => {
      const point = points.find((each) => each.name === name && each[what] === value);
      return point ? shown(point.latency.p50 * 1000) : '';
    }),
  ]);
  return table([what, ...names.map((name) => `${name}, p50 ms`)], rows);
}

function stages(): string {
  const { stages } = read<Result>('bench');
  const kinds = [...new Set(stages!.flatMap(({ milliseconds }) => Object.keys(milliseconds)))];
  const rows = stages!.map(({ name, tokens, milliseconds }) => [
    `${name}, ${tokens} tokens`,
    ...kinds.map((kind) => (milliseconds[kind] === undefined ? '' : milliseconds[kind].toFixed(2))),
  ]);
  return table(['mean ms', ...kinds], rows);
}

const points = (value: number | undefined) => value?.toFixed(2) ?? '';

function accuracy(): string {
  const { environment, dataset, model, variants } = read<Evaluation>('evaluate');
  const one = read<Evaluation>('evaluate-squad1');
  const peers = read<Evaluation>('peers-squad');
  const torch = peers.variants.filter(({ name }) => name.startsWith('PyTorch'));
  const interval = (d: Evaluated['difference']) => (d ? `${points(d.f1)} (${points(d.low)} to ${points(d.high)})` : '');
  const rows = [...variants, ...torch].map(({ name, figures: f, difference }) => [
    ...[name, points(f.exact), points(f.f1), points(f.HasAns_exact), points(f.HasAns_f1), points(f.NoAns_f1)],
    `${points(f.best_f1)} at ${points(f.best_f1_thresh)}`,
    interval(difference),
  ]);
  const head = ['SQuAD 2.0', 'EM', 'F1', 'HasAns EM', 'HasAns F1', 'NoAns', 'best F1', 'F1 less fp32, 95 % interval'];
  const rows1 = one.variants.map(({ name, figures: f, difference }) => [
    ...[name, points(f.exact), points(f.f1), interval(difference)],
  ]);
  return [
    `${model.name} on ${dataset.questions} questions of ${dataset.name}; ${machine(environment)}`,
    table(head, rows),
    `Those of them that have an answer, ${one.dataset.questions}, as SQuAD 1.1; ${machine(one.environment)}`,
    table(['SQuAD 1.1', 'EM', 'F1', 'F1 less fp32, 95 % interval'], rows1),
  ].join('\n\n');
}

/** F1 of the int8 schemes as a share of float32's, which MLPerf asks to be 99 %. */
function share(): string {
  const { variants } = read<Evaluation>('evaluate');
  const f1 = (name: string) => variants.find((each) => each.name === name)!.figures.f1;
  const part = (scheme: string) => `${((100 * f1(`cpu int8 ${scheme}`)) / f1('cpu fp32')).toFixed(2)} %`;
  return `F1 of int8 \`torch\` is ${part('torch')} of float32's, of \`accurate\` ${part('accurate')}.`;
}

function speed(): string {
  const { environment, dataset, variants } = read<Evaluation>('peers-squad');
  const rows = variants.map(({ name, questionsPerSecond, ratio }) => [
    name,
    questionsPerSecond.toFixed(1),
    ratio!.toFixed(2),
  ]);
  const head = ['engine', 'questions/s', 'x PyTorch of its dtype'];
  return `${dataset.questions} questions, 2 threads each; ${machine(environment)}\n\n${table(head, rows)}`;
}

function peers(name = 'peers'): string {
  const { environment, shape, tokens, threads, engines } = read<Peers>(name);
  const rows = engines.map(({ name, median, best, ratio }) => [
    name,
    median.toFixed(1),
    best.toFixed(1),
    ratio.toFixed(2),
  ]);
  const about = `${shape}, ${tokens} tokens, ${threads} threads; ${machine(environment)}`;
  return `${about}\n\n${table(['engine', 'median ms', 'min ms', 'bertlet / it'], rows)}`;
}

/** Medians and longest next to busy processes, and the delay of the caller's events. */
function contention(): string {
  const { environment, forwards, answers, crowded, delays } = read<Contention>('contention');
  const rows = crowded.map(({ beside, tokens, threads, median, longest }) => [
    ...[String(beside), String(tokens), String(threads), shown(median), shown(longest)],
  ]);
  const late = delays.map(({ threads, p99, longest }) => [String(threads), shown(p99), shown(longest)]);
  return [
    `${forwards} forwards of each, in turns; ${machine(environment)}`,
    table(['busy processes beside', 'tokens', 'threads', 'median ms', 'longest ms'], rows),
    `Delay of the caller's event loop while ${answers} answers are queued:`,
    table(['threads', 'p99 ms', 'longest ms'], late),
  ].join('\n\n');
}

/** A label of bench/peers without its kernels and versions. */
const engineOf = (label: string) => label.replace(/ \(.*?\)/, '').replace(/ \d+(\.[\w+]+)+/, '');

/** README's table: every engine as it comes, whatever was measured of it. The first row is what `load` gives by default. */
function defaults(): string {
  const [whole, base] = [read<Peers>('peers-answers'), read<Peers>('peers')];
  const two = [...read<Evaluation>('evaluate').variants, ...read<Evaluation>('peers-squad').variants];
  const one = read<Evaluation>('evaluate-squad1').variants;
  /** The name that the files of SQuAD have for an engine. */
  const evaluated = (name: string) => name.replace(/^bertlet, /, 'cpu ').replace(/^PyTorch, /, 'PyTorch ');
  const engines = whole.engines.map((engine) => ({ name: engineOf(engine.name), median: engine.median }));
  const others = base.engines.flatMap(({ name }) =>
    /^onnx/.test(name) ? [{ name: engineOf(name), median: null }] : [],
  );
  /** Random weights have no scheme of their own: int8 alone is `torch`. PyTorch's engine by default is x86. */
  const inBase = (name: string) =>
    base.engines.find((each) => {
      const label = engineOf(each.name);
      return [label, label.replace(/^(bertlet, int8)$/, '$1 torch'), label.replace(/ x86$/, '')].includes(name);
    });
  const figure = (variants: Evaluation['variants'], name: string) =>
    variants.find((each) => engineOf(each.name) === evaluated(name))?.figures;
  const isDefault = (name: string) => name === 'bertlet, int8 accurate';
  const rows = [...engines, ...others.filter(({ name }) => !engines.some((engine) => engine.name === name))]
    .sort((a, b) => Number(isDefault(b.name)) - Number(isDefault(a.name)))
    .map(({ name, median }) => [
      isDefault(name) ? `**${name}**, the default` : name,
      median?.toFixed(1) ?? '',
      inBase(name)?.median.toFixed(1) ?? '',
      ...[points(figure(two, name)?.exact), points(figure(two, name)?.f1), points(figure(one, name)?.f1)],
    ]);
  const head = ['engine', 'an answer, ms', 'base, ms', 'EM 2.0', 'F1 2.0', 'F1 1.1'];
  const versions = [...whole.engines, ...base.engines].flatMap(
    ({ name }) => /^(?!bertlet)\S+ [\d.+a-z]+/.exec(name) ?? [],
  );
  const made = `An answer: ${machine(whole.environment)}. base: ${machine(base.environment)}. ${[...new Set(versions)].join(', ')}.`;
  return `${table(head, rows)}\n\n${made}`;
}

function scaleWorkers(): string {
  const { environment, model, questions, compared, medianRatio } = read<Workers>('scale-workers');
  const rows = compared.map(({ workers, threads, questionsPerSecond, cpuMillisecondsPerQuestion }) => [
    `--workers ${workers} --threads ${threads}`,
    questionsPerSecond.toFixed(1),
    cpuMillisecondsPerQuestion.toFixed(1),
  ]);
  const ratio = `In the median of the turns, ${compared[1]!.workers} workers are ${medianRatio.toFixed(2)} times as fast.`;
  const head = ['int8 torch', 'questions/s', 'CPU ms a question'];
  return `${questions} questions, ${model}; ${machine(environment)}\n\n${table(head, rows)}\n\n${ratio}`;
}

function scale(): string {
  const { environment, versions, model, lines, startSeconds, runs } = read<Scale>('scale');
  const rows = runs.map(({ name, seconds, linesPerSecond, equal, spark }) => [
    name,
    seconds.toFixed(1),
    linesPerSecond.toFixed(1),
    equal ? 'all' : '**not all**',
    spark ? spark.startSeconds.toFixed(1) : '',
    spark?.killed ? `after ${spark.killed.afterTasks} of ${spark.partitions} tasks` : '',
  ]);
  const spark = runs.find((run) => run.spark)?.spark;
  const tools = [...Object.values(versions), spark && `Spark ${spark.spark}, Java ${spark.java}`].filter(Boolean);
  const about = `${lines} lines of about 25 tokens, ${model}, int8 torch; one filter starts in ${startSeconds.toFixed(2)} s`;
  const head = ['by', 'seconds', 'lines/s', 'lines equal', 'Spark is up after, s', 'executor killed'];
  return `${about}; ${tools.join(', ')}; ${machine(environment)}\n\n${table(head, rows)}`;
}

/** 10^9 questions at the rates of one process, and what share of its time a filter's start is. */
function scaleCost(): string {
  const { environment, lines, startSeconds, runs } = read<Scale>('scale');
  const { compared } = read<Workers>('scale-workers');
  const { cores } = environment;
  const short = lines / (runs[0]!.seconds - startSeconds) / cores;
  const squad = compared.at(-1)!.questionsPerSecond / cores;
  const cost = (name: string, rate: number) => {
    const hours = 1e9 / rate / 3600;
    const start = (startSeconds / (startSeconds + 10_000 / rate)) * 100;
    return [name, rate.toFixed(1), hours.toFixed(0), (hours / 1000).toFixed(1), `${start.toFixed(1)} %`];
  };
  const head = [
    'questions',
    'a second and core',
    'hours of a core',
    'hours of 1,000 cores',
    'start, at 10,000 a partition',
  ];
  return table(head, [cost('these lines, about 25 tokens', short), cost('of SQuAD', squad)]);
}

const BLOCKS: Record<string, () => string> = {
  latency: () => latency('bench'),
  'bert-base-cased': () => latency('bench-bert-base-cased'),
  tokens: () => growth('tokens'),
  threads: () => growth('threads'),
  ...{ stages, accuracy, share, speed, contention, defaults },
  ...{ scale, 'scale-workers': scaleWorkers, 'scale-cost': scaleCost },
  peers: () => peers(),
  answers: () => peers('peers-answers'),
  page: () => peers('peers-page'),
  ops: opTable,
  ladder: ladderText,
};

/** A document with its results as the files of bench/results have them. */
export const withResults = (document: string): string =>
  document.replace(
    /<!-- results (\S+) -->\n.*?<!-- \/results -->/gs,
    (_, name: string) => `<!-- results ${name} -->\n${BLOCKS[name]!()}\n<!-- /results -->`,
  );
