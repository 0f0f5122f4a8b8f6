/** The pictures of docs/ that come from figures: charts of the report and of the ladder, each an SVG file of its own. */
import type { Explanation } from '../programs/explain/explain.ts';
import { beginning, look, outlierOf, type Slide } from '../programs/explain/microscope.ts';
import { drawn, type Plot } from '../programs/report/chart.ts';
import { aloneChart, wholeChart } from '../programs/report/explain.ts';
import { numberLine, reachOf } from '../programs/report/microscope.ts';
import { COLOURS_CSS, escapeHtml } from '../programs/report/page.ts';
import { ladderChart, ladderResult } from './ladder.ts';

const WIDTH = 760;

/** A drawing as a file: its own colours, light and dark, and a title for those who do not see it. */
function file(svg: string, title: string): string {
  const style = `${COLOURS_CSS} svg { color: var(--text); --plot-background: var(--background); font: 12px system-ui, sans-serif; fill: currentColor;
    --outlier: var(--series-3) } .torch { color: var(--series-1) } .accurate { color: var(--series-2) }`;
  const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg)!;
  const background = `<rect width="${width}" height="${height}" style="fill: var(--background)"/>`;
  const head = `<title>${escapeHtml(title)}</title><style>${style}</style>${background}`;
  return `${svg.replace(/^<svg ([^>]*)>/, (_, attributes: string) => `<svg xmlns="http://www.w3.org/2000/svg" ${attributes}>${head}`)}\n`;
}
const drawnFile = (title: string, options: Plot.PlotOptions) => file(drawn(options, WIDTH), title);

/** The microscope's number line, on the first token of the answer. */
function levels(slide: Slide, start: number): string {
  const { token, output } = beginning(slide, start);
  const scene = { outlier: outlierOf(slide).value, reach: reachOf(slide), width: WIDTH };
  return numberLine(slide.tokens.length, look(slide, token, output), scene);
}

/** All of them by name; `slide` is of the linear that costs most. */
export const pictures = ({ linears, answers }: Explanation, slide: Slide): Record<string, string> => ({
  'ladder.svg': drawnFile('GMAC/s of the seven steps of the int8 product', ladderChart(ladderResult())),
  'alone.svg': drawnFile('Signal to noise of each linear alone in int8, in dB', aloneChart(linears, false)),
  'levels.svg': file(levels(slide, answers.fp32.start), 'One token’s activations, and the integers of each scheme'),
  'whole.svg': drawnFile('Signal to noise behind each linear with the whole model in int8', wholeChart(linears, false)),
});
