/** What int8 did to one question: the three answers, and for each linear its range, scale, zero point and error. */

import type { Scheme } from '../../src/index.ts';
import type { Explanation, LinearReport } from '../explain/explain.ts';
import { decibels, nameOf, short, summary } from '../explain/text.ts';
import { bar, byId, downloadButton, element, table } from './dom.ts';

const SCHEMES: Record<Scheme, string> = { torch: 'like PyTorch', accurate: 'accurate' };
export const NAMES: Record<'fp32' | Scheme, string> = {
  fp32: 'float32',
  torch: `int8, ${SCHEMES.torch}`,
  accurate: `int8, ${SCHEMES.accurate}`,
};
/** dB that a bar of the whole width stands for. */
const MOST = 60;

function answers({ answers, logits }: Explanation): HTMLElement {
  const rows = (Object.keys(NAMES) as (keyof typeof NAMES)[]).map((key) => {
    const { noAnswer, text, score } = answers[key];
    const noise = key === 'fp32' ? '' : decibels(logits[key].sqnr);
    return [NAMES[key], noAnswer ? element('em', {}, 'no answer') : text, score.toFixed(3), noise];
  });
  const caption =
    'The answers, and signal to noise of the logits in dB: 6 dB more is half the error. Computed on the CPU; another device adds up ' +
    'floats in another order, which can move an integer and with it the score.';
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

/** The same numbers as a file: a row for each linear and scheme. */
const file = ({ linears }: Explanation) =>
  (['torch', 'accurate'] as const).flatMap((scheme) =>
    linears.map((report) => {
      const { alone, whole } = report.schemes[scheme];
      return {
        ...{ scheme, linear: nameOf(report), alone_db: alone.output.sqnr, so_far_db: whole.output.sqnr },
        ...{ scale: alone.scale.median, zero_point: alone.zeroPoint.median, low: alone.low, high: alone.high },
        cosine: whole.output.cosine,
      };
    }),
  );

export function showExplanation(explanation: Explanation): void {
  const details = (['torch', 'accurate'] as const).map((scheme, i) =>
    element(
      'details',
      { open: i === 0 },
      element('summary', {}, `Every linear: ${NAMES[scheme]}`),
      linears(explanation.linears, scheme),
    ),
  );
  byId('explanation').replaceChildren(
    answers(explanation),
    element(
      'ul',
      { class: 'small' },
      ...summary(explanation, SCHEMES)
        .slice(1)
        .map((line) => element('li', {}, line)),
    ),
    ...details,
    downloadButton('bertlet-quantization.csv', file(explanation)),
  );
}
