/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Extractive question answering: windows over the passage, the best span over all windows, or no answer.
 * Source: the BERT authors' run_squad.py and Hugging Face's run_qa.py.
 */

import type { Bert, BertConfig } from './bert.ts';
import type { DeviceName, Dtype } from './devices/index.ts';
import { BertletError, inputError } from './errors.ts';
import { type Given, optionsOf, shown } from './options.ts';
import type { DeviceInfo, Runtime, Scheme } from './runtime.ts';
import type { Encoding, PairEncoding, Tokenizer } from './tokenizer.ts';

/** What a loaded model runs on. */
export interface Info extends DeviceInfo {
  /** The device in use. */
  device: DeviceName;
  dtype: Dtype;
  /** For int8. */
  scheme?: Scheme;
  /** Bytes of the weights as the device holds them. */
  weightBytes: number;
}

export interface Question {
  question: string;
  /** The passage that holds the answer, of any length. */
  context: string;
  /** How many answers to return, best first. Default 1. */
  topK?: number | undefined;
  /** Longest answer, in tokens. Default 30. */
  maxAnswerTokens?: number | undefined;
  /** Longest window: question, passage and 3 special tokens. Default 384, at most the model's positions. */
  maxTokens?: number | undefined;
  /** How many of the passage's tokens a window shares with the one before it. Default 128. */
  stride?: number | undefined;
  /** "No answer" comes first if `nullScore` exceeds the best span's score by more than this. Default 0. */
  nullThreshold?: number | undefined;
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

type Window = { pair: PairEncoding; start: Float32Array; end: Float32Array };

const NAMES = ['question', 'context', 'topK', 'maxAnswerTokens', 'maxTokens', 'stride', 'nullThreshold'] as const;
const DEFAULTS = { topK: 1, maxAnswerTokens: 30, maxTokens: 384, stride: 128, nullThreshold: 0 };
/** Smallest values of the integers among them. */
const LEAST = { topK: 1, maxAnswerTokens: 1, maxTokens: 4, stride: 0 };

/** A loaded model. Made by `load`. */
export class QuestionAnswering {
  readonly tokenizer: Tokenizer;
  readonly info: Info;
  readonly config: BertConfig;
  readonly #bert: Bert;
  readonly #runtime: Runtime;
  /** The last passage: several questions to it tokenize it once. */
  #passage: [text: string, encoding: Encoding] = ['', { ids: [], tokens: [], offsets: [] }];
  #disposed = false;

  constructor(tokenizer: Tokenizer, bert: Bert, runtime: Runtime, info: Info) {
    this.tokenizer = tokenizer;
    this.info = info;
    this.config = bert.config;
    this.#bert = bert;
    this.#runtime = runtime;
  }

  /**
   * Answers a question from a passage.
   * @returns at most `topK` answers, best first, at least one. "No answer" is one of the candidates, and the only one
   * for a passage without words. The first n do not depend on `topK`.
   * @throws BertletError `input` for an empty question, one too long for a window, or an option out of range.
   */
  async answer(input: Question): Promise<[Answer, ...Answer[]]> {
    const options = { ...DEFAULTS, ...optionsOf('answer', input, NAMES) } as Required<Given<Question>>;
    for (const name of ['question', 'context'] as const) {
      if (typeof options[name] !== 'string') throw inputError(name, 'a string', shown(options[name]));
    }
    for (const [name, least] of Object.entries(LEAST) as [keyof typeof LEAST, number][]) {
      if (Number.isSafeInteger(options[name]) && options[name] >= least) continue;
      throw inputError(name, `an integer of at least ${least}`, shown(options[name]));
    }
    const { nullThreshold } = options;
    if (!Number.isFinite(nullThreshold)) throw inputError('nullThreshold', 'a finite number', shown(nullThreshold));
    const windows: Window[] = [];
    for (const pair of this.#windows(options)) {
      windows.push({ pair, ...(await this.logits({ inputIds: pair.ids, tokenTypeIds: pair.typeIds })) });
    }
    return bestSpans(windows, options);
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
    const { inputIds, tokenTypeIds } = optionsOf('logits', input, ['inputIds', 'tokenTypeIds']);
    const ids = checkedIds('inputIds', inputIds, vocab, positions);
    const typeIds = checkedIds('tokenTypeIds', tokenTypeIds, types, positions);
    if (ids.length !== typeIds.length) throw inputError('tokenTypeIds', `${ids.length} of them`, typeIds.length);
    if (this.#disposed) throw new BertletError('disposed', 'model: expected one in use, got one after dispose().');
    const logits = await this.#bert.forward(ids, typeIds);
    if (!logits.every(Number.isFinite)) {
      throw new BertletError('weights', 'logits: expected finite numbers, got NaN. Are the weights damaged?');
    }
    return { start: logits.filter((_, i) => i % 2 === 0), end: logits.filter((_, i) => i % 2 === 1) };
  }

  /** Frees the weights. Idempotent; waits for the forwards under way, while an answer that needs more is refused. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    await this.#runtime.dispose();
  }
  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** Cuts the passage into windows; each holds the whole question and `stride` tokens of the window before. */
  *#windows({ maxTokens, stride, ...texts }: Required<Given<Question>>): Generator<PairEncoding> {
    if (this.#passage[0] !== texts.context) this.#passage = [texts.context, this.tokenizer.encode(texts.context)];
    const [question, context] = [this.tokenizer.encode(texts.question), this.#passage[1]];
    const room = Math.min(maxTokens, this.config.positions) - question.ids.length - 3;
    if (question.ids.length === 0) throw inputError('question', 'words', 'none');
    const least = Math.min(stride + 1, context.ids.length); // a window must hold the passage, or get ahead in it
    if (room < least) {
      const most = `at most ${question.ids.length + room - least} tokens`;
      throw inputError('question', most, question.ids.length, 'It is never cut: shorten it, or lower `stride`.');
    }
    for (let begin = 0; ; begin += room - stride) {
      const slice = <V>(values: V[]) => values.slice(begin, begin + room);
      const part = { ids: slice(context.ids), tokens: slice(context.tokens), offsets: slice(context.offsets) };
      yield this.tokenizer.pair(question, part);
      if (begin + room >= context.ids.length) return;
    }
  }
}

function checkedIds(name: string, ids: ArrayLike<number> | undefined, limit: number, positions: number): Int32Array {
  if (typeof ids !== 'object' || ids === null || typeof ids.length !== 'number') {
    throw inputError(name, 'an array of integers', shown(ids));
  }
  if (!(ids.length >= 1 && ids.length <= positions)) throw inputError(name, `1 to ${positions} tokens`, ids.length);
  return Int32Array.from(ids, (id, i) => {
    if (Number.isInteger(id) && id >= 0 && id < limit) return id;
    throw inputError(`${name}[${i}]`, `an integer from 0 to ${limit - 1}`, shown(id));
  });
}

/**
 * The `topK` best spans of the passage and "no answer", in one pass: every end with the starts at most
 * `maxAnswerTokens` before it, keeping the best `topK` found so far, a span that two windows share once.
 */
function bestSpans(windows: Window[], options: Required<Given<Question>>): [Answer, ...Answer[]] {
  const { context, topK, maxAnswerTokens, nullThreshold } = options;
  const nulls = windows.map(({ start, end }) => start[0]! + end[0]!);
  const nullScore = Math.min(...nulls);
  const [starts, ends] = [logSumExp(windows, 'start'), logSumExp(windows, 'end')];
  const candidate = (start: number, end: number, startLogit: number, endLogit: number, noAnswer = false): Answer => {
    const score = Math.exp(startLogit - starts + endLogit - ends);
    return { text: context.slice(start, end), start, end, score, noAnswer, startLogit, endLogit, nullScore };
  };
  const rank = (a: Answer) => a.startLogit + a.endLogit - (a.noAnswer ? nullThreshold : 0);
  /** Ties go to the earlier, then the shorter span, so that the order never depends on the windows. */
  const compare = (a: Answer, b: Answer) => rank(b) - rank(a) || a.start - b.start || a.end - b.end;
  const none = windows[nulls.indexOf(nullScore)]!;
  const best: [Answer, ...Answer[]] = [candidate(0, 0, none.start[0]!, none.end[0]!, true)];
  const insert = (span: Answer) => {
    const same = best.findIndex(({ start, end }) => start === span.start && end === span.end && end > 0);
    if (same >= 0 && compare(span, best[same]!) >= 0) return;
    if (same >= 0) best.splice(same, 1);
    const at = best.findIndex((other) => compare(span, other) < 0);
    best.splice(at < 0 ? best.length : at, 0, span);
    best.splice(topK);
  };
  for (const { pair, start, end } of windows) {
    const first = pair.sequence.indexOf(1);
    for (let j = first; j >= 0 && pair.sequence[j] === 1; j++) {
      for (let i = Math.max(first, j - maxAnswerTokens + 1); i <= j; i++) {
        if (best.length >= topK && start[i]! + end[j]! < rank(best.at(-1)!)) continue;
        insert(candidate(pair.offsets[i]![0], pair.offsets[j]![1], start[i]!, end[j]!));
      }
    }
  }
  return best;
}

/** log of the sum of exp(logit) over all tokens that may be an answer: [CLS] and the passage, in all windows. */
function logSumExp(windows: Window[], logits: 'start' | 'end'): number {
  const values = windows.flatMap((w) => [...w[logits]].filter((_, i) => i === 0 || w.pair.sequence[i] === 1));
  const max = values.reduce((a, b) => Math.max(a, b));
  return max + Math.log(values.reduce((sum, value) => sum + Math.exp(value - max), 0));
}
