/** The two fields: question and passage. The answers are marked in a copy of the passage that lies behind it. */
import type { Answer } from '../../src/index.ts';
import { byId, element } from './dom.ts';
import type { Texts } from './protocol.ts';
import { pieces } from './spans.ts';

export const question = byId<HTMLTextAreaElement>('question');
export const passage = byId<HTMLTextAreaElement>('passage');
const [mirror, box] = [byId('mirror'), byId('mirror').closest<HTMLElement>('.page')!];

/**
 * A longer passage has no copy: the browser would lay out all of it at each key (1.2 µs a character here). Its field scrolls by
 * itself, and a button selects the answer in it.
 */
const MOST_COPIED = 20_000; // characters
export const isLong = (text: string): boolean => text.length > MOST_COPIED;

export const texts = (): Texts => ({ question: question.value, context: passage.value });

export function fill({ question: text, context }: Texts): void {
  question.value = text;
  passage.value = context;
  passage.dir = 'auto';
  growQuestion();
  mark(context);
}

/** Makes the question as high as its lines, where the browser does not do so itself. */
export function growQuestion(): void {
  if (CSS.supports('field-sizing', 'content')) return;
  question.style.height = 'auto';
  const { offsetHeight, clientHeight, scrollHeight } = question;
  question.style.height = `${scrollHeight + offsetHeight - clientHeight}px`;
}
// Also when its width or its style has come late.
new ResizeObserver(() => requestAnimationFrame(growQuestion)).observe(question);

/** Shows a text with its answers marked, the best first; without any, only the text. */
export function mark(context: string, answers: readonly Answer[] = []): void {
  box.classList.toggle('long', isLong(context));
  // With `auto`, the browser would order the characters of a long paragraph anew at each key.
  passage.dir = isLong(context) ? getComputedStyle(passage).direction : 'auto';
  if (isLong(context)) {
    if (mirror.firstChild) mirror.replaceChildren();
    return;
  }
  const spans = answers.filter(({ noAnswer }) => !noAnswer);
  const marked = pieces(context, spans).map(({ text, rank }) =>
    rank === null ? text : element('mark', { class: spans[rank] !== answers[0] && 'next' }, text),
  );
  mirror.replaceChildren(...marked, '\n'); // a last empty line is as high as any
}

/** Brings the answer into sight within the passage's box; the page itself stays where it is. */
export function showMark(): void {
  const marked = mirror.querySelector('mark:not(.next)');
  if (!marked || document.activeElement === passage) return; // who writes there is not moved
  const { top, bottom } = marked.getBoundingClientRect();
  const { top: first, height } = box.getBoundingClientRect();
  if (top < first || bottom > first + height) box.scrollTop += top - first - height / 3;
}

/** Selects an answer in the passage, which scrolls to it. */
export function select({ start, end }: Answer): void {
  passage.setSelectionRange(start, end);
  passage.blur(); // a browser scrolls to the selection when a field takes the focus
  passage.focus();
}
