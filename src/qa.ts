/**
 * Extractive question answering: windows over the passage, the best span over all windows, or no answer.
 * Source: the BERT authors' run_squad.py and Hugging Face's run_qa.py.
 */
import { type Backend, BertletError, type Scheme } from './backend.ts';
import type { Bert, BertConfig } from './bert.ts';
import type { Encoding, PairEncoding, Tokenizer } from './tokenizer.ts';

export interface Question {
  question: string;
  /** The passage that holds the answer, of any length. */
  context: string;
  /** How many answers to return, best first. Default 1. */
  topK?: number;
  /** Longest answer, in tokens. Default 30. */
  maxAnswerTokens?: number;
  /** Longest window: question, passage and 3 special tokens. Default 384, at most the model's positions. */
  maxTokens?: number;
  /** How many of the passage's tokens a window shares with the one before it. Default 128. */
  stride?: number;
  /** "No answer" comes first if `nullScore` exceeds the best span's score by more than this. Default 0. */
  nullThreshold?: number;
}

export interface Answer {
  /** `context.slice(start, end)`; '' for no answer. */
  text: string;
  /** First UTF-16 unit of the answer in the context. */
  start: number;
  /** One past the last. */
  end: number;
  /**
   * Probability of this span, `softmax(start) * softmax(end)` over [CLS] and the passage's tokens in all windows. For a
   * passage of one window it is what the transformers pipeline calls score. Grows with `startLogit + endLogit`, so it
   * ranks the spans of one passage; between passages compare `startLogit + endLogit - nullScore`.
   */
  score: number;
  /** True where this says that the passage does not hold the answer; `text` is then ''. */
  noAnswer: boolean;
  startLogit: number;
  endLogit: number;
  /** Start + end logit of [CLS], the smallest of all windows: how well "no answer" fits. */
  nullScore: number;
}

export interface Info {
  /** The device in use. */
  device: string;
  dtype: 'fp32' | 'int8';
  /** For int8. */
  scheme?: Scheme;
  /** Bytes of the weights as the device holds them. */
  weightBytes: number;
  /** Why this device, where `auto` chose it. */
  reason?: string;
}

interface Window {
  pair: PairEncoding;
  start: Float32Array;
  end: Float32Array;
}

/** Integer options: default, and smallest value allowed. */
const OPTIONS = { topK: [1, 1], maxAnswerTokens: [30, 1], maxTokens: [384, 4], stride: [128, 0] } as const;

/** A loaded model. Made by `load`. */
export class QuestionAnswering {
  readonly tokenizer: Tokenizer;
  readonly info: Info;
  readonly config: BertConfig;
  readonly #bert: Bert<unknown>;
  readonly #backend: Backend<unknown>;
  #last: Promise<unknown> = Promise.resolve();
  #disposed = false;

  constructor(tokenizer: Tokenizer, bert: Bert<unknown>, backend: Backend<unknown>, info: Info) {
    this.tokenizer = tokenizer;
    this.info = info;
    this.config = bert.config;
    this.#bert = bert;
    this.#backend = backend;
  }

  /**
   * Answers a question from a passage.
   * @returns at most `topK` answers, best first, at least one. "No answer" is one of the candidates, and the only one
   * for a passage without words. The first n do not depend on `topK`.
   * @throws BertletError `input` for an empty question, one too long for a window, or an option out of range.
   */
  async answer(input: Question): Promise<Answer[]> {
    const { question, context, nullThreshold = 0 } = input;
    for (const [name, text] of Object.entries({ question, context })) {
      if (typeof text !== 'string') throw new BertletError('input', `${name}: expected a string, got ${typeof text}.`);
    }
    if (!Number.isFinite(nullThreshold)) {
      throw new BertletError('input', `nullThreshold: expected a finite number, got ${nullThreshold}.`);
    }
    const options = { topK: 0, maxAnswerTokens: 0, maxTokens: 0, stride: 0 };
    for (const name of Object.keys(OPTIONS) as (keyof typeof OPTIONS)[]) {
      const [standard, least] = OPTIONS[name];
      const value = input[name] ?? standard;
      if (!Number.isSafeInteger(value) || value < least) {
        throw new BertletError('input', `${name}: expected an integer of at least ${least}, got ${value}.`);
      }
      options[name] = value;
    }
    const windows: Window[] = [];
    for (const pair of this.#windows(this.tokenizer.encode(question), this.tokenizer.encode(context), options)) {
      windows.push({ pair, ...(await this.logits({ inputIds: pair.ids, tokenTypeIds: pair.typeIds })) });
    }
    return bestSpans(windows, context, options, nullThreshold);
  }

  /**
   * The model's two logits for each token of one sequence, without padding.
   * @param input ids of `[CLS] question [SEP] context [SEP]`, and the type of each: 0 or 1
   * @returns Float32Array [tokens] each
   * @throws BertletError `input` for ids that the model does not have, `disposed` after `dispose()`.
   */
  async logits(input: { inputIds: ArrayLike<number>; tokenTypeIds: ArrayLike<number> }): Promise<{
    start: Float32Array;
    end: Float32Array;
  }> {
    const { vocab, types, positions } = this.config;
    const ids = checkedIds('inputIds', input.inputIds, vocab, positions);
    const typeIds = checkedIds('tokenTypeIds', input.tokenTypeIds, types, positions);
    if (ids.length !== typeIds.length) {
      throw new BertletError('input', `tokenTypeIds: expected ${ids.length} as of inputIds, got ${typeIds.length}.`);
    }
    const run = () => this.#forward(ids, typeIds);
    const forward = this.#last.then(run, run); // one at a time: a backend has one set of activations
    this.#last = forward;
    const logits = await forward;
    if (!logits.every(Number.isFinite)) {
      throw new BertletError(
        'weights',
        'logits: expected finite numbers, got NaN or Infinity. Are the weights damaged?',
      );
    }
    return { start: logits.filter((_, i) => i % 2 === 0), end: logits.filter((_, i) => i % 2 === 1) };
  }

  #forward(ids: Int32Array, typeIds: Int32Array): Promise<Float32Array> {
    if (this.#disposed) throw new BertletError('disposed', 'model: expected one in use, got one after dispose().');
    return this.#bert.forward(ids, typeIds);
  }

  /** Frees the weights. Idempotent; waits for an answer under way. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    await this.#last.catch(() => {});
    await this.#backend.dispose();
  }

  /** Cuts the passage into windows; each holds the whole question and `stride` tokens of the window before. */
  #windows(question: Encoding, context: Encoding, { maxTokens, stride }: { maxTokens: number; stride: number }) {
    const room = Math.min(maxTokens, this.config.positions) - question.ids.length - 3;
    if (question.ids.length === 0) throw new BertletError('input', 'question: expected words, got none.');
    const least = Math.min(stride + 1, context.ids.length); // a window must hold the passage, or get ahead in it
    if (room < least) {
      const [most, got] = [question.ids.length + room - least, question.ids.length];
      const advice = 'It is never cut: shorten it, or lower `stride`.';
      throw new BertletError('input', `question: expected at most ${most} tokens, got ${got}. ${advice}`);
    }
    const windows: PairEncoding[] = [];
    for (let begin = 0; ; begin += room - stride) {
      const slice = <V>(values: V[]) => values.slice(begin, begin + room);
      const part = { ids: slice(context.ids), tokens: slice(context.tokens), offsets: slice(context.offsets) };
      windows.push(this.tokenizer.pair(question, part));
      if (begin + room >= context.ids.length) return windows;
    }
  }
}

function checkedIds(name: string, ids: ArrayLike<number>, limit: number, positions: number): Int32Array {
  if (!(ids.length >= 1 && ids.length <= positions)) {
    throw new BertletError('input', `${name}: expected 1 to ${positions} tokens, got ${ids.length}.`);
  }
  return Int32Array.from(ids, (id, i) => {
    if (Number.isInteger(id) && id >= 0 && id < limit) return id;
    throw new BertletError('input', `${name}[${i}]: expected an integer from 0 to ${limit - 1}, got ${id}.`);
  });
}

/**
 * The `topK` best spans of the passage and "no answer", in one pass: every end with the starts at most
 * `maxAnswerTokens` before it, keeping the best `topK` found so far, a span that two windows share once.
 */
function bestSpans(
  windows: Window[],
  context: string,
  { topK, maxAnswerTokens }: { topK: number; maxAnswerTokens: number },
  nullThreshold: number,
): Answer[] {
  const nulls = windows.map(({ start, end }) => start[0]! + end[0]!);
  const nullScore = Math.min(...nulls);
  const { start, end } = windows[nulls.indexOf(nullScore)]!;
  type Candidate = { rank: number; from: number; to: number; startLogit: number; endLogit: number; noAnswer: boolean };
  const none = { from: 0, to: 0, startLogit: start[0]!, endLogit: end[0]!, noAnswer: true };
  const best: Candidate[] = [{ rank: nullScore - nullThreshold, ...none }];
  /** Ties go to the earlier, then the shorter span, so that the order never depends on the windows. */
  const compare = (a: Candidate, b: Candidate) => b.rank - a.rank || a.from - b.from || a.to - b.to;
  const insert = (candidate: Candidate) => {
    if (best.length >= topK && compare(candidate, best.at(-1)!) >= 0) return;
    const same = best.findIndex((b) => b.from === candidate.from && b.to === candidate.to && !b.noAnswer);
    if (same >= 0 && compare(candidate, best[same]!) >= 0) return;
    if (same >= 0) best.splice(same, 1);
    const at = best.findIndex((b) => compare(candidate, b) < 0);
    best.splice(at < 0 ? best.length : at, 0, candidate);
    if (best.length > topK) best.pop();
  };
  for (const { pair, start, end } of windows) {
    const first = pair.sequence.indexOf(1);
    const last = pair.sequence.lastIndexOf(1);
    if (first < 0) continue;
    for (let j = first; j <= last; j++) {
      for (let i = Math.max(first, j - maxAnswerTokens + 1); i <= j; i++) {
        const [startLogit, endLogit] = [start[i]!, end[j]!];
        const rank = startLogit + endLogit;
        if (best.length >= topK && rank < best.at(-1)!.rank) continue;
        insert({ rank, from: pair.offsets[i]![0], to: pair.offsets[j]![1], startLogit, endLogit, noAnswer: false });
      }
    }
  }
  const [starts, ends] = [logSumExp(windows, 'start'), logSumExp(windows, 'end')];
  return best.map(({ from, to, startLogit, endLogit, noAnswer }) => ({
    text: context.slice(from, to),
    start: from,
    end: to,
    score: Math.exp(startLogit - starts + endLogit - ends),
    noAnswer,
    startLogit,
    endLogit,
    nullScore,
  }));
}

/** log of the sum of exp(logit) over all tokens that may be an answer: [CLS] and the passage, in all windows. */
function logSumExp(windows: Window[], logits: 'start' | 'end'): number {
  const values = windows.flatMap((w) => [...w[logits]].filter((_, i) => i === 0 || w.pair.sequence[i] === 1));
  const max = values.reduce((a, b) => Math.max(a, b));
  return max + Math.log(values.reduce((sum, value) => sum + Math.exp(value - max), 0));
}
