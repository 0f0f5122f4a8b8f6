/** Effects of int8 on one question: the three answers, and for each linear its range, scale, zero point and error. */

import type { Answer, Scheme } from '../../src/index.ts';
import type { Explanation, LinearReport } from '../explain/explain.ts';
import type { Slide } from '../explain/microscope.ts';
import { decibels, nameOf, short, summary } from '../explain/text.ts';
import { bar, byId, downloadButton, element, table } from './dom.ts';
import { microscope } from './microscope.ts';

const SCHEMES: Record<Scheme, string> = { torch: 'like PyTorch', accurate: 'accurate' };
export const NAMES: Record<'fp32' | Scheme, string> = {
  fp32: 'float32',
  torch: `int8, ${SCHEMES.torch}`,
  accurate: `int8, ${SCHEMES.accurate}`,
};
const shown = ({ noAnswer, text }: Answer): string => (noAnswer ? 'no answer' : `“${text}”`);
/** Summary before any table. */
function sentence({ answers: { fp32, torch, accurate } }: Explanation): string {
  const [float, like, own] = [fp32, torch, accurate].map(shown);
  if (float === like && float === own)
    return `Rounding to int8 does not change the answer: it is ${float} in float32, too.`;
  if (float === own)
    return `The accurate int8 answers ${own}, as float32 does. Rounded like PyTorch it would be ${like}.`;
  if (float === like)
    return `Rounded like PyTorch the answer is ${like}, as in float32. The accurate int8 answers ${own}.`;
  return `In float32 the answer is ${float}, rounded like PyTorch ${like}, and in the accurate int8 ${own}.`;
}

/** dB that a bar of the whole width stands for. */
const MOST = 60;

function answers({ answers, logits }: Explanation): HTMLElement {
  const rows = (Object.keys(NAMES) as (keyof typeof NAMES)[]).map((key) => {
    const { noAnswer, text, score } = answers[key];
    const noise = key === 'fp32' ? '' : decibels(logits[key].sqnr);
    return [NAMES[key], noAnswer ? element('em', {}, 'no answer') : text, score.toFixed(3), noise];
  });
  const caption = 'Signal to noise of the logits in dB: 6 dB more is half the error.';
  return table({ caption, head: ['Model', 'Answer', 'Score', 'dB'], numbers: [2, 3] }, rows);
}

function linears(reports: readonly LinearReport[], scheme: Scheme): HTMLElement {
  const rows = reports.map((report) => {
    const { alone, whole } = report.schemes[scheme];
    const { sqnr } = alone.output;
    return [
      nameOf(report),
      bar((sqnr ?? MOST) / MOST),
      decibels(sqnr),
      decibels(whole.output.sqnr),
      short(alone.scale.median),
      String(alone.zeroPoint.median),
      `${short(alone.low)} to ${short(alone.high)}`,
      whole.output.cosine.toFixed(4),
    ];
  });
  const head = ['Linear', '', 'dB alone', 'dB so far', 'Scale', 'Zero point', 'Input', 'Cosine'];
  const ofTokens = scheme === 'accurate' ? ' Scale and zero point are those of the median token.' : '';
  const caption = `Signal to noise of each linear’s output in dB: with it alone in int8, and with all linears up to it.${ofTokens}`;
  const made = table({ head, numbers: [2, 3, 4, 5, 6, 7] }, rows);
  return element(
    'div',
    {},
    element('p', { class: 'muted small' }, caption),
    element('section', { class: 'scroll', tabindex: 0, 'aria-label': `Linears, ${NAMES[scheme]}` }, made),
  );
}

/** @param slideOf see `microscope` */
export async function showExplanation(
  explanation: Explanation,
  slideOf: (linear: string) => Promise<Slide>,
): Promise<void> {
  const details = (['torch', 'accurate'] as const).map((scheme, i) =>
    element(
      'details',
      { open: i === 0 },
      element('summary', {}, `Every linear: ${NAMES[scheme]}`),
      linears(explanation.linears, scheme),
    ),
  );
  byId('explanation').replaceChildren(
    element('p', {}, sentence(explanation)),
    answers(explanation),
    await microscope(explanation, slideOf),
    element(
      'ul',
      { class: 'small' },
      ...summary(explanation, SCHEMES)
        .slice(1)
        .map((line) => element('li', {}, line)),
    ),
    ...details,
    element(
      'p',
      { class: 'muted small' },
      'Computed on the CPU: a GPU adds up floats in another order, which can move an integer and with it the score.',
    ),
    downloadButton('bertlet-quantization.json', explanation),
  );
}
