/** State that the browser keeps for a visitor: the texts, the last questions, and what "back" goes to. And links with texts in them. */
import type { Texts } from './protocol.ts';

interface Kept {
  /** Contents of the fields when the page was left. */
  texts: Texts | null;
  /** Questions that were asked, the latest first. */
  asked: Texts[];
}

/** Each folder of a host has its own. */
const KEY = `bertlet ${new URL('.', document.baseURI).pathname}`;
const [MOST, LONGEST] = [5, 50_000];

/** Texts, or null: another version may have kept something else, and a store may be damaged. */
export function textsOf(value: unknown): Texts | null {
  const { question, context } = Object(value) as Partial<Texts>;
  return typeof question === 'string' && typeof context === 'string' ? { question, context } : null;
}
const isSame = (a: Texts, b: Texts) => a.question === b.question && a.context === b.context;

export function kept(): Kept {
  let read: unknown;
  try {
    read = JSON.parse(localStorage.getItem(KEY) ?? '{}'); // a browser may refuse
  } catch {}
  const { texts, asked } = Object(read) as Record<string, unknown>;
  return {
    texts: textsOf(texts),
    asked: Array.isArray(asked) ? asked.flatMap((one) => textsOf(one) ?? []).slice(0, MOST) : [],
  };
}

export function keep(changed: Partial<Kept>): void {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...kept(), ...changed }));
  } catch {} // a full or a closed storage is no reason to fail
}

/** Puts a question in front of those asked before. */
export function keepAsked(texts: Texts): void {
  if (texts.context.length > LONGEST) return; // not a storage full of books
  keep({ asked: [texts, ...kept().asked.filter((one) => !isSame(one, texts))].slice(0, MOST) });
}

/** Makes the question that was answered an entry of the browser's history; the one that is there stays. */
export function remember(texts: Texts): void {
  const there = textsOf(history.state);
  if (there && isSame(there, texts)) return;
  try {
    if (there) history.pushState(texts, '');
    else history.replaceState(texts, '');
  } catch {} // more than the browser keeps
}

/** The texts are behind the #, which no browser sends to a server. */
export const linkTo = ({ question, context }: Texts): string =>
  `${location.href.split('#')[0]}#${new URLSearchParams({ question, context })}`;

/** The texts of the page's address, or null. Takes them out of it: from then on the fields are what counts. */
export function fromLink(): Texts | null {
  const texts = textsOf(Object.fromEntries(new URLSearchParams(location.hash.slice(1))));
  if (texts) history.replaceState(null, '', location.href.split('#')[0]);
  return texts;
}
