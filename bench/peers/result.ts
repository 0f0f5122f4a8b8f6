/** The results of run.ts and squad.ts, and their tables: what both print, and what docs/results.md and README show. */
import { markdown } from '../columns.ts';
import { type Environment, machine } from '../environment.ts';
import type { Result } from '../squad/run.ts';
import type { Hello } from './engines.ts';

/** An engine's times in milliseconds. `ratio`: median of bertlet of the same dtype and place, divided by its own. */
export interface Timed extends Omit<Hello, 'start' | 'again'> {
  readonly median: number;
  readonly best: number;
  readonly ratio: number | null;
  readonly milliseconds: number[];
  /** Medians, and of each process. */
  readonly start: Hello['start'] & { readonly again: number | null };
  readonly starts: (Hello['start'] & { readonly again?: number | undefined })[];
}
export interface Peers {
  readonly environment: Environment;
  readonly what: string;
  readonly threads: number;
  readonly engines: Timed[];
  /** MB of 2^20 bytes that each takes where it is installed. */
  readonly installed: Record<string, number> | null;
}

/** An engine's figures on SQuAD. */
export interface Answerer extends Omit<Hello, 'start' | 'again'> {
  /** Figures of all questions, as SQuAD 2.0; null where an engine has no score of "no answer". */
  readonly two: Result | null;
  /** Figures of the questions that have an answer, as SQuAD 1.1; null where that was not asked for. */
  readonly one: Result | null;
}
export interface Squad {
  readonly environment: Environment;
  readonly dataset: {
    readonly name: string;
    readonly sha256: string;
    readonly questions: number;
    readonly answerable: number;
  };
  readonly model: string;
  readonly threads: number;
  readonly engines: Answerer[];
}

/** An engine by name, as a row calls it. */
export const label = ({ engine, version, dtype, place }: Omit<Hello, 'start'>): string =>
  `${engine}${engine === 'bertlet' ? '' : ` ${version}`}, ${dtype}${place ? `, ${place}` : ''}`;
/** The kernels of bertlet that int8 takes: of float32 they are the same. */
const kernelsOf = (engines: readonly Omit<Hello, 'start'>[]) =>
  engines.find(({ engine, dtype }) => engine === 'bertlet' && dtype !== 'fp32')?.kernels ?? '';

const startOf = ({ start }: Timed) =>
  [start.milliseconds, start.cpu, start.megabytes, start.again].map((value) => value?.toFixed(0) ?? '');

export function peersText({ environment, what, threads, engines, installed }: Peers): string {
  const rows = engines.map((each) => [
    label(each),
    ...[each.median, each.best].map((value) => value.toFixed(1)),
    each.ratio?.toFixed(2) ?? '',
    ...(installed ? startOf(each) : []),
  ]);
  const start = installed ? ['start, ms', 'start, CPU ms', 'peak MB', 'again, ms'] : [];
  const sizes = Object.entries(installed ?? {}).map(([name, size]) => `${name} ${size.toFixed(1)}`);
  return [
    `${what}, ${threads} threads; ${machine(environment)}; bertlet: ${kernelsOf(engines)}`,
    markdown(['engine', 'median ms', 'min ms', 'bertlet / it', ...start], rows),
    ...(sizes.length > 0 ? [`Installed, MB: ${sizes.join(', ')}`] : []),
  ].join('\n\n');
}

const points = (value: number | undefined) => value?.toFixed(2) ?? '';
const interval = ({ difference: d }: Result) => (d ? `${points(d.f1)} (${points(d.low)} to ${points(d.high)})` : '');

export function squadText({ environment, dataset, model, threads, engines }: Squad): string {
  const two = engines.flatMap(({ two, ...about }) => {
    if (!two) return [];
    const { figures: f, questionsPerSecond } = two;
    const figures = [f.exact, f.f1, f.HasAns_exact, f.HasAns_f1, f.NoAns_f1].map(points);
    const best = `${points(f.best_f1)} at ${points(f.best_f1_thresh)}`;
    return [[label(about), ...figures, best, interval(two), questionsPerSecond.toFixed(1)]];
  });
  const one = engines.flatMap(({ one, ...about }) => {
    if (!one) return [];
    const { figures: f, questionsPerSecond } = one;
    return [[label(about), points(f.exact), points(f.f1), interval(one), questionsPerSecond.toFixed(1)]];
  });
  const less = 'F1 less fp32, 95 % interval';
  const head = ['SQuAD 2.0', 'EM', 'F1', 'HasAns EM', 'HasAns F1', 'NoAns', 'best F1', less, 'questions/s'];
  return [
    `${model} on ${dataset.questions} questions of ${dataset.name}, ${threads} threads; ${machine(environment)}`,
    markdown(head, two),
    `The ${dataset.answerable} of them that have an answer, as SQuAD 1.1: the best span counts, whatever "no answer" has.`,
    markdown(['SQuAD 1.1', 'EM', 'F1', less, 'questions/s'], one),
  ].join('\n\n');
}

/** README's table: three engines, and no cell without a figure. bertlet's int8 is `accurate`, the default. */
export function comparedText({ environment, engines, installed }: Peers, squad: Squad): string {
  const names = ['bertlet', 'transformers.js', 'PyTorch'];
  /** A cell for each name: the figure of its int8, and of its fp32. */
  const cells = <E extends Omit<Hello, 'start'>>(all: readonly E[], figure: (engine: E) => string) =>
    names.map((name) => {
      const both = ['int8', 'fp32'].map((dtype) => {
        const found = all.find((each) => each.engine === name && each.dtype.replace(' accurate', '') === dtype);
        if (!found) throw new Error(`${name}, ${dtype}: expected it in the results`);
        return figure(found);
      });
      return both.join(' / ');
    });
  const sizes = names.map((name) => installed![name]!.toFixed(name === 'bertlet' ? 1 : 0));
  const rows = [
    ['an answer, ms', ...cells(engines, ({ median }) => median.toFixed(1))],
    ['from import to the first answer, ms', ...cells(engines, ({ start }) => start.milliseconds.toFixed(0))],
    ['peak memory, MB', ...cells(engines, ({ start }) => start.megabytes.toFixed(0))],
    ['installed, MB', ...sizes],
    ['F1, SQuAD 1.1', ...cells(squad.engines, ({ one }) => one!.figures.f1.toFixed(1))],
  ];
  const versions = names.slice(1).map((name) => `${name} ${engines.find(({ engine }) => engine === name)!.version}`);
  const made = `${machine(environment)}. ${versions.join(', ')}; F1 on ${squad.dataset.answerable} questions.`;
  return `${markdown(['int8 / fp32', ...names], rows)}\n\n${made}`;
}
