/**
 * Shares a model among the questions that are under way at once. Each has sequences to read. One batch of them runs at a
 * time, and is filled from the question that is next:
 *
 *   - the one with the fewest sequences left, so that a long document does not hold up a question to a paragraph; among
 *     equals the one that came first
 *   - in every eighth batch the one that came first of all, so that short questions do not hold up a long document forever
 */
import { unlessAborted } from './options.ts';

/** Input of one forward: ids and the type of each. */
export type Sequence = { readonly ids: Int32Array; readonly typeIds: Int32Array };

/** The sequences of a question. */
export interface Reading {
  readonly count: number;
  /** Makes a sequence when its turn has come: those of a whole document take much memory. */
  readonly sequence: (index: number) => Sequence;
  /** Called with the logits of each sequence, in their order. What it throws ends the reading. */
  readonly told: (logits: Float32Array, index: number) => void;
  readonly signal: AbortSignal | undefined;
}
type Waiting = Reading & PromiseWithResolvers<void> & { begun: number };
const left = ({ count, begun }: Waiting) => count - begun;

export class Queue {
  readonly #batchSize: number;
  readonly #forward: (sequences: Sequence[], signal?: AbortSignal) => Promise<Float32Array[]>;
  /** In the order of the calls. */
  #waiting: Waiting[] = [];
  #isRunning = false;

  /**
   * @param batchSize most sequences that run at once
   * @param forward returns the logits of each sequence
   */
  constructor(batchSize: number, forward: (sequences: Sequence[], signal?: AbortSignal) => Promise<Float32Array[]>) {
    this.#batchSize = batchSize;
    this.#forward = forward;
  }

  /** Reads all sequences of a question. @throws what `forward` and `told` throw; the signal's reason */
  async read(reading: Reading): Promise<void> {
    const one = { ...reading, begun: 0, ...Promise.withResolvers<void>() };
    this.#waiting.push(one);
    if (!this.#isRunning) void this.#run();
    await unlessAborted(one.promise, reading.signal).finally(() => {
      this.#waiting = this.#waiting.filter((other) => other !== one);
    });
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    await null; // the calls of this moment share the first batch
    for (let turn = 1; ; turn++) {
      const open = this.#waiting.filter((one) => left(one) > 0 && !one.signal?.aborted);
      if (open.length === 0) break;
      if (turn % 8 > 0) open.sort((a, b) => left(a) - left(b));
      await this.#runBatch(open);
    }
    this.#isRunning = false;
  }

  /** Runs the next sequences of these questions, as many as a batch has room for. Never rejects. */
  async #runBatch(questions: readonly Waiting[]): Promise<void> {
    const batch: { from: Waiting; index: number }[] = [];
    for (const from of questions) {
      while (left(from) > 0 && batch.length < this.#batchSize) batch.push({ from, index: from.begun++ });
    }
    const [signal, ...others] = new Set(batch.map(({ from }) => from.signal));
    const sequences = batch.map(({ from, index }) => from.sequence(index));
    // A signal ends a forward early if nobody else waits for it.
    const run = this.#forward(sequences, others.length === 0 ? signal : undefined);
    for (const [i, { from, index }] of batch.entries()) {
      try {
        const logits = (await run)[i]!;
        if (!from.signal?.aborted) from.told(logits, index);
        if (index + 1 === from.count) from.resolve();
      } catch (error) {
        from.begun = from.count;
        from.reject(error);
      }
    }
  }
}
