/**
 * Charts as SVG in text, drawn by Observable Plot over a DOM without a browser (linkedom). Colours are variables of the
 * page's style sheet (page.ts), so that one drawing serves light and dark.
 */
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { escapeHtml, WIDTHS } from './page.ts';

export { Plot };

/** Colours of series, told apart by colour-blind readers: variables of the page. */
export const COLOURS = [1, 2, 3, 4, 5, 6].map((i) => `var(--series-${i})`);

const { document } = parseHTML('<!doctype html><html><body></body></html>');

/** A plot as SVG. */
export const drawn = (options: Plot.PlotOptions, width: number): string =>
  Plot.plot({ document: document as unknown as Document, ...options, width }).outerHTML;

/**
 * A figure with its caption. `label` says in words what the chart shows, for those who do not see it.
 * @param options what Plot.plot takes, for a width: `narrow` asks for smaller margins and fewer ticks
 */
export function figure(
  caption: string,
  label: string,
  options: (size: { width: number; narrow: boolean }) => Plot.PlotOptions,
): string {
  const both = Object.entries(WIDTHS).map(([name, width]) => {
    const svg = drawn(options({ width, narrow: name === 'narrow' }), width);
    return `<div class="${name}" role="img" aria-label="${escapeHtml(label)}">${svg}</div>`;
  });
  return `<figure>${both.join('')}<figcaption>${escapeHtml(caption)}</figcaption></figure>`;
}
