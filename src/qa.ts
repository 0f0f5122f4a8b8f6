/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Extractive question answering. Cuts the passage into overlapping windows, runs the model on each window, and picks
 * the best span over all windows, or "no answer".
 *
 *   window 0   [CLS] question [SEP] passage tokens 0 to room - 1                        [SEP]
 *   window 1   [CLS] question [SEP] passage tokens room - stride to 2 room - stride - 1 [SEP]   and so on
 *
 * where `room` is the number of passage tokens that fit a window.
 *
 * Sources: run_squad.py of the BERT authors and run_qa.py of Hugging Face.
 */

import type { Bert, BertConfig } from './bert.ts';
import type { DeviceName, Dtype } from './devices/index.ts';
import { fault, inputError } from './errors.ts';
import * as option from './options.ts';
import { optionsOf, preview, type Table, unlessAborted, type ValuesOf } from './options.ts';
import type { DeviceInfo, Runtime, Scheme } from './runtime.ts';
import type { Encoding, PairEncoding, Tokenizer } from './text/tokenizer.ts';

/** The device and the precision of a loaded model. */
export interface Info extends DeviceInfo {
  /** The device in use. */
  device: DeviceName;
  dtype: Dtype;
  /** Only for int8: how weights and activations are quantized. */
  scheme?: Scheme;
  /** Bytes of the weights on the device. */
  weightBytes: number;
}

/** A question to a passage, and the options of `answer`. */
export interface Question {
  question: string;
  /** The passage to search for the answer, of any length. */
  context: string;
  /** Number of answers to return, best first. Default 1. */
  topK?: number | undefined;
  /** Longest answer, in tokens. Default 30. */
  maxAnswerTokens?: number | undefined;
  /**
   * Longest window in tokens: question, part of the passage, and special tokens. Default 384. A window is never longer
   * than the model's positions, nor than the tokenizer's `model_max_length`.
   */
  maxTokens?: number | undefined;
  /** Number of passage tokens that two consecutive windows share. Default 128, but at most half of a window's. */
  stride?: number | undefined;
  /** "No answer" comes first if `nullScore` exceeds the best span's `startLogit + endLogit` by more. Default 0. */
  nullThreshold?: number | undefined;
  /** Ends `answer` early: it rejects with the signal's reason, and the model stays usable. */
  signal?: AbortSignal | undefined;
  /** Told of each window of the passage that was read: how many of all are done. */
  onProgress?: ((progress: { done: number; total: number }) => void) | undefined;
}

/** A span of the passage, or "no answer". */
export interface Answer {
  /** `context.slice(start, end)`; '' for no answer. */
  text: string;
  /** Index of the answer's first UTF-16 unit in `context`. */
  start: number;
  /** Index one past the answer's last UTF-16 unit. */
  end: number;
  /**
   * Probability of the span, `softmax(start) * softmax(end)` over [CLS] and the passage tokens of all windows. For a
   * passage of one window the score equals the `score` of the transformers pipeline. The score grows with
   * `startLogit + endLogit`, so it ranks the spans of one passage. The longer the passage, the smaller
   * are all its scores: to trust an answer or not, and to compare passages, use `confidence`.
   */
  score: number;
  /**
   * Probability of the answer if it and "no answer" were the only two: `1 / (1 + exp(nullScore - startLogit - endLogit))`.
   * That of "no answer" is what the best span leaves of 1. So 0.5 is where the model would rather not answer, in a passage
   * of any length.
   */
  confidence: number;
  /** True for "no answer": the passage does not hold the answer. `text` is then ''. */
  noAnswer: boolean;
  startLogit: number;
  endLogit: number;
  /** How well "no answer" fits: start + end logit of [CLS], the minimum over all windows. */
  nullScore: number;
}

/** A window's tokens and the two logits of each token. */
type Window = { pair: PairEncoding; start: Float32Array; end: Float32Array };

const QUESTION = {
  question: option.required(option.string),
  context: option.required(option.string),
  topK: option.byDefault(1, option.integer(1)),
  maxAnswerTokens: option.byDefault(30, option.integer(1)),
  maxTokens: option.byDefault(384, option.integer(4)),
  stride: option.integer(0), // by default 128, or half of what a window has for the passage
  nullThreshold: option.byDefault(0, option.finite),
  signal: option.abortSignal,
  onProgress: option.callback<NonNullable<Question['onProgress']>>(),
} satisfies Table<Question>;
const STRIDE = 128;
/** All options, with their defaults. */
type Options = ValuesOf<typeof QUESTION>;

/** A sequence that waits to run through the model. */
interface Waiting {
  readonly ids: Int32Array;
  readonly typeIds: Int32Array;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (logits: Float32Array) => void;
  readonly reject: (error: unknown) => void;
}

/** The input of `logits`. */
export interface Tokens {
  inputIds: ArrayLike<number>;
  tokenTypeIds: ArrayLike<number>;
  /** Ends `logits` early. */
  signal?: AbortSignal | undefined;
}
const TOKENS = {
  inputIds: option.required(option.numbers),
  tokenTypeIds: option.required(option.numbers),
  signal: option.abortSignal,
} satisfies Table<Tokens>;

/** A loaded model. Made by `load`. */
export class QuestionAnswering {
  readonly tokenizer: Tokenizer;
  readonly config: BertConfig;
  readonly #about: () => Info;
  readonly #bert: Bert;
  readonly #runtime: Runtime;
  /** The last passage and its tokens, so that several questions to one passage tokenize it once. */
  #passage: [text: string, encoding: Encoding] = ['', { ids: [], tokens: [], offsets: [] }];
  /** Most sequences that run through the model at once. */
  readonly #batchSize: number;
  /** Sequences whose turn has not come, in the order of the calls. */
  readonly #waiting: Waiting[] = [];
  /** Settles when no sequence waits. */
  #emptied: Promise<void> | null = null;
  #disposed = false;

  /** @param about returns the value of `info` */
  constructor(tokenizer: Tokenizer, bert: Bert, runtime: Runtime, batchSize: number, about: () => Info) {
    this.tokenizer = tokenizer;
    this.#batchSize = batchSize;
    this.#about = about;
    this.config = bert.config;
    this.#bert = bert;
    this.#runtime = runtime;
  }

  /** Facts about the device and the weights, as of now. */
  get info(): Info {
    return this.#about();
  }

  /**
   * Answers a question from a passage.
   * @returns 1 to `topK` answers, best first. "No answer" is always a candidate, and the only candidate for a passage
   * without words. A larger `topK` only appends answers.
   * @throws BertletError `input` if the question is empty or too long for a window, or if an option is out of range;
   * `disposed` after `dispose()`; the reason of `signal` if it aborts; whatever `onProgress` throws
   */
  async answer(input: Question): Promise<[Answer, ...Answer[]]> {
    const options = optionsOf('answer', input, QUESTION);
    const { onProgress, signal } = options;
    signal?.throwIfAborted();
    const windows: Window[] = [];
    const pairs = [...this.#windows(options)];
    const run = async (pair: PairEncoding): Promise<Window> => {
      const logits = await this.logits({ inputIds: pair.ids, tokenTypeIds: pair.typeIds, signal });
      return { pair, ...logits };
    };
    while (windows.length < pairs.length) {
      const batch = pairs.slice(windows.length, windows.length + this.#batchSize);
      for (const window of await Promise.all(batch.map(run))) {
        windows.push(window);
        onProgress?.({ done: windows.length, total: pairs.length });
      }
    }
    return bestSpans(windows, options);
  }

  /**
   * Runs the model on one sequence, without padding.
   * @param input token ids of `[CLS] question [SEP] context [SEP]`, and the type of each token: 0 or 1
   * @returns the start logits [tokens] and the end logits [tokens]
   * @throws BertletError `input` for ids that the model does not have; `weights` if a logit is not finite; `disposed`
   * after `dispose()`; the reason of `signal` if it aborts
   */
  async logits(input: Tokens): Promise<{ start: Float32Array; end: Float32Array }> {
    const { vocab, types, positions, firstPosition = 0 } = this.config;
    const { inputIds, tokenTypeIds, signal } = optionsOf('logits', input, TOKENS);
    signal?.throwIfAborted();
    const ids = checkedIds('inputIds', inputIds, vocab, positions);
    const typeIds = checkedIds('tokenTypeIds', tokenTypeIds, types || 2, positions);
    // RoBERTa does not count padding in its positions, and here every token has the next.
    const padding = firstPosition > 0 ? ids.indexOf(firstPosition - 1) : -1;
    if (padding >= 0) {
      const [name, advice] = [`inputIds[${padding}]`, 'Pass one sequence without padding.'];
      throw inputError(name, 'no padding token', firstPosition - 1, advice);
    }
    if (ids.length !== typeIds.length) throw inputError('tokenTypeIds', `${ids.length} of them`, typeIds.length);
    if (this.#disposed) throw fault('disposed', 'model', 'a loaded model', 'a disposed one');
    const logits = await this.#forward(ids, typeIds, signal);
    if (!logits.every(Number.isFinite)) {
      const advice = 'The weights are damaged, or an activation overflowed; try dtype fp32.';
      throw fault(
        'weights',
        'logits',
        'finite numbers',
        logits.find((value) => !Number.isFinite(value)),
        advice,
      );
    }
    return { start: logits.filter((_, i) => i % 2 === 0), end: logits.filter((_, i) => i % 2 === 1) };
  }

  /** The logits of one sequence. It waits for its turn, and shares it with those that wait behind it. */
  #forward(ids: Int32Array, typeIds: Int32Array, signal?: AbortSignal): Promise<Float32Array> {
    const logits = new Promise<Float32Array>((resolve, reject) => {
      this.#waiting.push({ ids, typeIds, signal, resolve, reject });
    });
    this.#emptied ??= this.#empty();
    return unlessAborted(logits, signal);
  }

  /** Runs all that wait, batch by batch. */
  async #empty(): Promise<void> {
    await null; // all calls of this moment share the first batch
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, this.#batchSize).filter(({ signal }) => !signal?.aborted);
      if (batch.length === 0) continue;
      const [signal, ...others] = new Set(batch.map((each) => each.signal));
      const options = { signal: others.length === 0 ? signal : undefined }; // nobody ends what others wait for
      const [ids, typeIds] = [batch.map((each) => each.ids), batch.map((each) => each.typeIds)];
      try {
        const logits = await this.#bert.forwardBatch(ids, typeIds, options);
        for (const [i, { resolve }] of batch.entries()) resolve(logits[i]!);
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#emptied = null;
  }

  /** Frees the weights, after the forwards that were asked for. An `answer` that needs more of them fails. Idempotent. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    await this.#emptied;
    await this.#runtime.dispose();
  }
  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** Cuts the passage into windows: the whole question, and `stride` passage tokens shared with the window before. */
  *#windows({ maxTokens, ...options }: Options): Generator<PairEncoding> {
    const { tokenizer } = this;
    if (this.#passage[0] !== options.context) this.#passage = [options.context, tokenizer.encode(options.context)];
    const [question, context] = [tokenizer.encode(options.question), this.#passage[1]];
    if (question.ids.length === 0) throw inputError('question', 'words', 'none');
    const longest = Math.min(maxTokens, this.config.positions, tokenizer.maxTokens);
    const room = longest - question.ids.length - tokenizer.specialTokens;
    const least = Math.min(1, context.ids.length);
    if (room < least) {
      const most = `at most ${question.ids.length + room - least} tokens`;
      throw inputError('question', most, question.ids.length, 'It is never cut: shorten it, or raise `maxTokens`.');
    }
    const { stride = Math.min(STRIDE, Math.floor(room / 2)) } = options;
    // A window must hold the whole passage, or advance by at least one token.
    if (stride >= room && room < context.ids.length) {
      const of = `fewer than the ${room} tokens of the passage that a window has beside the question`;
      throw inputError('stride', of, stride, 'Lower it, or raise `maxTokens`.');
    }
    for (let begin = 0; ; begin += room - stride) {
      const slice = <V>(values: V[]) => values.slice(begin, begin + room);
      const part = { ids: slice(context.ids), tokens: slice(context.tokens), offsets: slice(context.offsets) };
      yield this.tokenizer.pair(question, part);
      if (begin + room >= context.ids.length) return;
    }
  }
}

/** @throws BertletError `input` unless `ids` has 1 to `positions` integers from 0 to limit - 1 */
function checkedIds(name: string, ids: ArrayLike<number>, limit: number, positions: number): Int32Array {
  if (!(ids.length >= 1 && ids.length <= positions)) throw inputError(name, `1 to ${positions} tokens`, ids.length);
  return Int32Array.from(ids, (id, i) => {
    if (Number.isInteger(id) && id >= 0 && id < limit) return id;
    throw inputError(`${name}[${i}]`, `an integer from 0 to ${limit - 1}`, preview(id));
  });
}

/**
 * Finds the `topK` best candidates among all spans and "no answer", in one pass over the windows: each end is paired
 * with every start that makes a span of at most `maxAnswerTokens`. A span that two windows share counts once.
 */
function bestSpans(windows: Window[], options: Options): [Answer, ...Answer[]] {
  const { context, topK, maxAnswerTokens, nullThreshold } = options;
  const nulls = windows.map(({ start, end }) => start[0]! + end[0]!);
  const nullScore = Math.min(...nulls);
  const [starts, ends] = [logSumExp(windows, 'start'), logSumExp(windows, 'end')];
  const rank = (a: Span) => a.startLogit + a.endLogit - (a.noAnswer ? nullThreshold : 0);
  /** A tie goes to the earlier span, then to the shorter one, so that the order does not depend on the windows. */
  const compare = (a: Span, b: Span) => rank(b) - rank(a) || a.start - b.start || a.end - b.end;
  const none = windows[nulls.indexOf(nullScore)]!;
  let best: Span[] = [{ start: 0, end: 0, startLogit: none.start[0]!, endLogit: none.end[0]!, noAnswer: true }];
  let most = Number.NEGATIVE_INFINITY; // what the best span has
  let least = Number.NEGATIVE_INFINITY; // what a span needs to be among the `topK` best that were seen
  const sort = () => {
    const seen = new Set<number>();
    const first = ({ start, end, noAnswer }: Span) =>
      noAnswer || seen.size < seen.add(start * context.length + end).size;
    best = best.sort(compare).filter(first).slice(0, topK);
    if (best.length === topK) least = rank(best.at(-1)!);
  };
  for (const { pair, start, end } of windows) {
    const first = pair.sequence.indexOf(1);
    for (let j = first; j >= 0 && pair.sequence[j] === 1; j++) {
      for (let i = Math.max(first, j - maxAnswerTokens + 1); i <= j; i++) {
        const [startLogit, endLogit] = [start[i]!, end[j]!];
        most = Math.max(most, startLogit + endLogit);
        if (startLogit + endLogit < least) continue;
        best.push({ start: pair.offsets[i]![0], end: pair.offsets[j]![1], startLogit, endLogit, noAnswer: false });
        if (best.length >= 2 * topK + 1000) sort(); // seldom: sorting costs little for each span
      }
    }
  }
  sort();
  /** The probability of the first of two. */
  const ofTwo = (one: number, other: number) => 1 / (1 + Math.exp(other - one));
  return best.map((span) => ({
    text: context.slice(span.start, span.end),
    start: span.start,
    end: span.end,
    score: Math.exp(span.startLogit - starts + span.endLogit - ends),
    confidence: span.noAnswer ? ofTwo(nullScore, most) : ofTwo(span.startLogit + span.endLogit, nullScore),
    noAnswer: span.noAnswer,
    startLogit: span.startLogit,
    endLogit: span.endLogit,
    nullScore,
  })) as [Answer, ...Answer[]];
}

/** A candidate. */
type Span = Pick<Answer, 'start' | 'end' | 'startLogit' | 'endLogit' | 'noAnswer'>;

/** `log(sum exp(logit))` over the tokens that may be an answer: [CLS] and the passage tokens of all windows. */
function logSumExp(windows: Window[], logits: 'start' | 'end'): number {
  const values = windows.flatMap((w) => [...w[logits]].filter((_, i) => i === 0 || w.pair.sequence[i] === 1));
  const max = values.reduce((a, b) => Math.max(a, b));
  return max + Math.log(values.reduce((sum, value) => sum + Math.exp(value - max), 0));
}
