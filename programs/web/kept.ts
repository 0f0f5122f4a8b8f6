/** What the browser keeps for a visitor: the texts, and the last questions. And links with texts in them. */
import type { Texts } from './protocol.ts';

interface Kept {
  /** What the fields held when the page was left. */
  texts: Texts | null;
  /** What was asked, the latest first. */
  asked: Texts[];
}

/** Each folder of a host has its own. */
const KEY = `bertlet ${new URL('.', document.baseURI).pathname}`;
const [MOST, LONGEST] = [5, 50_000];

export function kept(): Kept {
  try {
    return { texts: null, asked: [], ...JSON.parse(localStorage.getItem(KEY) ?? '{}') };
  } catch {
    return { texts: null, asked: [] }; // a browser may refuse
  }
}

export function keep(changed: Partial<Kept>): void {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...kept(), ...changed }));
  } catch {} // a full or a closed storage is no reason to fail
}

/** Puts a question in front of those asked before. */
export function keepAsked(texts: Texts): void {
  if (texts.context.length > LONGEST) return; // not a storage full of books
  const isOther = ({ question, context }: Texts) => question !== texts.question || context !== texts.context;
  keep({ asked: [texts, ...kept().asked.filter(isOther)].slice(0, MOST) });
}

/** The texts are behind the #, which no browser sends to a server. */
export const linkTo = ({ question, context }: Texts): string =>
  `${location.href.split('#')[0]}#${new URLSearchParams({ question, context })}`;

/** The texts of the page's address, or null. Takes them out of it: from then on the fields are what counts. */
export function fromLink(): Texts | null {
  const given = new URLSearchParams(location.hash.slice(1));
  const [question, context] = [given.get('question'), given.get('context')];
  if (question === null || context === null) return null;
  history.replaceState(null, '', location.href.split('#')[0]);
  return { question, context };
}
