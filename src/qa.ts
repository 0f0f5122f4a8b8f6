/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Extractive question answering. Cuts the passages into overlapping windows, runs the model on each window, and picks
 * the best spans over all windows (spans.ts), or "no answer".
 *
 *   window 0   [CLS] question [SEP] passage tokens 0 to room - 1                        [SEP]
 *   window 1   [CLS] question [SEP] passage tokens room - stride to 2 room - stride - 1 [SEP]   and so on
 *
 * where `room` is the number of passage tokens that fit a window (run_squad.py of the BERT authors, run_qa.py of Hugging
 * Face). That is with `stride`; without, a passage longer than a window is read in windows of half the room, which begin
 * and end with a sentence: docs/use.md, "Long documents", has what that gives.
 */
import type { Bert, BertConfig } from './bert.ts';
import type { DeviceName, Dtype } from './devices/index.ts';
import { fault, inputError } from './errors.ts';
import * as option from './options.ts';
import { check, type GivenOf, optionsOf, preview, type ValuesOf } from './options.ts';
import { Queue, type Reading } from './queue.ts';
import type { DeviceInfo, Runtime, Scheme } from './runtime.ts';
import { type Answer, Candidates } from './spans.ts';
import type { Encoding, Tokenizer } from './text/tokenizer.ts';

export type { Answer } from './spans.ts';

/** The device and the precision of a loaded model. */
export interface Info extends DeviceInfo {
  /** The device in use. */
  device: DeviceName;
  dtype: Dtype;
  /** Only for int8: how weights and activations are quantized. */
  scheme?: Scheme;
  /** Bytes of the weights on the device. */
  weightBytes: number;
  /** Questions that were asked and are not answered yet. */
  waiting: number;
}

const QUESTION = {
  question: option.required(option.string),
  /** The passage to search for the answer, of any length. */
  context: option.string,
  /** Several passages, in place of `context`: each answer has `context`, the index of its passage. */
  contexts: option.strings,
  /** Number of answers to return, best first. Default 1. */
  topK: option.byDefault(1, option.integer(1)),
  /** Whether answers may share text, as `1843` and `in 1843` do. Default true. */
  overlap: option.byDefault(true, option.boolean),
  /** Longest answer, in tokens. Default 30. */
  maxAnswerTokens: option.byDefault(30, option.integer(1)),
  /**
   * Longest window in tokens: question, part of the passage, and special tokens. Default 384. A window is never longer
   * than the model's positions, nor than the tokenizer's `model_max_length`.
   */
  maxTokens: option.byDefault(384, option.integer(4)),
  /**
   * Number of passage tokens that two consecutive windows share. Default: windows of a passage that is longer than one begin
   * and end with a sentence, have half the tokens, and share at most 64.
   */
  stride: option.integer(0),
  /** "No answer" comes first if `nullScore` exceeds the best span's `startLogit + endLogit` by more. Default 0. */
  nullThreshold: option.byDefault(0, option.finite),
  /** Ends `answer` early: it rejects with the signal's reason, and the model stays usable. */
  signal: option.abortSignal,
  /** Told of each window of the passages that was read: how many of all are done. */
  onProgress: option.callback<(progress: { done: number; total: number }) => void>(),
};
/** A question to a passage or to several, and the options of `answer`. */
export type Question = GivenOf<typeof QUESTION> &
  ({ context: string; contexts?: undefined } | { contexts: readonly string[]; context?: undefined });

const TOKENS = {
  /** `[CLS] question [SEP] context [SEP]` */
  inputIds: option.required(option.anything<ArrayLike<number>>()),
  /** The type of each: 0 or 1. */
  tokenTypeIds: option.required(option.anything<ArrayLike<number>>()),
  /** Ends `logits` early. */
  signal: option.abortSignal,
};
/** The input of `logits`. */
export type Tokens = GivenOf<typeof TOKENS>;

/** A loaded model. Made by `load`. */
export class QuestionAnswering {
  readonly tokenizer: Tokenizer;
  readonly config: BertConfig;
  readonly #about: () => Omit<Info, 'waiting'>;
  readonly #runtime: Runtime;
  readonly #queue: Queue;
  readonly #maxQueue: number;
  /** The passages of the last question and their tokens, so that several questions to one passage tokenize it once. */
  #encoded: ReadonlyMap<string, Encoding> = new Map();
  #disposed = false;

  /** @param about returns the value of `info` */
  constructor(
    tokenizer: Tokenizer,
    bert: Bert,
    runtime: Runtime,
    about: () => Omit<Info, 'waiting'>,
    { batchSize = 1, maxQueue = Infinity } = {},
  ) {
    this.tokenizer = tokenizer;
    this.config = bert.config;
    this.#about = about;
    this.#runtime = runtime;
    this.#maxQueue = maxQueue;
    this.#queue = new Queue(batchSize, (sequences, signal) => {
      const [ids, typeIds] = [sequences.map((one) => one.ids), sequences.map((one) => one.typeIds)];
      return bert.forwardBatch(ids, typeIds, { signal });
    });
  }

  /** Facts about the device and the weights, as of now. */
  get info(): Info {
    return { ...this.#about(), waiting: this.#queue.length };
  }

  /**
   * Answers a question from a passage, or from several.
   * @returns 1 to `topK` answers, best first. "No answer" is always a candidate, and the only candidate for passages
   * without words. A larger `topK` only appends answers.
   * @throws BertletError `input` if the question is empty or too long for a window, or if an option is out of range;
   * `busy` if `maxQueue` questions are under way; `disposed` after `dispose()`; the reason of `signal` if it aborts;
   * whatever `onProgress` throws
   */
  async answer(input: Question): Promise<[Answer, ...Answer[]]> {
    const options = optionsOf('answer', input, QUESTION);
    const { signal, onProgress } = options;
    signal?.throwIfAborted();
    const contexts = contextsOf(options);
    const question = this.tokenizer.encode(options.question);
    const encoded = this.#encode(contexts);
    this.#refusePadding('question', question.ids);
    for (const { ids } of encoded) this.#refusePadding('context', ids);
    const room = this.#room(question.ids.length, encoded, options);
    const { temperature = 1 } = this.config;
    const texts = contexts.map((text, i) => ({ text, offsets: encoded[i]!.offsets }));
    const found = new Candidates(texts, { ...options, temperature });
    const plan = encoded.flatMap((tokens, passage) =>
      Array.from(windowsOf(tokens, contexts[passage]!, room, options.stride), (part) => ({
        passage,
        first: 0,
        ...part,
      })),
    );
    await this.#read({
      count: plan.length,
      sequence: (i) => {
        const { passage, begin, end } = plan[i]!;
        const { ids, tokens, offsets } = encoded[passage]!;
        const slice = <V>(values: V[]) => values.slice(begin, end);
        const pair = this.tokenizer.pair(question, { ids: slice(ids), tokens: slice(tokens), offsets: slice(offsets) });
        plan[i]!.first = pair.sequence.indexOf(1);
        return { ids: Int32Array.from(pair.ids), typeIds: Int32Array.from(pair.typeIds) };
      },
      told: (logits, i) => {
        const { passage, begin, end, first } = plan[i]!;
        const part = (which: 0 | 1) =>
          Float32Array.from({ length: end - begin }, (_, j) => logits[2 * (first + j) + which]!);
        found.add({ passage, begin, none: [logits[0]!, logits[1]!], start: part(0), end: part(1) });
        onProgress?.({ done: i + 1, total: plan.length });
      },
      signal,
    });
    const answers = found.answers();
    return options.contexts ? answers : (answers.map(({ context, ...answer }) => answer) as [Answer, ...Answer[]]);
  }

  /**
   * Runs the model on one sequence, without padding.
   * @param input token ids of `[CLS] question [SEP] context [SEP]`, and the type of each token: 0 or 1
   * @returns the start logits [tokens] and the end logits [tokens]
   * @throws BertletError `input` for ids that the model does not have; `weights` if a logit is not finite; `busy` if
   * `maxQueue` questions are under way; `disposed` after `dispose()`; the reason of `signal` if it aborts
   */
  async logits(input: Tokens): Promise<{ start: Float32Array; end: Float32Array }> {
    const { vocab, types, positions } = this.config;
    const { inputIds, tokenTypeIds, signal } = optionsOf('logits', input, TOKENS);
    signal?.throwIfAborted();
    const ids = checkedIds('inputIds', inputIds, vocab, positions);
    const typeIds = checkedIds('tokenTypeIds', tokenTypeIds, types || 2, positions);
    if (ids.length !== typeIds.length) throw inputError('tokenTypeIds', `${ids.length} of them`, typeIds.length);
    this.#refusePadding('inputIds', ids);
    let logits: Float32Array = new Float32Array();
    const told = (values: Float32Array) => {
      logits = values;
    };
    await this.#read({ count: 1, sequence: () => ({ ids, typeIds }), told, signal });
    return { start: logits.filter((_, i) => i % 2 === 0), end: logits.filter((_, i) => i % 2 === 1) };
  }

  /** Waits for the questions under way, then frees the weights. Idempotent. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    await this.#queue.idle;
    await this.#runtime.dispose();
  }
  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** Reads sequences when their turn has come, and checks their logits. */
  async #read({ told, ...reading }: Reading): Promise<void> {
    if (this.#disposed) throw fault('disposed', 'model', 'a loaded model', 'a disposed one');
    const most = `at most ${this.#maxQueue} questions at once`;
    if (this.#queue.length >= this.#maxQueue) throw fault('busy', 'model', most, 'one more', 'Ask again later.');
    await this.#queue.read({
      ...reading,
      told: (logits, i) => {
        const wrong = logits.find((value) => !Number.isFinite(value));
        const advice = 'The weights are damaged, or an activation overflowed; try dtype fp32.';
        if (wrong !== undefined) throw fault('weights', 'logits', 'finite numbers', wrong, advice);
        told(logits, i);
      },
    });
  }

  #encode(contexts: readonly string[]): Encoding[] {
    const encoded = new Map<string, Encoding>();
    for (const text of contexts) {
      encoded.set(text, encoded.get(text) ?? this.#encoded.get(text) ?? this.tokenizer.encode(text));
    }
    this.#encoded = encoded;
    return contexts.map((text) => encoded.get(text)!);
  }

  /** How many tokens of a passage fit a window beside the question. */
  #room(question: number, passages: readonly Encoding[], { maxTokens, stride = 0 }: ValuesOf<typeof QUESTION>): number {
    if (question === 0) throw inputError('question', 'words', 'none');
    const { positions } = this.config;
    const longest = Math.max(...passages.map(({ ids }) => ids.length));
    const others = question + this.tokenizer.specialTokens;
    const room = Math.min(maxTokens, positions, this.tokenizer.maxTokens) - others;
    const least = Math.min(1, longest);
    if (room < least) {
      const most = `at most ${question + room - least} tokens`;
      throw inputError('question', most, question, 'It is never cut: shorten it, or raise `maxTokens`.');
    }
    // A window must hold the whole passage, or advance by at least one token.
    if (stride >= room && room < longest) {
      const of = `fewer than the ${room} tokens of the passage that a window has beside the question`;
      throw inputError('stride', of, stride, 'Lower it, or raise `maxTokens`.');
    }
    return room;
  }

  /** RoBERTa does not count padding in its positions, and here every token has the next. */
  #refusePadding(what: string, ids: ArrayLike<number>): void {
    const padding = (this.config.firstPosition ?? 0) - 1;
    const at = padding < 0 ? -1 : Array.prototype.indexOf.call(ids, padding);
    if (at >= 0)
      throw inputError(`${what}: token ${at}`, 'no padding token', padding, 'Pass one sequence without padding.');
  }
}

function contextsOf({ context, contexts }: ValuesOf<typeof QUESTION>): readonly string[] {
  if (contexts === undefined) check('context', context, option.string);
  else if (context !== undefined) throw inputError('context', 'none beside `contexts`', preview(context));
  return contexts ?? [context!];
}

const SENTENCE_END = /(?:[.!?]["'”’»)\]]*\s+|[。！？]\s*|\n\s*)$/;

/** Cuts a passage into windows of at most `room` tokens, which share `stride`; or at ends of sentences, if there are any. */
function* windowsOf(
  { ids, offsets }: Encoding,
  text: string,
  room: number,
  stride?: number,
): Generator<{ begin: number; end: number }> {
  const length = stride === undefined && ids.length > room ? Math.ceil(room / 2) : room;
  const shared = stride ?? Math.floor(length / 3);
  /** The first token from `from` to `to` before which a sentence ends. */
  const sentence = (from: number, to: number, step: 1 | -1) => {
    if (stride !== undefined) return undefined;
    for (let token = from; token !== to + step; token += step) {
      const [before, behind] = [offsets[token - 1]![1], offsets[token]![0]];
      if (SENTENCE_END.test(text.slice(Math.max(0, before - 3), behind))) return token;
    }
    return undefined;
  };
  for (let begin = 0; ; ) {
    const last = begin + length;
    const end = last >= ids.length ? ids.length : (sentence(last, last - (length >> 1), -1) ?? last);
    yield { begin, end };
    if (end === ids.length) return;
    begin = sentence(end - shared, end, 1) ?? end - shared;
  }
}

/** @throws BertletError `input` unless `ids` has 1 to `positions` integers from 0 to limit - 1 */
function checkedIds(name: string, ids: ArrayLike<number>, limit: number, positions: number): Int32Array {
  if (typeof ids !== 'object' || typeof ids?.length !== 'number') {
    throw inputError(name, 'an array of integers', preview(ids));
  }
  if (!(ids.length >= 1 && ids.length <= positions)) throw inputError(name, `1 to ${positions} tokens`, ids.length);
  return Int32Array.from(ids, (id, i) => {
    if (Number.isInteger(id) && id >= 0 && id < limit) return id;
    throw inputError(`${name}[${i}]`, `an integer from 0 to ${limit - 1}`, preview(id));
  });
}
