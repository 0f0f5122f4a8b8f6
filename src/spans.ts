/**
 * Picks answers: the spans that fit best by the logits of their windows, and "no answer".
 *
 * Every token of a passage may begin an answer, and end one. [CLS] begins and ends "no answer". Logits of two windows do not
 * compare; what compares is how much better a span fits than "no answer" does in the same window:
 *
 *   margin = start logit of the first token + end logit of the last - both logits of [CLS]
 *
 * so "no answer" has 0. In a passage of one window this is the rule of run_squad.py (BERT) and run_qa.py (Hugging Face);
 * docs/use.md, "Long documents", has the figures for more.
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

/** The text of a passage, and where its tokens are in it. */
export interface Passage {
  readonly text: string;
  readonly offsets: readonly (readonly [start: number, end: number])[];
}

/** The logits of a window: of [CLS], and of its passage tokens. */
export interface Window {
  readonly passage: number;
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
  /** What logits are divided by for `confidence`. */
  readonly temperature: number;
}

/** A candidate: [start, end) of the text of a passage, by the logits of a window. */
interface Span {
  readonly window: Window;
  readonly start: number;
  readonly end: number;
  readonly startLogit: number;
  readonly endLogit: number;
}
const nullScoreOf = ({ none }: Window) => none[0] + none[1];
const margin = ({ startLogit, endLogit, window }: Span) => startLogit + endLogit - nullScoreOf(window);
/** The best first. A tie goes to the earlier span, then to the shorter one: the order does not depend on the windows. */
const compare = (a: Span, b: Span) =>
  margin(b) - margin(a) || a.window.passage - b.window.passage || a.start - b.start || a.end - b.end;

/** Collects the windows of the passages of a question, in any order, and picks the answers. */
export class Candidates {
  readonly #passages: readonly Passage[];
  readonly #options: SpanOptions;
  /** The best spans so far, and some more. */
  #spans: Span[] = [];
  /** The margin that a span needs to be among the `topK` best so far. */
  #least = Number.NEGATIVE_INFINITY;
  #first: Window | undefined;
  /** For each passage `log(sum exp(logit))` of each window, over [CLS] and the tokens of the passage. */
  readonly #sums: { start: number[]; end: number[] }[];

  constructor(passages: readonly Passage[], options: SpanOptions) {
    this.#passages = passages;
    this.#options = options;
    this.#sums = passages.map(() => ({ start: [], end: [] }));
  }

  add(window: Window): void {
    const { passage, begin, none, start, end } = window;
    this.#first ??= window;
    this.#sums[passage]!.start.push(logSumExp([none[0], ...start]));
    this.#sums[passage]!.end.push(logSumExp([none[1], ...end]));
    const { topK, overlap, maxAnswerTokens } = this.#options;
    const { offsets } = this.#passages[passage]!;
    const nullScore = nullScoreOf(window);
    for (let j = 0; j < end.length; j++) {
      for (let i = Math.max(0, j - maxAnswerTokens + 1); i <= j; i++) {
        const [startLogit, endLogit] = [start[i]!, end[j]!];
        if (startLogit + endLogit - nullScore < this.#least) continue;
        const place = { start: offsets[begin + i]![0], end: offsets[begin + j]![1] };
        this.#spans.push({ window, ...place, startLogit, endLogit });
        if (overlap && this.#spans.length >= 2 * topK + 1000) this.#keepBest(); // seldom: sorting costs little for each
      }
    }
    if (!overlap) this.#keepBest(); // not earlier: a span that is best so far may itself give way to a better one
  }

  /** 1 to `topK` answers, the best first. "No answer" is that of the window whose best span fits best. */
  answers(): [Answer, ...Answer[]] {
    this.#keepBest();
    const [best] = this.#spans;
    const window = best?.window ?? this.#first!;
    const none = { window, start: 0, end: 0, startLogit: window.none[0], endLogit: window.none[1] };
    const answers = this.#spans.map((span) => this.#answer(span, margin(span), false));
    const before = this.#spans.filter((span) => margin(span) > -this.#options.nullThreshold).length;
    const noAnswer = this.#answer(none, best ? -margin(best) : Infinity, true);
    return answers.toSpliced(before, 0, noAnswer).slice(0, this.#options.topK) as [Answer, ...Answer[]];
  }

  /** @param over by how much it fits better than the other of the two that `confidence` chooses from */
  #answer({ window, start, end, startLogit, endLogit }: Span, over: number, noAnswer: boolean): Answer {
    const sums = this.#sums[window.passage]!;
    return {
      text: this.#passages[window.passage]!.text.slice(start, end),
      context: window.passage,
      start,
      end,
      score: Math.exp(startLogit - logSumExp(sums.start) + endLogit - logSumExp(sums.end)),
      confidence: 1 / (1 + Math.exp(-over / this.#options.temperature)),
      noAnswer,
      startLogit,
      endLogit,
      nullScore: nullScoreOf(window),
    };
  }

  /** Keeps the `topK` best spans, each text once; without `overlap` those that share no text with a better one. */
  #keepBest(): void {
    const { topK, overlap } = this.#options;
    const kept: Span[] = [];
    const seen = new Set<string>();
    for (const span of this.#spans.sort(compare)) {
      const { window, start, end } = span;
      const shares = (other: Span) => other.window.passage === window.passage && other.start < end && start < other.end;
      const text = `${window.passage} ${start} ${end}`;
      if (kept.length === topK) break;
      if (!seen.has(text) && (overlap || !kept.some(shares))) kept.push(span);
      seen.add(text);
    }
    this.#spans = kept;
    if (kept.length === topK) this.#least = margin(kept.at(-1)!);
  }
}

/** `log(sum exp(value))` */
function logSumExp(values: readonly number[]): number {
  const max = values.reduce((a, b) => Math.max(a, b));
  return max + Math.log(values.reduce((sum, value) => sum + Math.exp(value - max), 0));
}
