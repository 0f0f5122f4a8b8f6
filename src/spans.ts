/**
 * Cuts passages into windows, and picks answers: the spans that fit best by the logits of their windows, and "no answer".
 *
 * Every token of a passage may begin an answer, and end one. [CLS] begins and ends "no answer". Logits of two windows do not
 * compare; what compares is how much better a span fits than "no answer" does in the same window:
 *
 *   margin = start logit of the first token + end logit of the last - both logits of [CLS]
 *
 * so "no answer" has 0. In a passage of one window this is the rule of run_squad.py (BERT) and run_qa.py (Hugging Face).
 *
 * In a long window models say "no answer" too often: they were trained on paragraphs. So a passage that does not fit a window
 * is cut into shorter ones, which end with a sentence. A cut may part an answer from what it needs, so the sentences around
 * the best span are read again, as a window of their own, which decides for its tokens. docs/use.md, "Long documents", has
 * what that gives.
 */
import * as option from './options.ts';
import { inSlices, type ValuesOf } from './options.ts';

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

export const RULE = {
  /** Number of answers to return, best first. Default 1. */
  topK: option.byDefault(1, option.integer(1)),
  /** Whether answers may share text, as `1843` and `in 1843` do. Default true. */
  overlap: option.byDefault(true, option.boolean),
  /** Longest answer, in tokens. Default 30. */
  maxAnswerTokens: option.byDefault(30, option.integer(1)),
  /**
   * Number of passage tokens that two consecutive windows share. If it is given, windows are as long as can be, and nothing is
   * read again: the rule is then that of run_qa.py, but for the null score, which is a window's own.
   */
  stride: option.integer(0),
  /** "No answer" comes first if `nullScore` exceeds the best span's `startLogit + endLogit` by more. Default 0. */
  nullThreshold: option.byDefault(0, option.finite),
  /** Ends `answer` early: it rejects with the signal's reason, and the model stays usable. */
  signal: option.abortSignal,
};
type Rule = ValuesOf<typeof RULE>;

export interface Passage {
  readonly text: string;
  /** Index among the passages of the question. */
  readonly context: number;
  /** Id, start and end of each token: numbers in a row, since a document has many. */
  readonly tokens: Int32Array;
}
/** Tokens of a passage that are read at once: those from `begin` to the one before `end`. */
export type Part = { readonly passage: Passage; readonly begin: number; readonly end: number };
/** A part that was read: logits of [CLS], then those of its tokens. */
export type Window = Part & { readonly starts: Float32Array; readonly ends: Float32Array };

/** A candidate: `starts[i]` and `ends[j]` of a window, and its place in the texts. For "no answer" these are 0. */
interface Span {
  readonly window: Window;
  readonly i: number;
  readonly j: number;
  readonly context: number;
  readonly start: number;
  readonly end: number;
  readonly margin: number;
}
/** The best first. A tie goes to the earlier span, then to the shorter one: the order does not depend on the windows. */
const compare = (a: Span, b: Span) =>
  b.margin - a.margin || a.context - b.context || a.start - b.start || a.end - b.end;

/**
 * 1 to `topK` answers from some passages, the best first. "No answer" is that of the window whose best span fits best.
 * @param options `room`: most tokens of a window; `temperature`: divisor of margins for `confidence`
 * @param read reads parts; `total` is how many there will be in all
 */
export async function answersOf(
  passages: readonly Passage[],
  options: Rule & { readonly room: number; readonly temperature: number },
  read: (parts: readonly Part[], total: number) => Promise<Window[]>,
): Promise<Answer[]> {
  const { room, temperature, stride, topK, nullThreshold } = options;
  const parts = passages.flatMap((passage) => partsOf(passage, room, stride));
  const long = passages.filter(({ tokens }) => stride === undefined && tokens.length > 3 * room);
  const total = parts.length + long.length;
  const windowsOf = Map.groupBy(await read(parts, total), ({ passage }) => passage);
  const around: Part[] = [];
  for (const passage of long) {
    const [best] = await bestSpans(windowsOf.get(passage)!, { ...options, topK: 1, overlap: true });
    if (best) around.push(partAround(best, room));
  }
  for (const window of await read(around, total)) addDeciding(window, windowsOf.get(window.passage)!);
  const windows = [...windowsOf.values()].flat();
  const spans = await bestSpans(windows, options);
  const window = spans[0]?.window ?? windows[0]!;
  const { context } = window.passage;
  const none = { window, i: 0, j: 0, context, start: 0, end: 0, margin: spans[0] ? -spans[0].margin : Infinity };
  const before = spans.filter(({ margin }) => margin > -nullThreshold).length;
  return spans.toSpliced(before, 0, none).slice(0, topK).map(answers(windowsOf, temperature));
}

/** Most tokens of a window where the passage needs several. */
const SHORT = 192;
const SENTENCE_END = /(?:[.!?]["'”’»)\]]*\s+|[。！？]\s*|\n\s*)$/;

/** The first place between two sentences on the way from one token to another; or else `from`. */
function betweenSentences({ text, tokens }: Passage, from: number, to: number): number {
  const step = from < to ? 1 : -1;
  for (let token = from; token !== to + step; token += step) {
    if (token === 0 || 3 * token === tokens.length) return token;
    const [before, behind] = [tokens[3 * token - 1]!, tokens[3 * token + 1]!];
    if (SENTENCE_END.test(text.slice(Math.max(0, before - 3), behind))) return token;
  }
  return from;
}

/** Cuts a passage into windows of `room` tokens, which share `stride`; without a stride into short ones, about equal. */
function partsOf(passage: Passage, room: number, stride?: number): Part[] {
  const length = passage.tokens.length / 3;
  const most = stride === undefined && length > room ? Math.min(SHORT, room) : room;
  const parts: Part[] = [];
  let begin = 0;
  while (length - begin > most) {
    let end = begin + most;
    if (stride === undefined) {
      const size = Math.ceil((length - begin) / Math.ceil((length - begin) / most));
      end = betweenSentences(passage, begin + size, begin + Math.ceil(size / 2));
    }
    parts.push({ passage, begin, end });
    begin = end - (stride ?? 0);
  }
  return [...parts, { passage, begin, end: length }];
}

/** The sentences around a span, of about as many tokens as a short window and at most `room`. */
function partAround({ window: { passage, begin }, i, j }: Span, room: number): Part {
  const [first, behind] = [begin + i - 1, begin + j];
  const spare = Math.max(0, (Math.min(SHORT, room) - (behind - first)) >> 1);
  const from = betweenSentences(passage, Math.max(0, first - spare), first);
  const to = betweenSentences(passage, Math.min(passage.tokens.length / 3, behind + spare), behind);
  return { passage, begin: from, end: to };
}

/** Adds a window to those of its passage, and takes its tokens from them. */
function addDeciding(window: Window, others: Window[]): void {
  for (const { begin: from, starts, ends } of others) {
    const [a, b] = [window.begin, window.end].map((token) => 1 + Math.max(0, token - from));
    for (const logits of [starts, ends]) logits.fill(-Infinity, a, b);
  }
  others.push(window);
}

/**
 * The best spans of windows, each text once; without `overlap` those that share no text with a better one. Events have their
 * turn meanwhile.
 */
async function bestSpans(
  windows: readonly Window[],
  { topK, overlap, maxAnswerTokens, signal }: Rule,
): Promise<Span[]> {
  let spans: Span[] = []; // the best so far, and some more
  let least = -Number.MAX_VALUE; // the margin that a span needs to be among them
  const keepBest = () => {
    const kept = new Map<string, Span>();
    for (const span of spans.sort(compare)) {
      if (kept.size === topK) break;
      const { context, start, end } = span;
      const key = `${context} ${start} ${end}`;
      const shares = (one: Span) => one.context === context && one.start < end && start < one.end;
      if (!(overlap ? kept.has(key) : [...kept.values()].some(shares))) kept.set(key, span);
    }
    spans = [...kept.values()];
    if (spans.length === topK) least = spans.at(-1)!.margin;
  };
  for await (const window of inSlices(windows, () => {}, signal)) {
    const { starts, ends } = window;
    const nullScore = starts[0]! + ends[0]!;
    for (let j = 1; j < ends.length; j++) {
      for (let i = Math.max(1, j - maxAnswerTokens + 1); i <= j; i++) {
        const margin = starts[i]! + ends[j]! - nullScore;
        if (margin < least) continue;
        const [start, end] = placeOf(window, i, j);
        if (start < end) spans.push({ window, i, j, context: window.passage.context, start, end, margin });
      }
      if (overlap && spans.length >= 2 * topK + 1000) keepBest(); // seldom: sorting costs little
    }
    if (!overlap) keepBest(); // not earlier: a span that is best so far may itself give way to a better one
  }
  keepBest();
  return spans;
}

/** The place of a span in the text. A token without a place, the space before an emoji, has that of its neighbour. */
function placeOf({ passage: { tokens }, begin }: Window, i: number, j: number): [start: number, end: number] {
  let [first, last] = [begin + i - 1, begin + j - 1];
  const isEmpty = (token: number) => tokens[3 * token + 1] === tokens[3 * token + 2];
  while (first < last && isEmpty(first)) first++;
  while (first < last && isEmpty(last)) last--;
  return [tokens[3 * first + 1]!, tokens[3 * last + 2]!];
}

/** Makes answers of spans. */
function answers(windowsOf: ReadonlyMap<Passage, Window[]>, temperature: number): (span: Span) => Answer {
  const total = (own: Window[], which: 'starts' | 'ends') => logSumExp(own.flatMap((one) => [...one[which]]));
  const totalsOf = ([passage, own]: [Passage, Window[]]) =>
    [passage, [total(own, 'starts'), total(own, 'ends')]] as const;
  const totals = new Map([...windowsOf].map(totalsOf));
  return ({ window: { passage, starts, ends }, i, j, context, start, end, margin }) => {
    const [startLogit, endLogit, nullScore] = [starts[i]!, ends[j]!, starts[0]! + ends[0]!];
    const [allStarts, allEnds] = totals.get(passage)!;
    const score = Math.exp(startLogit - allStarts + endLogit - allEnds);
    const confidence = 1 / (1 + Math.exp(-margin / temperature));
    const text = passage.text.slice(start, end);
    return { text, context, start, end, score, confidence, noAnswer: j === 0, startLogit, endLogit, nullScore };
  };
}

/** `log(sum exp(value))` */
function logSumExp(values: readonly number[]): number {
  const max = values.reduce((a, b) => Math.max(a, b));
  return max + Math.log(values.reduce((sum, value) => sum + Math.exp(value - max), 0));
}
