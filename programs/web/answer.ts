/** Shows the answers: in the passage, and beside it in words and as a table of candidates. */
import type { Answer } from '../../src/index.ts';
import { bar, byId, element, table } from './dom.ts';
import { isLong, mark, showMark } from './passage.ts';
import { type Candidate, candidates, excerpt, percent } from './spans.ts';

/** Below this confidence the model is not sure. */
const SURE = 0.6;
/** Below these shares a candidate is not worth a mark, and not a row. */
const [MARKED, LISTED] = [0.05, 0.01];
const ROWS = 5;
const MEANING = [
  'Confidence is the probability of the answer if it and “no answer” were the only two. It means the same in a passage of any length.',
  'The score, for a passage that is read at once, is the probability among all of its spans.',
  'The bars are shares among the candidates. Spans that overlap or say the same count as one.',
];

/** The best and what is something beside it; a table of one line would say nothing. */
function tableOf(all: readonly Candidate<Answer>[]): HTMLElement[] {
  if (all.length < 2) return [];
  const rows = all.map(({ best, share }, i) => [
    best.noAnswer ? element('em', {}, 'no answer') : best.text,
    bar(share, i === 0 ? '' : 'other'),
    percent(share),
  ]);
  return [table({ caption: 'Candidates', head: ['Answer', '', 'Share'], numbers: [2] }, rows)];
}

/** An answer that is not to what is asked now is grey, and its buttons are off. */
export function setStale(stale: boolean): void {
  const result = byId('result');
  result.classList.toggle('old', stale);
  for (const button of result.querySelectorAll<HTMLButtonElement>('.buttons button')) button.disabled = stale;
}

/** @param windows that the passage was read in: a score is a share of all of them, and says little where there are several */
export function showAnswers(context: string, answers: readonly [Answer, ...Answer[]], windows: number): void {
  const [best] = answers;
  const all = candidates(answers).filter(({ share }, i) => i === 0 || share >= LISTED);
  const marked = all.filter(({ share }, i) => i === 0 || (share >= MARKED && !best.noAnswer));
  mark(
    context,
    marked.map((candidate) => candidate.best),
  );
  showMark();
  const { before, after } = excerpt(context, best);
  const unsure = best.confidence < SURE ? ' The model is not sure.' : '';
  const score = windows > 1 ? '' : `, score ${best.score.toFixed(3)}`;
  const numbers = `Confidence ${percent(best.confidence)}${score}.${unsure}`;
  byId('answer').replaceChildren(
    element('p', { class: 'text', dir: 'auto' }, best.noAnswer ? 'The passage does not say.' : best.text),
    element('p', { class: 'muted small' }, numbers),
    ...(best.noAnswer
      ? []
      : [element('p', { class: 'where', dir: 'auto' }, before, element('mark', {}, best.text), after)]),
  );
  byId('copy').hidden = best.noAnswer;
  byId('show').hidden = best.noAnswer || !isLong(context);
  byId('others').replaceChildren(
    ...tableOf(all.slice(0, ROWS)),
    element(
      'details',
      {},
      element('summary', { class: 'small' }, 'What the numbers mean'),
      ...MEANING.map((line) => element('p', { class: 'muted small' }, line)),
    ),
  );
  setStale(false);
}
