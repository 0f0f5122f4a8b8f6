/// <reference lib="esnext.disposable" preserve="true" />
/**
 * Extractive question answering. Cuts the passages into windows, `[CLS] question [SEP] part of a passage [SEP]`, runs the
 * model on each window, reads the sentences around the best span of a passage of several windows once more, and picks the
 * best spans over all windows, or "no answer". spans.ts says how passages are cut and spans are chosen.
 *
 * Sources: run_squad.py of the BERT authors and run_qa.py of Hugging Face; short windows and reading again are bertlet's own.
 */
import type { Bert, BertConfig } from './bert.ts';
import type { DeviceName, Dtype } from './devices/index.ts';
import { fault, inputError } from './errors.ts';
import * as option from './options.ts';
import { check, type GivenOf, inSlices, optionsOf, preview, type ValuesOf } from './options.ts';
import { queueOf, type Sequence } from './queue.ts';
import type { DeviceInfo, Runtime, Scheme } from './runtime.ts';
import { type Answer, answersOf, type Part, type Passage, RULE } from './spans.ts';
import type { Tokenizer } from './text/tokenizer.ts';

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
  ...RULE,
  /**
   * Longest window in tokens: question, part of the passage, and special tokens. Default 384. A window is never longer
   * than the model's positions, nor than the tokenizer's `model_max_length`.
   */
  maxTokens: option.byDefault(384, option.integer(4)),
  /** Called for each window that was read: how many of all are done. While the tokens of a long passage are counted, `total` is 0. */
  onProgress: option.callback<(progress: { done: number; total: number; tokens: number }) => void>(),
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
  readonly #read: ReturnType<typeof queueOf>;
  readonly #maxQueue: number;
  /** The calls under way. */
  readonly #calls = new Set<Promise<unknown>>();
  /** The passages of the last question and their tokens, so that several questions to one passage tokenize it once. */
  #encoded: ReadonlyMap<string, Int32Array> = new Map();
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
    this.#read = queueOf(batchSize, (sequences, signal) => {
      const all = (which: 'ids' | 'typeIds') => sequences.map((one) => Int32Array.from(one[which]));
      return bert.forwardBatch(all('ids'), all('typeIds'), { signal });
    });
  }

  /** Facts about the device and the weights, as of now. */
  get info(): Info {
    return { ...this.#about(), waiting: this.#calls.size };
  }

  /**
   * Answers a question from a passage, or from several.
   * @returns 1 to `topK` answers, best first. "No answer" is always a candidate, and the only candidate for passages
   * without words. A larger `topK` only appends answers.
   * @throws BertletError `input` if the question is empty or too long for a window, or if an option is out of range;
   * `busy` if `maxQueue` questions are under way; `disposed` after `dispose()`; the reason of `signal` if it aborts;
   * whatever `onProgress` throws
   */
  answer(input: Question): Promise<[Answer, ...Answer[]]> {
    return this.#call(() => this.#answer(optionsOf('answer', input, QUESTION)));
  }

  /**
   * Runs the model on one sequence, without padding.
   * @param input token ids of `[CLS] question [SEP] context [SEP]`, and the type of each token: 0 or 1
   * @returns the start logits [tokens] and the end logits [tokens]
   * @throws BertletError `input` for ids that the model does not have; `weights` if a logit is not finite; `busy` if
   * `maxQueue` questions are under way; `disposed` after `dispose()`; the reason of `signal` if it aborts
   */
  logits(input: Tokens): Promise<{ start: Float32Array; end: Float32Array }> {
    return this.#call(async () => {
      const { vocab, types, positions } = this.config;
      const { inputIds, tokenTypeIds, signal } = optionsOf('logits', input, TOKENS);
      signal?.throwIfAborted();
      const ids = checkedIds('inputIds', inputIds, vocab, positions);
      const typeIds = checkedIds('tokenTypeIds', tokenTypeIds, types || 2, positions);
      if (ids.length !== typeIds.length) throw inputError('tokenTypeIds', `${ids.length}, as inputIds`, typeIds.length);
      this.#refusePadding('inputIds', ids);
      const read = { items: [{ ids, typeIds }], sequence: (item: Sequence) => item, told: startsAndEnds, signal };
      return (await this.#read(read))[0]!;
    });
  }

  /** Waits for the questions under way, then frees the weights. Idempotent. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    await Promise.allSettled(this.#calls);
    await this.#runtime.dispose();
  }
  /** For `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** Runs a call, unless there are too many. */
  async #call<T>(run: () => Promise<T>): Promise<T> {
    if (this.#disposed) throw fault('disposed', 'model', 'a loaded model', 'a disposed one');
    const most = `at most ${this.#maxQueue} questions at once`;
    if (this.#calls.size >= this.#maxQueue) throw fault('busy', 'model', most, 'one more', 'Ask again later.');
    const call = run();
    this.#calls.add(call);
    return call.finally(() => this.#calls.delete(call));
  }

  async #answer(options: ValuesOf<typeof QUESTION>): Promise<[Answer, ...Answer[]]> {
    const { signal, onProgress } = options;
    signal?.throwIfAborted();
    const contexts = contextsOf(options);
    const question = this.tokenizer.encode(options.question);
    this.#refusePadding('question', question.ids);
    const passages = await this.#encode(contexts, options);
    const lengths = passages.map(({ tokens }) => tokens.length / 3);
    const room = this.#roomBeside(question.ids.length, Math.max(...lengths), options);
    const tokens = lengths.reduce((sum, length) => sum + length);
    let done = 0;
    const pair = (ids: number[]) => this.tokenizer.pair(question, { ids, tokens: [], offsets: [] });
    const first = pair([0]).sequence.indexOf(1); // index of a part's first token in its window
    const read = (items: readonly Part[], total: number) =>
      this.#read({
        items,
        sequence: ({ passage, begin, end }) =>
          pair(Array.from({ length: end - begin }, (_, i) => passage.tokens[3 * (begin + i)]!)),
        told: (logits, { passage, begin, end }) => {
          const all = startsAndEnds(logits);
          onProgress?.({ done: ++done, total, tokens });
          const own = (each: Float32Array) => Float32Array.of(each[0]!, ...each.subarray(first, first + end - begin));
          return { passage, begin, end, starts: own(all.start), ends: own(all.end) };
        },
        signal,
      });
    const answers = await answersOf(passages, { ...options, room, temperature: this.config.temperature ?? 1 }, read);
    return (options.contexts ? answers : answers.map(({ context, ...answer }) => answer)) as [Answer, ...Answer[]];
  }

  /** The passages and their tokens. Events have their turn while these are counted. */
  async #encode(contexts: readonly string[], { signal, onProgress }: ValuesOf<typeof QUESTION>): Promise<Passage[]> {
    const encoded = new Map<string, Int32Array>();
    let tokens = 0;
    for (const text of contexts) {
      const known = encoded.get(text) ?? this.#encoded.get(text);
      let row = new Int32Array(1024);
      let end = 0;
      const steps = known ? [] : this.tokenizer.encodeParts(text);
      for await (const { ids, offsets } of inSlices(steps, () => onProgress?.({ done: 0, total: 0, tokens }), signal)) {
        this.#refusePadding('context', ids);
        const part = ids.flatMap((id, i) => [id, ...offsets[i]!]);
        if (end + part.length > row.length) row = new Int32Array(row.buffer.transfer(8 * (end + part.length)));
        row.set(part, end);
        end += part.length;
        tokens += ids.length;
      }
      encoded.set(text, known ?? row.slice(0, end));
    }
    this.#encoded = encoded;
    return contexts.map((text, context) => ({ text, context, tokens: encoded.get(text)! }));
  }

  /** How many tokens of a passage fit a window beside the question. */
  #roomBeside(question: number, longest: number, { maxTokens, stride = 0 }: ValuesOf<typeof QUESTION>): number {
    if (question === 0) throw inputError('question', 'words', 'none');
    const { tokenizer, config } = this;
    const room = Math.min(maxTokens, config.positions, tokenizer.maxTokens) - question - tokenizer.specialTokens;
    const spare = room - Math.min(1, longest);
    if (spare < 0) {
      const advice = 'It is never cut: shorten it, or raise `maxTokens`.';
      throw inputError('question', `at most ${question + spare} tokens`, question, advice);
    }
    // A window must hold the whole passage, or advance by at least one token.
    if (stride >= room && room < longest) {
      const fewer = `fewer than the ${room} tokens of the passage that a window has beside the question`;
      throw inputError('stride', fewer, stride, 'Lower it, or raise `maxTokens`.');
    }
    return room;
  }

  /** RoBERTa does not count padding in its positions, and here every token has the next. */
  #refusePadding(what: string, ids: ArrayLike<number>): void {
    const padding = (this.config.firstPosition ?? 0) - 1;
    const at = Array.prototype.indexOf.call(ids, padding); // -1 is no id
    if (at >= 0)
      throw inputError(`${what}: token ${at}`, 'no padding token', padding, 'Pass one sequence without padding.');
  }
}

/** The logits of a window [tokens, 2]. @throws BertletError `weights` if one is not finite */
function startsAndEnds(logits: Float32Array): { start: Float32Array; end: Float32Array } {
  const wrong = logits.find((value) => !Number.isFinite(value));
  const advice = 'The weights are damaged, or an activation overflowed; try dtype fp32.';
  if (wrong !== undefined) throw fault('weights', 'logits', 'finite numbers', wrong, advice);
  return { start: logits.filter((_, i) => i % 2 === 0), end: logits.filter((_, i) => i % 2 === 1) };
}

function contextsOf({ context, contexts }: ValuesOf<typeof QUESTION>): readonly string[] {
  if (contexts === undefined) check('context', context, option.string);
  else if (context !== undefined) throw inputError('context', 'none beside `contexts`', preview(context));
  return contexts ?? [context!];
}

/** @throws BertletError `input` unless `ids` has 1 to `positions` integers from 0 to limit - 1 */
function checkedIds(name: string, ids: ArrayLike<number>, limit: number, positions: number): Int32Array {
  const isList = typeof ids === 'object' && typeof ids?.length === 'number';
  if (!isList) throw inputError(name, 'an array of integers', preview(ids));
  if (!(ids.length >= 1 && ids.length <= positions)) throw inputError(name, `1 to ${positions} tokens`, ids.length);
  return Int32Array.from(ids, (id, i) => {
    if (Number.isInteger(id) && id >= 0 && id < limit) return id;
    throw inputError(`${name}[${i}]`, `an integer from 0 to ${limit - 1}`, preview(id));
  });
}
