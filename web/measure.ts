/** The article's table for this machine, with a bar for each line. */
import { bar, byId, element, megabytes, milliseconds, table } from './dom.ts';
import type { Timing, Untimed } from './protocol.ts';

const HEAD = ['', 'Time', 'Speed', 'Weights'];

/** `under way` names what is being measured now. */
export function showTimings(lines: readonly (Timing | Untimed)[], underWay: string | null): void {
  const timed = lines.filter((line): line is Timing => 'median' in line);
  const slowest = Math.max(...timed.map(({ median }) => median));
  const first = timed[0]?.median ?? 0;
  const rows = timed.map(({ name, info, median, samples, loading }) => {
    const runs = info.adapter ?? `${info.threads} ${info.threads === 1 ? 'thread' : 'threads'}`;
    const details = `${runs}, ${samples} ${samples === 1 ? 'sample' : 'samples'}, loaded in ${milliseconds(loading)}`;
    const label = element('span', {}, element('strong', {}, name), element('small', {}, details));
    const speed = `${(first / median).toFixed(2)} ×`;
    return [label, bar(median / slowest), milliseconds(median), speed, megabytes(info.weightBytes)];
  });
  const caption = 'Median time of a question, and speed beside the first line; shorter bars are faster.';
  const notes = lines.flatMap((line) => ('error' in line ? [`${line.name}: ${line.error}`] : []));
  byId('timings').replaceChildren(
    ...(rows.length > 0 ? [table({ caption, head: ['On', ...HEAD], numbers: [2, 3, 4] }, rows)] : []),
    ...(underWay ? [element('p', { class: 'muted small' }, `Measuring ${underWay} …`)] : []),
    ...notes.map((note) => element('p', { class: 'muted small' }, note)),
  );
}
