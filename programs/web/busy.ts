/** The work under way: a line of status, and beside the button that was pressed a bar and the way out. */
import { byId } from './dom.ts';
import { question } from './passage.ts';

export const say = (text: string): void => {
  byId('status').textContent = text;
};

/** Shows how far it is, beside the status and not in it: a screen reader need not read each step. */
export function showStep(text: string, share?: number): void {
  const bar = byId<HTMLProgressElement>('bar');
  if (share === undefined) bar.removeAttribute('value');
  else bar.value = share;
  byId('step').textContent = text;
}

/** Shows the bar in view, in the part of the page that was pressed; where that has gone, or at the start, with the answer. */
function showBar(text: string, beside: Element | null): void {
  const progress = byId('progress');
  const part = beside?.closest('[data-busy]');
  const shown = part?.checkVisibility() ? part : byId('result');
  shown.querySelector('.place')!.append(progress);
  byId('doing').textContent = text;
  progress.hidden = false;
  byId('status').classList.add('unseen'); // it stands beside the bar
  const { top, bottom } = progress.getBoundingClientRect();
  // At the start nothing was pressed, and Tab would go on from where the page scrolls to.
  if (beside && (top < 0 || bottom > innerHeight)) progress.scrollIntoView({ block: 'nearest' });
}

/** Controller of what was begun last: Cancel ends it. */
let latest: AbortController | null = null;
byId('cancel').addEventListener('click', () => latest?.abort());

/**
 * Runs something that `stop` ends. The bar shows after a moment, so that what is quick does not flicker. A button that goes
 * leaves the focus to the question.
 * @param beside what was pressed
 */
export async function busy(
  text: string,
  beside: Element | null,
  stop: AbortController,
  run: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const error = byId('error');
  if (error.contains(document.activeElement)) question.focus();
  error.replaceChildren();
  say(text);
  showStep('');
  latest = stop;
  const timer = setTimeout(() => latest === stop && showBar(text, beside), 200);
  try {
    await run(stop.signal);
  } finally {
    clearTimeout(timer);
    const focused = document.activeElement === byId('cancel');
    if (latest === stop) {
      latest = null;
      byId('progress').hidden = true;
      byId('status').classList.remove('unseen');
    }
    if (focused) question.focus();
  }
}
