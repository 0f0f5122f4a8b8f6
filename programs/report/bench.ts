/** The result of a benchmark as a page in one file: charts, the figures behind them, and how to repeat it. */

import { nameOf, type Point, type Result, type Row, type Variant } from '../../bench/result.ts';
import type { Evaluation } from '../../bench/squad/run.ts';
import {
  busyLine,
  COLUMNS,
  environmentRows,
  LEGEND,
  markedRows,
  megabytes,
  shown,
  skippedLines,
  times,
} from '../../bench/text.ts';
import { COLOURS, figure, Plot } from './chart.ts';
import { escapeHtml, facts, htmlPage, table } from './page.ts';

/** A colour says which precision, in all charts. */
const PRECISIONS = ['fp32', 'fp16', 'int8 torch', 'int8 accurate'];
const precisionOf = ({ dtype, scheme }: Variant): string => [dtype, scheme].filter(Boolean).join(' ');
const colourOf = (variant: Variant): string => COLOURS[PRECISIONS.indexOf(precisionOf(variant))]!;

const tokensOf = ({ config }: Row): number => config.scenario.input_shapes.sequence_length;

/** Kernels by what they do, the products first: floats or integers, they have one colour. Embeddings are among the others. */
const STAGES = ['linear', 'attention', 'layerNorm', 'quantize', 'range', 'others'];
const stageOf = (kernel: string): string => STAGES.find((stage) => kernel.startsWith(stage)) ?? 'others';

/** Legend: the colour of each series; of a line with its dashes. */
function legend(entries: readonly { name: string; colour: string; line?: 'solid' | 'dashed' }[]): string {
  const items = entries.map(({ name, colour, line }) => {
    const border = line ? `3px ${line}` : '12px solid';
    return `<li><i style="border-top: ${border} ${colour}"></i> ${escapeHtml(name)}</li>`;
  });
  return `<ul class="legend">${items.join('')}</ul>`;
}

type Stage = NonNullable<Result['stages']>[number];

/** A row of a bar chart. */
interface Bar {
  readonly name: string;
  readonly value: number;
  /** Written behind the bar. */
  readonly text: string;
  readonly colour: string;
}

/**
 * Bars, one below the other, from 0 to `most`. Names are on the left and figures on the right; on a phone both are above
 * the bar, which is then `dy` below the middle of its row.
 * @param over marks to draw over the bars
 */
function bars(
  caption: string,
  unit: string,
  all: readonly Bar[],
  most: number,
  over: (dy: number) => Plot.Markish[] = () => [],
): string {
  const label = `${caption} ${all.map(({ name, text }) => `${name}: ${text}`).join('; ')}`;
  const letters = (texts: string[]) => 7 * Math.max(...texts.map((text) => text.length));
  const names = all.map(({ name }) => name);
  const figures = all.map(({ text }) => text);
  return figure(caption, label, ({ narrow }) => ({
    ...{ height: 36 + all.length * (narrow ? 48 : 34), marginTop: 0, marginBottom: 36 },
    ...(narrow
      ? { marginLeft: 6, marginRight: 18 }
      : { marginLeft: letters(names) + 8, marginRight: letters(figures) + 12 }),
    x: { label: unit, domain: [0, most], ticks: narrow ? 4 : 6, tickFormat: ',~f', grid: true },
    y: { label: null, domain: names, tickSize: 0, ...(narrow ? { axis: null, padding: 0 } : { padding: 0.3 }) },
    marks: [
      Plot.barX(all, { x: 'value', y: 'name', fill: 'colour', ...(narrow && { insetTop: 22, insetBottom: 6 }) }),
      ...over(narrow ? 8 : 0),
      Plot.text(all, {
        ...{ y: 'name', textAnchor: 'start', fill: 'currentColor' },
        ...(narrow ? { x: 0, dy: -12 } : { x: most, dx: 8 }),
        text: ({ name, text }: Bar) => (narrow ? `${name}: ${text}` : text),
      }),
    ],
  }));
}

/** The median as a bar, a line to the 90th percentile, each sample as a dot. */
function latencyChart(rows: readonly Row[]): string {
  const ms = ({ report }: Row, key: 'p50' | 'p90' | 'p99') => report.forward.latency[key] * 1000;
  const most = Math.max(...rows.map((row) => ms(row, 'p99')));
  const dots = rows.flatMap(({ name, report }) =>
    report.forward.latency.values.map((seconds) => ({ name, ms: seconds * 1000 })),
  );
  const inside = dots.filter((dot) => dot.ms <= most);
  const lines = rows.map((row) => ({ name: row.name, from: ms(row, 'p50'), to: ms(row, 'p90') }));
  const stroke = { stroke: 'currentColor', strokeWidth: 1.5 };
  const lanes = [-7, -3.5, 0, 3.5, 7]; // so that dots hide each other less
  const marks = (dy: number) => [
    ...lanes.map((lane, i) => {
      const some = inside.filter((_, at) => at % lanes.length === i);
      return Plot.dot(some, { x: 'ms', y: 'name', dy: dy + lane, r: 1.5, fill: 'currentColor', fillOpacity: 0.4 });
    }),
    Plot.ruleY(lines, { x1: 'from', x2: 'to', y: 'name', dy, ...stroke }),
    Plot.dot(lines, { x: 'to', y: 'name', dy, r: 3, fill: 'currentColor' }),
  ];
  const faster = ({ name, speedup }: Row) => (speedup === null || name === 'cpu fp32' ? '' : `, ${times(speedup)}×`);
  const all = rows.map((row) => {
    const text = `${shown(ms(row, 'p50'))} ms${faster(row)}`;
    return { name: row.name, value: ms(row, 'p50'), text, colour: colourOf(row.config.backend) };
  });
  const out = dots.length - inside.length;
  const caption =
    'Bar and figure: median; line: to the 90th percentile; dots: samples. ×: as fast as cpu fp32, by medians.' +
    (out > 0 ? ` ${out} of ${dots.length} samples lie to the right of the chart.` : '');
  return bars(caption, 'milliseconds →', all, most, marks);
}

/** How latency grows along `key`: medians as lines. */
function growthChart(points: readonly Point[], key: 'tokens' | 'threads'): string {
  const all = points.map((point) => ({ ...point, at: point[key]!, ms: point.latency.p50 * 1000 }));
  const ticks = [...new Set(all.map(({ at }) => at))].toSorted((a, b) => a - b);
  const series = [...Map.groupBy(all, ({ name }) => name)].map(([name, own]) => {
    const { variant } = own[0]!;
    return { name, own, colour: colourOf(variant), line: variant.device === 'cpu' ? 'solid' : 'dashed' } as const;
  });
  const [low, high] = [ticks[0]!, ticks.at(-1)!];
  const counted = key === 'tokens' ? 'Tokens of the input' : `Threads; ${points[0]!.tokens} tokens`;
  const label = series.map(({ name, own }) => {
    return `${name}: ${own.map(({ at, ms }) => `${at} ${key} ${shown(ms)} ms`).join(', ')}`;
  });
  const chart = figure(`${counted}; median milliseconds.`, label.join('; '), ({ narrow }) => ({
    ...{ height: narrow ? 240 : 300, marginLeft: 46, marginBottom: 40, marginTop: 28 },
    x: {
      label: `${key} →`,
      domain: key === 'tokens' ? [0, high] : [low, high],
      // Close to 0 they would run into each other.
      ticks: ticks.filter((tick) => key === 'threads' || tick >= high / (narrow ? 4 : 8)),
      tickFormat: 'd',
      inset: key === 'threads' ? 12 : 0,
    },
    y: { label: '↑ milliseconds', domain: [0, Math.max(...all.map(({ ms }) => ms))], grid: true, ticks: 5, nice: true },
    marks: series.flatMap(({ own, colour, line }) => {
      const stroke = { stroke: colour, strokeWidth: 2, strokeDasharray: line === 'solid' ? '0' : '6 4' };
      return [Plot.line(own, { x: 'at', y: 'ms', ...stroke }), Plot.dot(own, { x: 'at', y: 'ms', r: 3, fill: colour })];
    }),
  }));
  return legend(series) + chart;
}

/** Where the time of one forward goes. */
function stagesChart(stages: readonly Stage[]): string {
  const colour = (stage: string) => COLOURS[STAGES.indexOf(stage)]!;
  const parts = stages.flatMap(({ name, milliseconds }) =>
    Object.entries(milliseconds).map(([kernel, ms]) => ({ name, stage: stageOf(kernel), ms })),
  );
  const label = parts.map(({ name, stage, ms }) => `${name} ${stage} ${shown(ms)} ms`).join(', ');
  const used = STAGES.filter((stage) => parts.some((part) => part.stage === stage && part.ms > 0));
  const caption = `Mean milliseconds of one forward of ${stages[0]!.tokens} tokens in each kind of kernel, by the engine's own clock.`;
  const chart = figure(caption, label, ({ narrow }) => ({
    ...{ height: 36 + stages.length * 34, marginTop: 0, marginBottom: 36, marginRight: 24 },
    marginLeft: 8 + 7 * Math.max(...stages.map(({ name }) => name.length)),
    x: { label: 'milliseconds →', grid: true, ticks: narrow ? 3 : 6 },
    y: { label: null, domain: stages.map(({ name }) => name), tickSize: 0, padding: 0.35 },
    marks: [Plot.barX(parts, { x: 'ms', y: 'name', fill: ({ stage }) => colour(stage), order: COLOURS })],
  }));
  return legend(used.map((name) => ({ name, colour: colour(name) }))) + chart;
}

/** Rows and points on a software adapter have charts of their own: they say nothing about a GPU, and dwarf the rest. */
function apart<R>(all: readonly R[], isSoftware: (one: R) => boolean, chart: (some: readonly R[]) => string): string {
  const [soft, real] = [all.filter(isSoftware), all.filter((one) => !isSoftware(one))];
  const note = '<h3>On a software adapter</h3><p class="note">It computes on the CPU and says nothing about a GPU.</p>';
  return (real.length > 0 ? chart(real) : '') + (soft.length > 0 ? note + chart(soft) : '');
}

const megabyteBars = (title: string, all: readonly Omit<Bar, 'text'>[]): string => {
  const rows = all.map((bar) => ({ ...bar, text: `${megabytes(bar.value)} MB`, value: bar.value / 2 ** 20 }));
  return rows.length > 0 ? bars(title, 'MB →', rows, Math.max(...rows.map(({ value }) => value))) : '';
};

/** The part of an evaluation that the page shows. */
export type Accuracy = Pick<Evaluation, 'dataset' | 'model' | 'variants'>;

/** The accuracy of an evaluation, a row for each variant. */
function accuracy({ dataset, model, variants }: Accuracy): string {
  const points = (value?: number) => value?.toFixed(2) ?? '';
  const rows = variants.map(({ name, figures, difference }) => [
    name,
    points(figures.exact),
    points(figures.f1),
    points(difference?.f1),
    difference ? `${points(difference.low)} to ${points(difference.high)}` : '',
  ]);
  const of = dataset.questions < dataset.of ? ` of ${dataset.of}` : '';
  const note = `${dataset.name}, SQuAD ${dataset.format}: ${dataset.questions}${of} questions; ${model.name}. Points.`;
  const head = ['variant', 'EM', 'F1', 'F1 - fp32', '95 % interval'];
  return section('Accuracy', `${table(head, rows)}<p class="note">${escapeHtml(note)}</p>`);
}

/** The page. */
export function reportPage(result: Result, evaluation?: Accuracy): string {
  const { benchmarks, model, environment, sweeps } = result;
  const isSoftware = ({ variant }: { variant: Variant }) =>
    variant.device === 'webgpu' && environment.software === true;
  const lengths = [...new Set(benchmarks.map(tokensOf))];
  const rowsOf = (length: number) => benchmarks.filter((row) => tokensOf(row) === length);
  const longest = rowsOf(lengths.at(-1)!); // the last measured: their peak memory is the process's
  const barOf = (name: string, value: number | null, { config }: Row) =>
    value === null ? [] : [{ name, value, colour: colourOf(config.backend) }];
  const files = PRECISIONS.flatMap((name) => {
    const row = longest.find(({ config }) => precisionOf(config.backend) === name);
    return row ? barOf(name, row.file_bytes, row) : [];
  });
  const memory = (title: string, value: (row: Row) => number | null) => {
    const rows = longest.flatMap((row) => barOf(row.name, value(row), row));
    return megabyteBars(title, rows);
  };
  const latency = (length: number) => {
    const charts = apart(rowsOf(length), ({ software }) => software, latencyChart);
    return section(`Latency of ${length} tokens`, charts);
  };
  const growth = (points: readonly Point[], key: 'tokens' | 'threads') => {
    const charts = apart(points, isSoftware, (some) => growthChart(some, key));
    return section(`Latency by ${key}`, charts);
  };
  const { tokens, threads, protocol } = sweeps ?? { tokens: [], threads: [], protocol: null };
  const timed = (result.stages ?? []).filter(({ milliseconds }) => Object.keys(milliseconds).length > 0);
  const notes = [busyLine(environment) ?? [], skippedLines(result)].flat();
  const sections = [
    ...lengths.map(latency),
    ...notes.map((line) => `<p class="note">${escapeHtml(line)}</p>`),
    section('Size', megabyteBars('Of the file, by precision.', files)),
    memory('Peak memory of the process (RSS).', ({ report }) => report.forward.memory!.max_ram * 1e6),
    memory('GPU memory in use.', ({ gpu_bytes }) => gpu_bytes),
    growth(tokens, 'tokens') + growth(threads, 'threads') + (protocol ? sweptNote(protocol) : ''),
    section('Where the time goes', apart(timed, isSoftware, stagesChart)), // an adapter may have no timestamps
    evaluation ? accuracy(evaluation) : '',
    section('All figures', `${table(COLUMNS, markedRows(result))}<p class="note">${escapeHtml(LEGEND)}</p>`),
    sweepTable('tokens', tokens) + sweepTable('threads', threads) + stagesTable(timed),
    section('Environment', facts(environmentRows(result))),
    section('Repeat it', `<pre><code>${escapeHtml(result.command)}</code></pre>`),
  ];
  const lead = `${environment.cpu}, ${environment.cores} cores; ${environment.adapter ?? 'no GPU'}; ${environment.date.slice(0, 10)}`;
  return htmlPage({ title: `${model.name}: latency and size`, lead, body: sections.join('\n') });
}

/** A part of the page; none where there is nothing to show. */
const section = (title: string, content: string): string => (content === '' ? '' : `<h2>${title}</h2>${content}`);

const sweptNote = ({ warmups, samples, seconds }: Result['protocol']): string =>
  `<p class="note">Each point: up to ${warmups} warm-ups and ${samples} samples in ${seconds} s. A variant that needs longer for a forward leaves.</p>`;

/** The figures behind a line chart, folded. */
function sweepTable(key: 'tokens' | 'threads', points: readonly Point[]): string {
  if (points.length === 0) return '';
  const rows = points.map((point) => {
    const { p50, p90, p99, count } = point.latency;
    return [point.name, String(point[key]), ...[p50, p90, p99].map((s) => shown(s * 1000)), String(count)];
  });
  return `<details><summary>By ${key}</summary>${table(['variant', key, 'p50 ms', 'p90', 'p99', 'samples'], rows)}</details>`;
}

function stagesTable(stages: readonly Stage[]): string {
  if (stages.length === 0) return '';
  const kernels = [...new Set(stages.flatMap(({ milliseconds }) => Object.keys(milliseconds)))];
  const rows = stages.map(({ variant, milliseconds }) => [
    nameOf(variant),
    ...kernels.map((kernel) => (kernel in milliseconds ? shown(milliseconds[kernel]!) : '')),
  ]);
  return `<details><summary>By kernel, mean ms</summary>${table(['variant', ...kernels], rows)}</details>`;
}
