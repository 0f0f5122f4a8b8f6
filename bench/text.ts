/** A result as text for a terminal; the tables are Markdown. */
import { aligned } from './columns.ts';
import type { Environment } from './environment.ts';
import type { Result, Row } from './result.ts';

/** Columns of a row: the page has the same. */
export const COLUMNS = [
  ...['variant', 'tokens', 'p50 ms', 'p90', 'p99', 'mean', 'stdev', 'per second', 'x CPU fp32', 'load ms', 'first ms'],
  ...['file MB', 'peak RSS MB', 'GPU MB', 'samples'],
];

/** Milliseconds with about three figures. */
export const shown = (milliseconds: number): string =>
  milliseconds.toFixed(milliseconds < 10 ? 2 : milliseconds < 1000 ? 1 : 0);
export const megabytes = (bytes: number): string => (bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 2 : 0);

/** How many times as fast; a device that is far slower is not 0. */
export const times = (speedup: number): string => (speedup < 0.1 ? speedup.toPrecision(1) : speedup.toFixed(2));

/** Cells of a row. */
export function cells(row: Row): string[] {
  const { load_model, first_forward, forward } = row.report;
  const { p50, p90, p99, mean, stdev, count } = forward.latency;
  return [
    `${row.name}${row.software ? ' (software)' : ''}`,
    String(row.config.scenario.input_shapes.sequence_length),
    ...[p50, p90, p99, mean, stdev].map((seconds) => shown(seconds * 1000)),
    forward.throughput!.value.toFixed(1),
    row.speedup === null ? '' : times(row.speedup),
    ...[load_model, first_forward].map(({ latency }) => shown(latency.mean * 1000)),
    megabytes(row.file_bytes),
    megabytes(forward.memory!.max_ram * 1e6),
    row.gpu_bytes === null ? '' : megabytes(row.gpu_bytes),
    String(count),
  ];
}

/** Cells of all rows; int8 that is slower than float32 on its device, at its length, is called so. */
export function markedRows({ benchmarks }: Pick<Result, 'benchmarks'>): string[][] {
  const lengthOf = ({ config }: Row) => config.scenario.input_shapes.sequence_length;
  const median = ({ report }: Row) => report.forward.latency.p50;
  return benchmarks.map((row) => {
    const { device, dtype } = row.config.backend;
    const fp32 = benchmarks.find((other) => other.name === `${device} fp32` && lengthOf(other) === lengthOf(row));
    const [name, ...others] = cells(row);
    const slower = dtype === 'int8' && fp32 !== undefined && median(row) > median(fp32);
    return [`${name}${slower ? ' (slower than fp32)' : ''}`, ...others];
  });
}

/** Says that others use the machine: more than a fourth of its cores, in the minute before. Nothing where it is idle. */
export const busyLine = ({ load, cores }: Pick<Environment, 'load' | 'cores'>): string | undefined =>
  load <= cores / 4
    ? undefined
    : `The machine is busy (load ${load.toFixed(1)} on ${cores} cores before the start): on an idle one the times are others.`;

/** The same of what `watchOthers` has seen while something was timed. */
export const disturbedLine = (others: number, cores: number): string | undefined =>
  others <= cores / 4
    ? undefined
    : `The machine is busy: other processes took ${others.toFixed(1)} of its ${cores} cores. The times of an idle one are shorter.`;

/** Meaning of the times. */
export const LEGEND =
  'Times are of one forward, batch 1, from the ids to the logits read back; tokenization is outside. first: the first ' +
  "answer, to the article's question, with tokenization, after load. load: from a file in the system's cache. file: of the " +
  'model in this precision. MB are 2^20 bytes. Not an MLPerf result.';

/** The machine and the engine, by name. */
export function environmentRows({ environment, model, protocol }: Result): [string, string][] {
  const { cpu, cores, memoryBytes, load, platform, node, v8, kernels, reason, threads } = environment;
  const { adapter, gpuKernels, bertlet, commit, date } = environment;
  const { layers, hidden, heads, intermediate, vocab, positions } = model.config;
  const { warmups, samples, seconds } = protocol;
  const rows: [string, string | null][] = [
    ['model', `${model.name}: ${(model.parameters / 1e6).toFixed(1)} million parameters`],
    [
      'shape',
      `${layers} layers, hidden ${hidden}, ${heads} heads, intermediate ${intermediate}, vocabulary ${vocab}, ${positions} positions`,
    ],
    ['CPU', `${cpu}, ${cores} cores, ${(memoryBytes / 2 ** 30).toFixed(1)} GB; load ${load.toFixed(1)}`],
    ['CPU engine', kernels && `${threads} thread${threads === 1 ? '' : 's'}; ${kernels}${reason ? `; ${reason}` : ''}`],
    ['GPU', adapter && `${adapter}; ${gpuKernels}`],
    ['Node', `${node}, V8 ${v8}, ${platform}`],
    ['bertlet', `${bertlet}${commit ? `, commit ${commit}` : ''}, ${date.slice(0, 10)}`],
    [
      'protocol',
      `up to ${warmups} warm-ups and ${samples} samples in ${seconds} s, in turns of 5 forwards, a process for each variant`,
    ],
  ];
  return rows.filter((row): row is [string, string] => Boolean(row[1]));
}

/** Reasons for what was left out, one line for each. */
export function skippedLines({ skipped }: Result): string[] {
  const reasons = new Map<string, string[]>();
  for (const { name, reason } of skipped) reasons.set(reason, [...(reasons.get(reason) ?? []), name]);
  return [...reasons].map(([reason, names]) => `Not measured: ${names.join(', ')}. ${reason}`);
}

export function textOf(result: Result): string {
  const environment = environmentRows(result).map(([name, value]) => `${name}: ${value}`);
  const [head, ...rows] = aligned([COLUMNS, ...markedRows(result)]);
  const line = (row: string[]) => `| ${row.join(' | ')} |`;
  const dashes = head!.map(({ length }, i) => (i ? `${'-'.repeat(length + 1)}:` : '-'.repeat(length + 2)));
  const table = [line(head!), `|${dashes.join('|')}|`, ...rows.map(line)];
  const busy = busyLine(result.environment);
  return [...environment, '', ...table, '', ...(busy ? [busy] : []), ...skippedLines(result), LEGEND].join('\n');
}
