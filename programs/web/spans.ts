/** A piece of the passage, and the best of the answers that cover it: 0 is the first, null none. */
export interface Piece {
  text: string;
  rank: number | null;
}

/** Cuts a text where answers begin or end; the pieces joined are the text. */
export function pieces(text: string, spans: readonly { start: number; end: number }[]): Piece[] {
  const cuts = [...new Set([0, text.length, ...spans.flatMap(({ start, end }) => [start, end])])].sort((a, b) => a - b);
  return cuts.slice(1).map((end, i) => {
    const begin = cuts[i]!;
    const rank = spans.findIndex((span) => span.start <= begin && end <= span.end);
    return { text: text.slice(begin, end), rank: rank < 0 ? null : rank };
  });
}

/** The text around a span, cut between words. */
export function excerpt(text: string, { start, end }: { start: number; end: number }, around = 90) {
  const before = text.slice(Math.max(0, start - around), start);
  const after = text.slice(end, end + around);
  return {
    before: start > around ? `…\u00a0${before.replace(/^\S*\s+/, '')}` : before, // its dots are never alone on a line
    after: end + around < text.length ? `${after.replace(/\s+\S*$/, '')}\u00a0…` : after,
  };
}

/** Spans of one answer: what overlaps the best of them, or says the same elsewhere. */
export interface Candidate<A> {
  best: A;
  /** Probability among the candidates. Scores are shares of a whole that grows with the passage, these are not. */
  share: number;
}

/** The candidates among some answers, best first; "no answer" is one of its own. */
export function candidates<A extends { text: string; start: number; end: number; score: number }>(
  answers: readonly A[],
): Candidate<A>[] {
  const found: Candidate<A>[] = [];
  for (const one of answers) {
    const isSame = ({ best }: Candidate<A>) => one.text === best.text || (one.start < best.end && best.start < one.end);
    const same = found.find(isSame);
    if (same) same.share += one.score;
    else found.push({ best: one, share: one.score });
  }
  const all = found.reduce((sum, { share }) => sum + share, 0);
  return found.map(({ best, share }) => ({ best, share: share / all }));
}

/** Rounded, but never to the certainty that no model has. */
export function percent(share: number): string {
  const whole = Math.round(share * 100);
  return whole === 0 ? '< 1 %' : whole === 100 ? '> 99 %' : `${whole} %`;
}
