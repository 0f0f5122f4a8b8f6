/** One token through one linear, drawn: SVG and HTML as text, for the web page and for the report. */

import type { Scheme } from '../../src/tensor.ts';
import { place, SCHEMES } from '../explain/explain.ts';
import { look, outlierOf, type Slide, type Through, type View } from '../explain/microscope.ts';
import { decibels, nameOf } from '../explain/text.ts';
import { escapeHtml, WIDTHS } from './page.ts';

/** Colours and places of what is drawn; those of the page are variables. The slider lies on the axis, its thumb on the outlier. */
export const STYLE = `
.microscope { --torch: var(--series-1); --accurate: color-mix(in srgb, var(--series-2) 88%, var(--text)); --outlier: var(--series-3);
  container-type: inline-size; font-variant-numeric: tabular-nums }
.microscope svg { display: block; width: 100%; height: auto; fill: currentColor } .microscope svg text { font-size: 12px }
.microscope .line { display: block; position: relative } .microscope figure { margin: 1rem 0 }
.microscope .line input { position: absolute; left: 0; top: 34px; width: 100%; height: 32px; min-height: 0; margin: 0; padding: 0;
  border: 0; appearance: none; background: none; cursor: grab }
.microscope input::-webkit-slider-thumb { appearance: none; width: 20px; height: 32px }
.microscope input::-moz-range-thumb { width: 20px; height: 32px; border: 0; background: none }
.microscope .outlier { fill: var(--outlier); stroke: var(--background); stroke-width: 4px; paint-order: stroke }
.microscope .line input:focus-visible { outline: none }
.microscope .line:has(:focus-visible) circle { stroke: currentColor; stroke-width: 3px } .microscope .torch { color: var(--torch) } .microscope .accurate { color: var(--accurate) } .microscope b { font-weight: 600 }
.microscope ol { list-style: none; margin: 1.5rem 0; padding: 0; counter-reset: step }
.microscope li { counter-increment: step; padding: .75rem 0; border-top: 1px solid var(--line) }
.microscope h4 { margin: 0; font-size: 1rem } .microscope h4::before { content: counter(step) ". " }
.microscope .code { margin: .1rem 0 .35rem; color: var(--muted); font-size: .8125rem; overflow-wrap: anywhere }
.microscope .code code { display: block; color: inherit; background: none; padding: 0 }
.microscope .both { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: .25rem 2.5rem }
.microscope .both > * { min-width: 0 } .microscope figcaption { color: var(--muted); font-size: .875rem }
.microscope svg.strip { height: 3rem; margin-bottom: .35rem }
.microscope td, .microscope table th { padding: .15rem 0; text-align: right; font-size: .8125rem; border: 0; font-weight: 400 }
@container (min-width: 60rem) { .microscope li { display: grid; grid-template-columns: 22rem 1fr; gap: 2.5rem } }`;

const digits = (value: number, count = 4) => String(Number(value.toPrecision(count))).replace('-', '−');
const whole = (value: number) => value.toLocaleString('en').replace('-', '−');
const path = (d: string, attributes: string) => `<path d="${d}" fill="none" stroke="currentColor" ${attributes}/>`;
const text = (x: number, y: number, content: string, attributes = '') =>
  `<text x="${x.toFixed(1)}" y="${y}" ${attributes}>${escapeHtml(content)}</text>`;
const MUTED = 'style="fill: var(--muted)"';

/** Round numbers within a range, about as many as asked for. */
function ticks(low: number, high: number, count: number): number[] {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough)!;
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => (first + i) * step);
}

/** Pixels left and right of an axis: half of the slider's thumb. The magnified one has room for a step beyond its ends. */
const [PAD, NEAR_PAD] = [10, 24];
type Axis = (value: number) => number;
const axisOf =
  ({ low, high }: { low: number; high: number }, width: number, pad: number): Axis =>
  (value) =>
    pad + ((value - low) / (high - low)) * (width - 2 * pad);

/** A line with its numbers, and above it a stroke for each value. */
function axis(at: Axis, ends: { low: number; high: number }, values: ArrayLike<number>, y: number, width: number) {
  const strokes = [...new Set(Array.from(values, (value) => `M${at(value).toFixed(1)} ${y - 6}v-20`))].join('');
  const names = ticks(ends.low, ends.high, width / 90);
  return (
    path(strokes, 'stroke-opacity=".35"') +
    path(`M${PAD} ${y}H${width - PAD}${names.map((v) => `M${at(v).toFixed(1)} ${y}v5`).join('')}`, '') +
    names.map((v) => text(at(v), y + 18, digits(v), `text-anchor="middle" ${MUTED}`)).join('')
  );
}

/** The integers of a scheme at the values that they stand for; as high as there are activations that become them. */
function lane(through: Through, scheme: Scheme, at: Axis, y: number, width: number): string {
  const { scale, zeroPoint, integers, levels } = through;
  const counts = new Map<number, number>();
  for (const integer of integers) counts.set(integer, (counts.get(integer) ?? 0) + 1);
  const most = Math.log2(1 + Math.max(...counts.values()));
  const x = (integer: number) => at((integer - zeroPoint) * scale);
  const seen = Array.from({ length: 129 }, (_, integer) => integer).filter(
    (i) => (i < 128 || counts.has(i)) && x(i) >= 6 && x(i) <= width - 6,
  );
  const step = x(1) - x(0);
  const every = [1, 2, 5, 10, 20, 50, 100].find((n) => n * step >= 26) ?? 200;
  const stems = seen.map(
    (i) => `M${x(i).toFixed(1)} ${y}v-${((Math.log2(1 + (counts.get(i) ?? 0)) / most) * 44).toFixed(1)}`,
  );
  const named = seen.filter((integer) => (integer - zeroPoint) % every === 0);
  const title = `${scheme}: ${levels} of the integers 0 to 127 in use`;
  return (
    `<g class="${scheme}">` +
    path(seen.map((i) => `M${x(i).toFixed(1)} ${y}v5`).join(''), `stroke-opacity="${step < 4 ? 0.4 : 1}"`) +
    path(stems.join(''), `stroke-width="${Math.max(1, Math.min(8, step * 0.6)).toFixed(1)}"`) +
    path(`M0 ${y}H${width}`, 'stroke-opacity=".5"') +
    text(width - PAD, y - 50, title, 'text-anchor="end" font-weight="600"') +
    '</g>' +
    named
      .map((i) =>
        text(x(i), y + 18, String(i), `text-anchor="middle" ${i === zeroPoint ? 'font-weight="700"' : MUTED}`),
      )
      .join('')
  );
}

/** The numbers that the slider goes through: to where the outlier is twice as far, and past 0. */
export function reachOf(slide: Slide): { low: number; high: number } {
  const { value } = outlierOf(slide);
  const [least, most] = slide.x.data.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [0, 0]);
  return { low: Math.min(least, 2 * value), high: Math.max(most, 2 * value) };
}

/**
 * The token's numbers where the outlier is, and magnified, with the integers of both schemes beneath.
 * @param outlier its value now
 * @param reach what the upper line shows
 */
export function numberLine(
  tokens: number,
  view: View,
  { outlier, reach, width }: { outlier: number; reach: { low: number; high: number }; width: number },
): string {
  const { values, schemes } = view;
  const { torch, accurate } = schemes;
  const own = { low: accurate.low, high: Math.max(accurate.high, accurate.low + 1e-6) };
  const [at, near] = [axisOf(reach, width, PAD), axisOf(own, width, NEAR_PAD)];
  const bar = (name: string, { low, high }: Through, y: number) =>
    `<rect class="${name}" fill="currentColor" x="${at(low).toFixed(1)}" width="${(at(high) - at(low)).toFixed(1)}" y="${y}" height="5" rx="2"/>`;
  const zoom = (reach.high - reach.low) / (own.high - own.low);
  const label = (name: string, content: string, y: number) =>
    text(PAD, y, content, `class="${name}" font-weight="600"`);
  const lens = `M${at(own.low)} 131H${at(own.high)}L${width} 160V380H0V160Z`;
  const middle = Math.min(width - 24, Math.max(24, at(outlier)));
  return (
    `<svg viewBox="0 0 ${width} 382" role="img" aria-label="Number line: ${escapeHtml(said(view))}">` +
    text(PAD, 14, `${whole(values.length)} activations of one token`, 'font-weight="600"') +
    axis(at, reach, values, 50, width) +
    `<circle cx="${at(outlier)}" cy="50" r="8" style="fill: var(--outlier)"/>` +
    text(middle, 34, digits(outlier, 3), 'text-anchor="middle" font-weight="700" class="outlier"') +
    label('torch', `torch: one range for all ${tokens} tokens`, 88) +
    bar('torch', torch, 93) +
    label('accurate', 'accurate: the range of this token', 119) +
    `<path d="${lens}" style="fill: var(--panel); stroke: var(--line)"/>${bar('accurate', accurate, 126)}` +
    text(width - PAD, 146, zoom > 1.05 ? `magnified ${digits(zoom, 2)} ×` : '', `text-anchor="end" ${MUTED}`) +
    axis(near, own, values, 192, width) +
    lane(torch, 'torch', near, 276, width) +
    lane(accurate, 'accurate', near, 358, width) +
    '</svg>'
  );
}

/** How far the integers are in use, in words. */
export const said = ({ schemes }: View) =>
  SCHEMES.map((scheme) => `${scheme} ${schemes[scheme].levels} integers, scale ${digits(schemes[scheme].scale)}`).join(
    '; ',
  );

/** The features whose products count most, the first of them first. */
const heaviest = ({ values, weights }: View): number[] =>
  Array.from(values, (value, feature) => ({ feature, size: Math.abs(value * weights[feature]!) }))
    .sort((a, b) => b.size - a.size)
    .map(({ feature }) => feature);

/** A stroke for each feature, up or down from a line, over the whole width. */
function strip(values: readonly number[], name: string): string {
  const most = Math.max(1, ...values.map(Math.abs));
  const strokes = values.map((value, k) => `M${k + 0.5} 50v${((-48 * value) / most).toFixed(1)}`);
  const thin = 'vector-effect="non-scaling-stroke"';
  const svg = `<svg class="strip" viewBox="0 0 ${values.length} 100" preserveAspectRatio="none" aria-hidden="true">`;
  return `<p class="code">${name}</p>${svg}${path(strokes.join(''), thin)}${path(`M0 50H${values.length}`, `${thin} stroke-opacity=".4"`)}</svg>`;
}

function products(through: Through, view: View, scheme: Scheme): string {
  const { integers, weights, zeroPoint } = through;
  const rows = heaviest(view).slice(0, 5);
  const cells = rows.map((k) => {
    const product = whole(integers[k]! * weights[k]!);
    const all = [digits(view.values[k]!, 3), integers[k]!, digits(view.weights[k]!, 3), digits(weights[k]!), product];
    return `<tr><th scope="row">${k}</th>${all.map((cell) => `<td>${cell}</td>`).join('')}</tr>`;
  });
  const head = ['feature', 'x', 'xq', 'w', 'wq', 'xq wq'].map((name) => `<th scope="col">${name}</th>`).join('');
  return (
    `<div class="${scheme}">` +
    strip(
      Array.from(integers, (integer) => integer - zeroPoint),
      `xq, the activations: up or down from the zero point ${zeroPoint}`,
    ) +
    strip([...weights], 'wq, the weights') +
    strip(
      Array.from(integers, (integer, k) => integer * weights[k]!),
      'xq wq, their products',
    ) +
    `</div><table><thead><tr>${head}</tr></thead><tbody>${cells.join('')}</tbody></table>`
  );
}

interface StepOfProduct {
  readonly title: string;
  /** The line that makes its number, in a function of a file: test/microscope.test.ts looks it up. */
  readonly file: string;
  readonly name: string;
  readonly code: string;
  readonly shown: (through: Through, view: View, scheme: Scheme) => string;
}
const QUANTIZE = 'src/quantize.ts';
const plus = (value: number, count?: number) => `${value < 0 ? '−' : '+'} ${digits(Math.abs(value), count)}`;

/** From the range to the error, in the order in which they are computed. */
export const STEPS: readonly StepOfProduct[] = [
  {
    ...{ title: 'The range of the activations, with 0 in it', file: QUANTIZE, name: 'quantizeActivations' },
    code: 'for (const value of values) [low, high] = [min(low, value), max(high, value)];',
    shown: ({ low, high }) => `${digits(low)} to ${digits(high)}`,
  },
  {
    ...{ title: 'Its 127th part is the scale, one step', file: QUANTIZE, name: 'chooseScale' },
    code: 'let scale = (most - least) / 127;',
    shown: ({ low, high, scale }) => `(${digits(high)} ${plus(-low)}) / 127 = ${digits(scale)}`,
  },
  {
    ...{ title: 'The integer that is 0.0 is the zero point', file: QUANTIZE, name: 'chooseScale' },
    code: 'zeroPoint: roundHalfEven(min(127, max(0, exact)))',
    shown: ({ low, scale, zeroPoint }) =>
      `${digits(-low)} / ${digits(scale)} = ${digits(-low / scale)}, rounded ${zeroPoint}`,
  },
  {
    ...{ title: 'Each activation becomes an integer', file: QUANTIZE, name: 'quantizeActivations' },
    code: 'const rounded = roundHalfEven(fround(values[i]! * inverse)) + zeroPoint;',
    shown: ({ scale, zeroPoint, integers, levels }, view) => {
      const [k] = heaviest(view) as [number];
      const steps = `${digits(view.values[k]!)} / ${digits(scale)} = ${digits(view.values[k]! / scale)}`;
      return `feature ${k}: ${steps}, rounded and + ${zeroPoint}: ${integers[k]!}<br>${levels} different integers for ${whole(integers.length)} numbers`;
    },
  },
  {
    ...{ title: 'The weights got their scale at load', file: QUANTIZE, name: 'quantizeWeight' },
    code: 'const step = max(fround(largest / 127.5), 2 ** -23);',
    shown: ({ largest, weightScale }, _, scheme) =>
      `${digits(largest)} / 127.5 = ${digits(weightScale)}, for ${scheme === 'torch' ? 'the whole weight' : 'this output feature'}`,
  },
  {
    ...{ title: 'Each weight became an integer; its zero point is 0', file: QUANTIZE, name: 'quantizeWeight' },
    code: 'data[i] = min(127, max(-128, roundHalfEven(fround(weight.data[i]! * inverse))));',
    shown: ({ weightScale, weights }, view) => {
      const [k] = heaviest(view) as [number];
      const steps = `${digits(view.weights[k]!)} / ${digits(weightScale)} = ${digits(view.weights[k]! / weightScale)}`;
      return `feature ${k}: ${steps}, rounded ${digits(weights[k]!)}`;
    },
  },
  {
    ...{ title: 'Integers are multiplied and added up', file: QUANTIZE, name: 'matmulInt8' },
    code: 'for (let k = 0; k < features; k++) dot = (dot + values[k]! * w[k]!) | 0;',
    shown: (through, view, scheme) =>
      `${products(through, view, scheme)}all ${whole(view.values.length)} products: ${whole(through.sum)}`,
  },
  {
    ...{ title: 'The zero point is taken out, times the sum of the weights', file: QUANTIZE, name: 'matmulInt8' },
    code: 'accumulators[row * out + column] = dot - x.zeroPoint[row]! * sums[column]!;',
    shown: ({ sum, zeroPoint, weightSum, accumulator }) =>
      `${whole(sum)} − ${zeroPoint} × ${whole(weightSum)} = ${whole(accumulator)}`,
  },
  {
    ...{
      title: 'Back to float: times both scales, and the bias',
      file: 'src/devices/reference.ts',
      name: 'linearInt8',
    },
    code: 'return fround(accumulator) * scale + bias[column]!;',
    shown: ({ accumulator, scale, weightScale, y }, { bias }) =>
      `${whole(accumulator)} × (${digits(scale)} × ${digits(weightScale)}) ${plus(bias)} = ${digits(y)}`,
  },
  {
    ...{ title: 'The error against float32', file: 'programs/explain/explain.ts', name: 'compare' },
    code: '10 * Math.log10(signal / noise)',
    shown: ({ y, sqnr }, view) =>
      `${digits(y)} instead of ${digits(view.y)}: ${digits(Math.abs(y - view.y), 2)} off<br>all outputs of this token: <b>${decibels(sqnr)} dB</b>`,
  },
];

/** The steps as a list, both schemes side by side. */
export function steps(view: View): string {
  const items = STEPS.map(({ title, file, name, code, shown }) => {
    const both = SCHEMES.map((scheme) => {
      return `<div><b class="${scheme}">${scheme}</b> ${shown(view.schemes[scheme], view, scheme)}</div>`;
    });
    const line = `<p class="code"><code>${escapeHtml(code)}</code> <span>${file}, ${name}</span></p>`;
    return `<li><div><h4>${title}</h4>${line}</div><div class="both">${both.join('')}</div></li>`;
  });
  return `<ol>${items.join('')}</ol>`;
}

/** Describes the outlier, and what it does to the token. */
export function caption(slide: Slide, token: number): string {
  const outlier = outlierOf(slide);
  const name = `token ${outlier.token}, ${JSON.stringify(slide.tokens[outlier.token])}`;
  const what = `The dot is the activation that lies furthest from 0 in all tokens: feature ${outlier.feature} of ${name}.`;
  const harm =
    outlier.token === token
      ? 'It is this token’s own, so both schemes pay for it; another token pays in torch alone.'
      : 'torch makes its scale for it, and this token has few integers left; accurate does not see it.';
  return `${what} ${harm} Below: how many activations become each integer (heights are logarithms); the zero point is bold.`;
}

/** All of it as it stands, for a page that does not run code: drawn for a wide and for a narrow screen. */
export function stillLife(slide: Slide, { token, output }: { token: number; output: number }): string {
  const view = look(slide, token, output);
  const [outlier, reach] = [outlierOf(slide).value, reachOf(slide)];
  const drawn = Object.entries(WIDTHS).map(([name, width]) => {
    return `<div class="${name}">${numberLine(slide.tokens.length, view, { outlier, reach, width })}</div>`;
  });
  const what = `${nameOf(place([slide.name]))}, token ${token}, ${JSON.stringify(slide.tokens[token])}, output feature ${output}`;
  return `<style>${STYLE}</style><div class="microscope"><h3>${escapeHtml(what)}</h3>
<figure>${drawn.join('')}<figcaption>${escapeHtml(caption(slide, token))}</figcaption></figure>${steps(view)}</div>`;
}
