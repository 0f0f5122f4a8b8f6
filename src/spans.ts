/**
 * Picks answers: the spans that fit best by the logits of their windows, and "no answer".
 *
 * Every token of a passage may begin an answer, and end one. [CLS] begins and ends "no answer". Logits of two windows do not
 * compare; what compares is how much better a span fits than "no answer" does in the same window:
 *
 *   margin = start logit of the first token + end logit of the last - both logits of [CLS]
 *
 * so "no answer" has 0. In a passage of one window this is the rule of run_squad.py (BERT) and run_qa.py (Hugging Face).
 *
 * In a long window models say "no answer" too often: they were trained on paragraphs. So the sentences around the best span
 * of a passage of several windows are read again, as a window of their own, and that one decides. By how much the best
 * margin changes, all others of the passage change. docs/use.md, "Long documents", has what that gives.
 */

/** A span of the passage, or "no answer". */
export interface Answer {
  /** `context.slice(start, end)`; '' for no answer. */
  text: string;
  /** Index of the passage; only where the question had `contexts`. */
  context?: number;
  /** Index of the answer's first UTF-16 unit in the passage. */
  start: number;
  /** Index one past the answer's last UTF-16 unit. */
  end: number;
  /**
   * Probability of the span, `softmax(start) * softmax(end)` over [CLS] and the passage tokens of all windows. For a
   * passage of one window the score equals the `score` of the transformers pipeline. The score grows with
   * `startLogit + endLogit`. The longer the passage, the smaller are all its scores: to trust an answer or not, and to
   * compare passages, use `confidence`.
   */
  score: number;
  /**
   * Probability of the answer if it and "no answer" were the only two:
   * `1 / (1 + exp((nullScore - startLogit - endLogit) / temperature))`, with the temperature of the checkpoint
   * (`confidence_temperature` in config.json, otherwise 1), which makes it right as often as it says. That of "no answer" is
   * what the best span leaves of 1. It means the same in passages of any length; answers are ranked by it.
   */
  confidence: number;
  /** True for "no answer": the passage does not hold the answer. `text` is then ''. */
  noAnswer: boolean;
  startLogit: number;
  endLogit: number;
  /** How well "no answer" fits: start + end logit of [CLS] in the window that the answer is from. */
  nullScore: number;
}

/** The logits of a window: of [CLS], and of its passage tokens. */
export interface Window {
  /** Index in the passage of the window's first token. */
  readonly begin: number;
  readonly none: readonly [start: number, end: number];
  readonly start: Float32Array;
  readonly end: Float32Array;
}

export interface SpanOptions {
  readonly topK: number;
  readonly overlap: boolean;
  readonly maxAnswerTokens: number;
  readonly nullThreshold: number;
  /** Divisor of logits for `confidence`. */
  readonly temperature: number;
}

/** A candidate: tokens `first` to `last` of a passage, by the logits of a window. */
interface Span {
  readonly window: Window;
  readonly nullScore: number;
  readonly first: number;
  readonly last: number;
  readonly startLogit: number;
  readonly endLogit: number;
}
const margin = ({ startLogit, endLogit, nullScore }: Span) => startLogit + endLogit - nullScore;
/** The best first. A tie goes to the earlier span, then to the shorter one: the order does not depend on the windows. */
const compare = (a: Span, b: Span) => margin(b) - margin(a) || a.first - b.first || a.last - b.last;

/** Tokens of a window that is read again. */
const AGAIN = 160;
const SENTENCE_END = /(?:[.!?]["'”’»)\]]*\s+|[。！？]\s*|\n\s*)$/;

/** A passage, and the best spans of the windows that were read of it. */
export class Passage {
  readonly text: string;
  /** Number of tokens. */
  readonly length: number;
  /** Id, start and end of each token: numbers in a row, since a document has many. */
  readonly #tokens: Int32Array;
  readonly #options: SpanOptions;
  /** The best spans so far, and some more. */
  #spans: Span[] = [];
  /** How many of them are kept. */
  #count: number;
  /** The margin that a span needs to be among them. */
  #least = Number.NEGATIVE_INFINITY;
  /** The first window that was added. */
  first: Pick<Span, 'window' | 'nullScore'> | undefined;
  /** `log(sum exp(logit))` of each window, over [CLS] and the tokens of the passage. */
  readonly #sums: { start: number[]; end: number[] } = { start: [], end: [] };

  /** @param isAgain whether `addAgain` will be called, whose window takes the place of all spans that it has */
  constructor(text: string, tokens: Int32Array, options: SpanOptions, isAgain: boolean) {
    this.text = text;
    this.length = tokens.length / 3;
    this.#tokens = tokens;
    this.#options = options;
    this.#count = options.topK + (isAgain ? AGAIN * Math.min(AGAIN, options.maxAnswerTokens) : 0);
  }

  /** Ids of the tokens from `begin` to the one before `end`. */
  ids(begin: number, end: number): number[] {
    return Array.from({ length: end - begin }, (_, i) => this.#tokens[3 * (begin + i)]!);
  }

  /** Adds a window. */
  add(window: Window): void {
    const { begin, none, start, end } = window;
    this.#sums.start.push(logSumExp([none[0], ...start]));
    this.#sums.end.push(logSumExp([none[1], ...end]));
    const { overlap, maxAnswerTokens } = this.#options;
    const nullScore = none[0] + none[1];
    this.first ??= { window, nullScore };
    for (let j = 0; j < end.length; j++) {
      for (let i = Math.max(0, j - maxAnswerTokens + 1); i <= j; i++) {
        const [startLogit, endLogit] = [start[i]!, end[j]!];
        if (startLogit + endLogit - nullScore < this.#least) continue;
        this.#spans.push({ window, nullScore, first: begin + i, last: begin + j, startLogit, endLogit });
        if (overlap && this.#spans.length >= 2 * this.#count + 1000) this.best(); // seldom: sorting costs little
      }
    }
    if (!overlap) this.best(); // not earlier: a span that is best so far may itself give way to a better one
  }

  /**
   * Where the sentences around the best span are, in about `AGAIN` tokens and at most `room`.
   */
  around(room: number): { begin: number; end: number } {
    const { first, last } = this.best()[0]!;
    const spare = Math.max(0, (Math.min(AGAIN, room) - (last + 1 - first)) >> 1);
    /** The first place between two sentences, or else `from`. */
    const between = (from: number, to: number, step: 1 | -1) => {
      for (let token = from; token !== to + step; token += step) {
        if (token === 0 || token === this.length) return token;
        const [before, behind] = [this.#tokens[3 * token - 1]!, this.#tokens[3 * token + 1]!];
        if (SENTENCE_END.test(this.text.slice(Math.max(0, before - 3), behind))) return token;
      }
      return from;
    };
    const begin = between(Math.max(0, first - spare), first, 1);
    return { begin, end: between(Math.min(this.length, last + 1 + spare), last + 1, -1) };
  }

  /** Adds the window of `around`, which decides for its spans and moves the others. */
  addAgain(window: Window): void {
    const [before] = this.#spans;
    const end = window.begin + window.start.length;
    const others = this.#spans.filter(({ first, last }) => first < window.begin || last >= end);
    this.#spans = [];
    this.#least = Number.NEGATIVE_INFINITY;
    this.#count = this.#options.topK;
    this.add(window);
    const moved = margin(this.best()[0]!) - margin(before!);
    for (const span of others) this.#spans.push({ ...span, nullScore: span.nullScore - moved });
  }

  /** The best spans, each text once; without `overlap` those that share no text with a better one. */
  best(): readonly Span[] {
    const kept: Span[] = [];
    const places = new Map<string, [start: number, end: number]>();
    for (const span of this.#spans.sort(compare)) {
      if (kept.length === this.#count) break;
      const place = this.#placeOf(span);
      const [start, end] = place;
      const isTaken = this.#options.overlap
        ? places.has(`${place}`)
        : [...places.values()].some(([a, b]) => a < end && start < b);
      if (isTaken || start >= end) continue;
      kept.push(span);
      places.set(`${place}`, place);
    }
    this.#spans = kept;
    if (kept.length === this.#count) this.#least = margin(kept.at(-1)!);
    return kept;
  }

  /** The place of a span in the text. A token without a place, the space before an emoji, has that of its neighbour. */
  #placeOf({ first, last }: Span): [start: number, end: number] {
    const isEmpty = (token: number) => this.#tokens[3 * token + 1] === this.#tokens[3 * token + 2];
    while (first < last && isEmpty(first)) first++;
    while (first < last && isEmpty(last)) last--;
    return [this.#tokens[3 * first + 1]!, this.#tokens[3 * last + 2]!];
  }

  /** The answer that a span is. "No answer" has no place. */
  answer(span: Span, context: number, confidence: number, noAnswer: boolean): Answer {
    const [start, end] = noAnswer ? [0, 0] : this.#placeOf(span);
    const { startLogit, endLogit, nullScore } = span;
    const score = Math.exp(startLogit - logSumExp(this.#sums.start) + endLogit - logSumExp(this.#sums.end));
    const text = this.text.slice(start, end);
    return { text, context, start, end, score, confidence, noAnswer, startLogit, endLogit, nullScore };
  }
}

/** 1 to `topK` answers from all passages, the best first. "No answer" is that of the window whose best span fits best. */
export function answersOf(passages: readonly Passage[], options: SpanOptions): [Answer, ...Answer[]] {
  const { topK, nullThreshold, temperature } = options;
  const spans = passages.flatMap((passage, context) => passage.best().map((span) => ({ passage, context, span })));
  spans.sort((a, b) => margin(b.span) - margin(a.span)); // stable: a tie goes to the earlier passage
  const sure = (over: number) => 1 / (1 + Math.exp(-over / temperature));
  const answers = spans.map(({ passage, context, span }) => passage.answer(span, context, sure(margin(span)), false));
  const { passage, context, span } = spans[0] ?? { passage: passages[0]!, context: 0, span: null };
  const { window, nullScore } = span ?? passage.first!;
  const { none } = window;
  const cls = { first: 0, last: 0, startLogit: none[0], endLogit: none[1], nullScore, window };
  const noAnswer = passage.answer(cls, context, sure(span ? -margin(span) : Infinity), true);
  const before = spans.filter((one) => margin(one.span) > -nullThreshold).length;
  return answers.toSpliced(before, 0, noAnswer).slice(0, topK) as [Answer, ...Answer[]];
}

/** `log(sum exp(value))` */
function logSumExp(values: readonly number[]): number {
  const max = values.reduce((a, b) => Math.max(a, b));
  return max + Math.log(values.reduce((sum, value) => sum + Math.exp(value - max), 0));
}
