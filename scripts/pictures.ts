/** The pictures of docs/ that come from figures: charts of the report and of the ladder, each an SVG file of its own. */
import type { Explanation } from '../programs/explain/explain.ts';
import { worst } from '../programs/explain/explain.ts';
import { drawn, type Plot } from '../programs/report/chart.ts';
import { aloneChart, levelsChart, wholeChart } from '../programs/report/explain.ts';
import { COLOURS_CSS, escapeHtml } from '../programs/report/page.ts';
import { ladderChart, ladderResult } from './ladder.ts';

const WIDTH = 760;

/** A drawing as a file: its own colours, light and dark, and a title for those who do not see it. */
function file(svg: string, title: string): string {
  const style = `${COLOURS_CSS} svg { color: var(--text); --plot-background: var(--background); font: 12px system-ui, sans-serif }`;
  const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg)!;
  const background = `<rect width="${width}" height="${height}" style="fill: var(--background)"/>`;
  const head = `<title>${escapeHtml(title)}</title><style>${style}</style>${background}`;
  return `${svg.replace(/^<svg ([^>]*)>/, (_, attributes: string) => `<svg xmlns="http://www.w3.org/2000/svg" ${attributes}>${head}`)}\n`;
}
const drawnFile = (title: string, options: Plot.PlotOptions) => file(drawn(options, WIDTH), title);

/** All of them by name. */
export const pictures = ({ linears }: Explanation): Record<string, string> => ({
  'ladder.svg': drawnFile('GMAC/s of the seven steps of the int8 product', ladderChart(ladderResult())),
  'alone.svg': drawnFile('Signal to noise of each linear alone in int8, in dB', aloneChart(linears, false)),
  'levels.svg': drawnFile(
    'Activations, and the 128 levels of each scheme',
    levelsChart(worst(linears, 'torch'), false),
  ),
  'whole.svg': drawnFile('Signal to noise behind each linear with the whole model in int8', wholeChart(linears, false)),
});
