/** The article's table for this machine, with a bar for each line. */
import { bar, byId, counted, downloadButton, element, megabytes, milliseconds, table } from './dom.ts';
import { withoutTicks } from './problems.ts';
import type { Timing, Untimed } from './protocol.ts';

const note = (text: string) => element('p', { class: 'muted small' }, text);

function tableOf(timed: readonly Timing[]): HTMLElement {
  const [first, slowest] = [timed[0]!.median, Math.max(...timed.map(({ median }) => median))];
  const rows = timed.map(({ name, info, median, samples, loading, bytes }) => {
    const runs = info.adapter ?? counted(info.threads!, 'thread');
    const details = `${runs}; ${counted(samples, 'sample')}; loaded in ${milliseconds(loading)}`;
    const parts = [element('strong', {}, name), bar(median / slowest), element('small', {}, details)];
    const label = element('span', {}, ...parts);
    return [label, milliseconds(median), `${(first / median).toFixed(2)} ×`, megabytes(bytes)];
  });
  const caption = 'Median time of a question, a shorter bar is faster; and speed beside the first line.';
  return table({ caption, head: ['On', 'Time', 'Speed', 'File'], numbers: [1, 2, 3] }, rows);
}

/** `underWay` names what is being measured now. */
export function showTimings(lines: readonly (Timing | Untimed)[], underWay: string | null): void {
  const timed = lines.filter((line) => 'median' in line);
  const untimed = Map.groupBy(
    lines.filter((line) => 'error' in line),
    ({ error }) => error,
  );
  const notes = [...untimed].map(([error, all]) => `${all.map(({ name }) => name).join(', ')}: ${withoutTicks(error)}`);
  byId('timings').replaceChildren(
    ...(timed.length > 0 ? [tableOf(timed)] : []),
    ...(underWay ? [note(`Measuring ${underWay} …`)] : []),
    ...notes.map(note),
    ...(!underWay && timed.length > 0 ? [downloadButton('bertlet-speed.json', timed)] : []),
  );
}
