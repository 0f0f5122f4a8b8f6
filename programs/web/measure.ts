/** The article's table for this machine, with a bar for each line. */
import { bar, byId, downloadButton, element, megabytes, milliseconds, table } from './dom.ts';
import { withoutTicks } from './problems.ts';
import type { Timing, Untimed } from './protocol.ts';

/** `underWay` names what is being measured now. */
export function showTimings(lines: readonly (Timing | Untimed)[], underWay: string | null): void {
  const timed = lines.filter((line): line is Timing => 'median' in line);
  const slowest = Math.max(...timed.map(({ median }) => median));
  const first = timed[0]?.median ?? 0;
  const rows = timed.map(({ name, info, median, samples, loading, bytes }) => {
    const runs = info.adapter ?? `${info.threads} ${info.threads === 1 ? 'thread' : 'threads'}`;
    const details = `${runs}; ${samples} ${samples === 1 ? 'sample' : 'samples'}; loaded in ${milliseconds(loading)}`;
    const label = element(
      'span',
      {},
      element('strong', {}, name),
      bar(median / slowest),
      element('small', {}, details),
    );
    return [label, milliseconds(median), `${(first / median).toFixed(2)} ×`, megabytes(bytes)];
  });
  const caption = 'Median time of a question, a shorter bar is faster; and speed beside the first line.';
  const reasons = new Map<string, string[]>();
  for (const line of lines) {
    if ('error' in line) reasons.set(line.error, [...(reasons.get(line.error) ?? []), line.name]);
  }
  const notes = [...reasons].map(([error, names]) => `${names.join(', ')}: ${withoutTicks(error)}`);
  const file = timed.map(({ name, info, median, samples, loading, bytes }) => ({
    ...{
      name,
      device: info.device,
      dtype: info.dtype,
      scheme: info.scheme,
      adapter: info.adapter,
      threads: info.threads,
    },
    ...{ median_ms: median, samples, loading_ms: loading, file_bytes: bytes },
  }));
  byId('timings').replaceChildren(
    ...(rows.length > 0 ? [table({ caption, head: ['On', 'Time', 'Speed', 'File'], numbers: [1, 2, 3] }, rows)] : []),
    ...(underWay ? [element('p', { class: 'muted small' }, `Measuring ${underWay} …`)] : []),
    ...notes.map((note) => element('p', { class: 'muted small' }, note)),
    ...(!underWay && file.length > 0 ? [downloadButton('bertlet-speed.csv', file)] : []),
  );
}
