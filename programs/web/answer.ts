/** Shows the answers: in the passage, and beside it in words and as a table of candidates. */
import type { Answer } from '../../src/index.ts';
import { bar, byId, element, table } from './dom.ts';
import { distinct, excerpt, pieces } from './spans.ts';

/** Below the one the model is not sure; below the next a candidate is not worth a mark, and below the last not a row. */
const [SURE, MARKED, LISTED] = [0.75, 0.5, 0.01];
const ROWS = 5;

/** Rounded, but never to the certainty that no model has. */
export function percent(share: number): string {
  const whole = Math.round(share * 100);
  return whole === 0 ? '< 1 %' : whole === 100 ? '> 99 %' : `${whole} %`;
}

/** The copy of the passage behind the textarea, with its answers marked; without any, only the text. */
export function mark(context: string, answers: readonly Answer[] = []): void {
  const best = answers[0];
  const worth = answers.filter(({ noAnswer, confidence }) => !noAnswer && confidence >= MARKED);
  const marked = pieces(context, worth).map(({ text, rank }) =>
    rank === null ? text : element('mark', { class: worth[rank] !== best && 'next' }, text),
  );
  byId('mirror').replaceChildren(...marked, '\n'); // a last empty line is as high as any
}

/** The candidates' table, of the best and those that are something beside it. */
function candidates(answers: readonly Answer[]): HTMLElement[] {
  const [best, ...others] = answers;
  if (others.length === 0) return [];
  const rows = answers.map((answer) => [
    answer.noAnswer ? element('em', {}, 'no answer') : answer.text,
    bar(answer.confidence, answer === best ? '' : 'other'),
    percent(answer.confidence),
    answer.score.toFixed(3),
  ]);
  const meaning =
    'Confidence is the probability of an answer if it and “no answer” were the only two, in a passage of any length. ' +
    'Score is its probability among all spans of the passage: the longer the passage, the smaller. ' +
    'Of spans that overlap, the best is shown.';
  return [
    table({ caption: 'Candidates', head: ['Answer', '', 'Confidence', 'Score'], numbers: [2, 3] }, rows),
    element(
      'details',
      {},
      element('summary', {}, 'What the numbers mean'),
      element('p', { class: 'muted small' }, meaning),
    ),
  ];
}

export function showAnswers(context: string, all: readonly Answer[]): void {
  const best = all[0] as Answer;
  const answers = distinct(all)
    .filter((answer) => answer === best || answer.confidence >= LISTED)
    .slice(0, ROWS);
  mark(context, answers);
  const { before, after } = excerpt(context, best);
  const unsure = best.confidence < SURE ? ' The model is not sure.' : '';
  byId('answer').replaceChildren(
    element('p', { class: 'text' }, best.noAnswer ? 'The passage does not say.' : best.text),
    element('p', { class: 'muted small' }, `Confidence ${percent(best.confidence)}.${unsure}`),
    ...(best.noAnswer ? [] : [element('p', { class: 'where' }, before, element('mark', {}, best.text), after)]),
  );
  byId('copy').hidden = best.noAnswer;
  byId('others').replaceChildren(...candidates(answers));
  byId('result').classList.remove('old');
}
