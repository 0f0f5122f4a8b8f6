/** The work under way: a line of status, and beside the button that was pressed a bar and the way out. */
import { byId } from './dom.ts';

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

/** The place for the bar: of the part of the page that an element belongs to, or else beside the answer. */
function placeBeside(element: Element | null): HTMLElement {
  const part = element?.closest('[data-busy]');
  const shown = part?.checkVisibility() ? part : byId('result'); // what was pressed may have gone since
  return shown.querySelector<HTMLElement>('.place')!;
}

let cancel: (() => void) | null = null;
byId('cancel').addEventListener('click', () => cancel?.());

/**
 * Runs something that can be cancelled. The bar shows after a moment, so that what is quick does not flicker.
 * @param beside what was pressed
 * @param focus takes the focus from a button that goes
 */
export async function busy<T>(
  text: string,
  { beside, focus, onCancel }: { beside: Element | null; focus: () => void; onCancel: () => void },
  run: () => Promise<T>,
): Promise<T> {
  const [status, progress, error, button] = [byId('status'), byId('progress'), byId('error'), byId('cancel')];
  say(text);
  if (error.contains(document.activeElement)) focus();
  error.replaceChildren();
  showStep('');
  cancel = onCancel;
  const show = () => {
    placeBeside(beside).append(progress);
    byId('doing').textContent = text;
    progress.hidden = false;
    status.classList.add('unseen'); // it stands beside the bar
    const { top, bottom } = progress.getBoundingClientRect();
    // At the start nothing was pressed, and Tab would go on from where the page scrolls to.
    if (beside && (top < 0 || bottom > innerHeight)) progress.scrollIntoView({ block: 'nearest' });
  };
  const timer = setTimeout(show, 200);
  try {
    return await run();
  } finally {
    clearTimeout(timer);
    const focused = document.activeElement === button;
    if (cancel === onCancel) {
      cancel = null;
      progress.hidden = true;
      status.classList.remove('unseen');
    }
    if (focused) focus();
  }
}
