/** An explanation as a page in one file: what int8 does to each linear, drawn and said in words. */

import type { Scheme } from '../../src/tensor.ts';
import { type Explanation, type LinearReport, SCHEMES, worst } from '../explain/explain.ts';
import type { Slide } from '../explain/microscope.ts';
import { decibels, figures, mostGained, nameOf, OTHER_SCORES, short } from '../explain/text.ts';
import { COLOURS, figure, Plot } from './chart.ts';
import { stillLife } from './microscope.ts';
import { type Cell, escapeHtml, htmlPage, table } from './page.ts';

const COLOUR = { domain: [...SCHEMES], range: COLOURS.slice(0, 2) };
/** Names of the schemes in their colours, instead of a legend. */
const NAMES = SCHEMES.map((scheme, i) => `<b style="color: ${COLOURS[i]}">${scheme}</b>`) as [string, string];
/** The narrower space has room for short names only. */
const label = (linear: LinearReport, narrow: boolean) =>
  narrow
    ? nameOf(linear).replace('layer ', '').replace('query|key|value', 'q|k|v').replace('attention.', 'att. ')
    : nameOf(linear);

/** dB of each linear alone, a bar for each scheme. */
export function aloneChart(linears: readonly LinearReport[], narrow: boolean): Plot.PlotOptions {
  return {
    height: linears.length * 24 + 40,
    marginLeft: narrow ? 106 : 168,
    marginTop: 24,
    marginRight: 28,
    x: { axis: 'top', label: null, grid: true, ticks: narrow ? 4 : 8 },
    y: { axis: null, domain: [...SCHEMES], padding: 0.1 },
    fy: { label: null, domain: linears.map((linear) => label(linear, narrow)), padding: 0.25 },
    color: COLOUR,
    marks: [
      Plot.barX(
        linears.flatMap((linear) =>
          SCHEMES.map((scheme) => ({
            linear: label(linear, narrow),
            scheme,
            sqnr: linear.schemes[scheme].alone.output.sqnr,
          })),
        ),
        { x: 'sqnr', y: 'scheme', fy: 'linear', fill: 'scheme' },
      ),
      Plot.ruleX([0]),
    ],
  };
}

/** dB of the whole int8 model, from its first linear to its last. */
export function wholeChart(linears: readonly LinearReport[], narrow: boolean): Plot.PlotOptions {
  const points = linears.flatMap((linear, index) =>
    SCHEMES.map((scheme) => ({ index, scheme, sqnr: linear.schemes[scheme].whole.output.sqnr })),
  );
  const ends = points.filter(({ index }) => index === linears.length - 1);
  const firsts = new Map(linears.flatMap(({ layer }, i) => (i % 4 === 0 && layer !== null ? [[i, layer]] : [])));
  return {
    height: 260,
    marginRight: narrow ? 62 : 72,
    marginLeft: 36,
    x: { label: 'layer', ticks: [...firsts.keys()], tickFormat: (i: number) => String(firsts.get(i)) },
    y: { label: 'dB', grid: true, zero: true, ticks: 5 },
    color: COLOUR,
    marks: [
      Plot.lineY(points, { x: 'index', y: 'sqnr', stroke: 'scheme', strokeWidth: 2 }),
      Plot.dot(points, { x: 'index', y: 'sqnr', fill: 'scheme', r: 2.5 }),
      Plot.text(ends, { x: 'index', y: 'sqnr', text: 'scheme', fill: 'scheme', dx: 8, textAnchor: 'start' }),
    ],
  };
}

/** All figures of one scheme; the lowest dB are marked. */
function allFigures(linears: readonly LinearReport[], scheme: Scheme): string {
  const [head, ...rows] = figures(linears, scheme);
  const cell = (text: string): Cell =>
    text.endsWith('*') ? { html: `<mark>${text.slice(0, -1)}</mark>` } : text.trim();
  return table(
    head,
    rows.map((row) => row.map(cell)),
  );
}

/**
 * The page, as HTML.
 * @param device what computed it, to be named
 * @param slide what lies under the microscope, and at which spot of it to look
 */
export function explainPage(
  explanation: Explanation,
  device: string,
  slide: Slide,
  spot: { token: number; output: number },
): string {
  const { question, context, tokens, answers, logits, linears } = explanation;
  const [torch, accurate] = NAMES;
  const bad = worst(linears, 'torch');
  const { torch: before, accurate: after } = bad.schemes;
  const [outlier] = bad.outliers as [LinearReport['outliers'][0]];
  const reach = -outlier.low > outlier.high ? outlier.low : outlier.high;
  const gained = mostGained(explanation);
  const best = worst(linears, 'accurate');
  const answer = (model: 'fp32' | Scheme): Cell[] => {
    const { noAnswer, text, score } = answers[model];
    const quality = model === 'fp32' ? ['', ''] : [decibels(logits[model].sqnr), logits[model].cosine.toFixed(4)];
    return [model, noAnswer ? 'no answer' : text, score.toFixed(3), ...quality];
  };
  const passage = answers.fp32.noAnswer
    ? escapeHtml(context)
    : `${escapeHtml(context.slice(0, answers.fp32.start))}<mark>${escapeHtml(answers.fp32.text)}</mark>${escapeHtml(context.slice(answers.fp32.end))}`;
  const body = `
${table(['model', 'answer', 'score', 'logits, dB', 'cosine'], (['fp32', ...SCHEMES] as const).map(answer))}
<p class="note">${escapeHtml(OTHER_SCORES)}</p>
<details><summary>The passage</summary><p>${passage}</p></details>

<h2>What each linear costs by itself</h2>
<p>The model's linears are its matrix products. Here one at a time is computed in int8, from the very input that float32
gives it: its weights become 8-bit integers, its input 7-bit ones, 0 to 127. ${torch}, PyTorch's scheme, has one scale for the
whole input; ${accurate} has one for each token, and one for each output feature of the weights.</p>
${figure(
  'Signal to noise of each linear when it alone is in int8, in dB: longer is better, 6 dB is one bit.',
  'Bars of the signal to noise ratio of each linear, torch and accurate; the table at the end has the numbers.',
  ({ narrow }) => aloneChart(linears, narrow),
)}
<p>In ${torch}, ${escapeHtml(nameOf(bad))} costs most: ${decibels(before.alone.output.sqnr)} dB are left. In ${accurate} it is
${escapeHtml(nameOf(best))}, with ${decibels(best.schemes.accurate.alone.output.sqnr)} dB. The largest gain, ${gained.gain.toFixed(1)} dB,
is at ${escapeHtml(nameOf(gained.linear))}.</p>

<h2>Why: one value sets the scale of all</h2>
<p>The scale must reach from the smallest to the largest value, so next to nothing is clipped, and instead every value pays: rounding
costs up to half a step, and the step grows with the range. In the input of ${escapeHtml(nameOf(bad))} feature ${outlier.feature}
reaches ${short(reach)}; all but ${bad.outliers.length} of the ${bad.in} features stay within ${short(bad.others.low)} to
${short(bad.others.high)}.</p>
<p>${torch} spreads its levels over the whole range, where they meet values or not: the median token has
${before.alone.levels} different integers, and a typical value (root mean square) is ${before.alone.steps.toFixed(1)} steps from 0.
With a scale for each token only the tokens that hold an outlier pay for it. The median token then has
${after.alone.levels} different integers, a typical value is ${after.alone.steps.toFixed(1)} steps from 0, and
${decibels(before.alone.output.sqnr)} dB become ${decibels(after.alone.output.sqnr)}.</p>

${stillLife(slide, spot)}

<h2>How the error adds up</h2>
<p>Now the whole model is in int8: each linear gets what the int8 linears before it have made. Residual connections carry
the error on from layer to layer; the last point is the logits.</p>
${figure(
  'Signal to noise behind each linear when the whole model is in int8, in dB, from the first layer to the logits.',
  'Lines of the signal to noise ratio along the model, torch and accurate; the table at the end has the numbers.',
  ({ narrow }) => wholeChart(linears, narrow),
)}

<h2>All numbers</h2>
<p class="note">low, high, scale and zero point: of float32's input to the linear; for accurate of the median token, and from the
smallest to the largest. clipped: share of the activations that round beyond 0 to 127, half a step at most. levels: different
integers in the median token. steps: root mean square of x / scale. dB: 10 log<sub>10</sub>(Σ y² / Σ (y − y<sub>int8</sub>)²).
Marked: the lowest.</p>
<h3>torch</h3>
${allFigures(linears, 'torch')}
<h3>accurate</h3>
${allFigures(linears, 'accurate')}`;
  return htmlPage({
    title: 'What int8 does to one question',
    lead: `${question} · ${tokens} tokens · ${device}`,
    body,
  });
}
