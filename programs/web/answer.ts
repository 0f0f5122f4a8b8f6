/** Shows the answers: in the passage, and beside it in words and as a table of candidates. */
import type { Answer } from '../../src/index.ts';
import { bar, byId, element, table } from './dom.ts';
import { type Candidate, candidates, excerpt, pieces } from './spans.ts';

/** Below this confidence the model is not sure. */
const SURE = 0.6;
/** Below these shares a candidate is not worth a mark, and not a row. */
const [MARKED, LISTED] = [0.05, 0.01];
const ROWS = 5;
const MEANING =
  'Confidence is the probability of the answer if it and “no answer” were the only two: it means the same in a passage of ' +
  'any length. The score is the probability among all spans of the passage, so a long passage makes it small. The bars ' +
  'are shares among the candidates; spans that overlap or say the same count as one.';

/** Rounded, but never to the certainty that no model has. */
export function percent(share: number): string {
  const whole = Math.round(share * 100);
  return whole === 0 ? '< 1 %' : whole === 100 ? '> 99 %' : `${whole} %`;
}

/** The copy of the passage behind the textarea, with its answers marked, the best first; without any, only the text. */
export function mark(context: string, answers: readonly Answer[] = []): void {
  const spans = answers.filter(({ noAnswer }) => !noAnswer);
  const marked = pieces(context, spans).map(({ text, rank }) =>
    rank === null ? text : element('mark', { class: spans[rank] !== answers[0] && 'next' }, text),
  );
  byId('mirror').replaceChildren(...marked, '\n'); // a last empty line is as high as any
}

/** Brings a mark into sight within the passage's box; the page itself stays where it is. */
function show(marked: HTMLElement | null): void {
  const box = byId('mirror').closest('.page')!;
  if (!marked || document.activeElement === byId('passage')) return; // who writes there is not moved
  const { top, bottom } = marked.getBoundingClientRect();
  const { top: first, height } = box.getBoundingClientRect();
  if (top < first || bottom > first + height) box.scrollTop += top - first - height / 3;
}

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

export function showAnswers(context: string, answers: readonly [Answer, ...Answer[]]): void {
  const [best] = answers;
  const all = candidates(answers).filter(({ share }, i) => i === 0 || share >= LISTED);
  const marked = all.filter(({ share }, i) => i === 0 || (share >= MARKED && !best.noAnswer));
  mark(
    context,
    marked.map((candidate) => candidate.best),
  );
  show(byId('mirror').querySelector('mark:not(.next)'));
  const { before, after } = excerpt(context, best);
  const unsure = best.confidence < SURE ? ' The model is not sure.' : '';
  const numbers = `Confidence ${percent(best.confidence)}, score ${best.score.toFixed(3)}.${unsure}`;
  byId('answer').replaceChildren(
    element('p', { class: 'text' }, best.noAnswer ? 'The passage does not say.' : best.text),
    element('p', { class: 'muted small' }, numbers),
    ...(best.noAnswer ? [] : [element('p', { class: 'where' }, before, element('mark', {}, best.text), after)]),
  );
  byId('copy').hidden = best.noAnswer;
  byId('others').replaceChildren(
    ...tableOf(all.slice(0, ROWS)),
    element(
      'details',
      {},
      element('summary', { class: 'small' }, 'What the numbers mean'),
      element('p', { class: 'muted small' }, MEANING),
    ),
  );
  byId('result').classList.remove('old');
}
