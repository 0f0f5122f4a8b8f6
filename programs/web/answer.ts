/** Shows the answers: in the passage, and below it in words. */
import type { Answer } from '../../src/index.ts';
import { bar, byId, element, table } from './dom.ts';
import { excerpt, pieces } from './spans.ts';

const score = ({ score }: Answer) => score.toFixed(3);
/** Below the one the model is not sure, below the other a candidate is not worth a mark. */
const [SURE, WORTH] = [0.1, 0.05];

/** The copy of the passage behind the textarea, with its answers marked; without any, only the text. */
export function mark(context: string, answers: readonly Answer[] = []): void {
  const worth = answers.filter(({ noAnswer, score }) => !noAnswer && score >= WORTH);
  const best = answers[0];
  const marked = pieces(context, worth).map(({ text, rank }) =>
    rank === null ? text : element('mark', { class: worth[rank] !== best && 'next' }, text),
  );
  byId('mirror').replaceChildren(...marked, '\n'); // a last empty line is as high as any
}

export function showAnswers(context: string, answers: readonly Answer[]): void {
  const [best, ...others] = answers as [Answer, ...Answer[]];
  mark(context, answers);
  const { before, after } = excerpt(context, best);
  const unsure = best.score < SURE ? ' The model is not sure.' : '';
  byId('answer').replaceChildren(
    element('p', { class: 'text' }, best.noAnswer ? 'The passage does not say.' : best.text),
    element('p', { class: 'muted small' }, `Score ${score(best)}.${unsure}`),
    ...(best.noAnswer ? [] : [element('p', { class: 'where' }, before, element('mark', {}, best.text), after)]),
  );
  const name = ({ noAnswer, text }: Answer) => (noAnswer ? element('em', {}, 'no answer') : text);
  const rows = others.map((other) => [name(other), bar(other.score, 'other'), score(other)]);
  const head = { caption: 'What came next', head: ['Candidate', '', 'Score'], numbers: [2] };
  byId('others').replaceChildren(...(rows.length > 0 ? [table(head, rows)] : []));
}
