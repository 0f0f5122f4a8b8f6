/**
 * The figures of docs/results.md and README, from the result files of bench/results, and the table of ops: what
 * `npm run docs` writes between `<!-- results NAME -->` and `<!-- /results -->`. bench/results/README.md says what made each
 * file.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { markdown as table } from '../bench/columns.ts';
import { comparedText, type Peers, peersText, type Squad, squadText } from '../bench/peers/result.ts';
import type { Point, Result } from '../bench/result.ts';
import { COLUMNS, cells, environmentRows, LEGEND, shown, skippedLines } from '../bench/text.ts';
import { ladderText } from './ladder.ts';
import { opTable } from './opTable.ts';

const FOLDER = join(import.meta.dirname, '..', 'bench', 'results');
const read = <T>(name: string): T => JSON.parse(readFileSync(join(FOLDER, `${name}.json`), 'utf8')) as T;

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

/** F1 of the int8 schemes as a share of float32's, which MLPerf asks to be 99 %. */
function share(): string {
  const { engines } = read<Squad>('peers-squad');
  const f1 = (dtype: string) =>
    engines.find((each) => each.engine === 'bertlet' && each.dtype === dtype)!.two!.figures.f1;
  const part = (scheme: string) => `${((100 * f1(`int8 ${scheme}`)) / f1('fp32')).toFixed(2)} %`;
  return `F1 of int8 \`torch\` is ${part('torch')} of float32's, of \`accurate\` ${part('accurate')}.`;
}

/** Hours of 10^9 questions at the rate of one process. */
function scaleCost(): string {
  const { environment, engines } = read<Squad>('peers-squad');
  const { two } = engines.find(({ engine, dtype }) => engine === 'bertlet' && dtype === 'int8 torch')!;
  const rate = two!.questionsPerSecond / environment.cores;
  const hours = 1e9 / rate / 3600;
  return (
    `int8 \`torch\` answers ${rate.toFixed(1)} questions of SQuAD a second and core, so 10^9 take ${hours.toFixed(0)} hours of a core, ` +
    `${(hours / 1000).toFixed(1)} hours of 1,000 cores.`
  );
}

const peers = (name: string) => () => peersText(read<Peers>(`peers-${name}`));
const printed = (name: string) => () => readFileSync(join(FOLDER, `${name}.md`), 'utf8').trim();
/** The text of a program that prints no Markdown; its first line is about the machine. */
const fenced = (name: string) => () => printed(name)().replace(/\n+(.*)/s, '\n\n```\n$1\n```');
const BLOCKS: Record<string, () => string> = {
  latency: () => latency('bench'),
  'bert-base-cased': () => latency('bench-bert-base-cased'),
  tokens: () => growth('tokens'),
  threads: () => growth('threads'),
  ...{ stages, share, 'scale-cost': scaleCost },
  ...{ peers: peers('forward'), answers: peers('answers'), page: peers('page') },
  accuracy: () => squadText(read<Squad>('peers-squad')),
  compared: () => comparedText(read<Peers>('peers-answers'), read<Squad>('peers-squad')),
  ...Object.fromEntries(['contention', 'memory', 'batch', 'rates'].map((name) => [name, printed(name)])),
  ...Object.fromEntries(['documents', 'documents-moved', 'answers-at-once'].map((name) => [name, fenced(name)])),
  ops: opTable,
  ladder: ladderText,
};

/** A document with its results as the files of bench/results have them. */
export const withResults = (document: string): string =>
  document.replace(
    /<!-- results (\S+) -->\n.*?<!-- \/results -->/gs,
    (_, name: string) => `<!-- results ${name} -->\n${BLOCKS[name]!()}\n<!-- /results -->`,
  );
