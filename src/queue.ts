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
export type Sequence = { readonly ids: ArrayLike<number>; readonly typeIds: ArrayLike<number> };

/** The sequences of a question, each made of an item, and what its logits become. */
export interface Reading<Item, Result> {
  readonly items: readonly Item[];
  /** Called when its turn has come: the sequences of a whole document take much memory. */
  sequence(item: Item): Sequence;
  /** Called in the order of the items. What it throws ends the reading. */
  told(logits: Float32Array, item: Item): Result;
  readonly signal: AbortSignal | undefined;
}
type Waiting = Reading<unknown, unknown> & PromiseWithResolvers<void> & { begun: number; results: unknown[] };
const left = ({ items, begun }: Waiting) => items.length - begun;

/**
 * Makes a queue: a function that reads all sequences of a question.
 * @param batchSize most sequences that run at once
 * @param forward returns the logits of each sequence
 * @throws from the function: what `forward` and `told` throw; the signal's reason
 */
export function queueOf(
  batchSize: number,
  forward: (sequences: Sequence[], signal?: AbortSignal) => Promise<Float32Array[]>,
): <Item, Result>(reading: Reading<Item, Result>) => Promise<Result[]> {
  let waiting: Waiting[] = []; // in the order of the calls
  let isRunning = false;

  async function run(): Promise<void> {
    isRunning = true;
    await null; // the calls of this moment share the first batch
    for (let turn = 1; ; turn++) {
      const open = waiting.filter((one) => left(one) > 0 && !one.signal?.aborted);
      if (open.length === 0) break;
      if (turn % 8 > 0) open.sort((a, b) => left(a) - left(b));
      await runBatch(open);
    }
    isRunning = false;
  }

  /** Runs the next sequences of these questions, as many as a batch has room for. Never rejects. */
  async function runBatch(questions: readonly Waiting[]): Promise<void> {
    const batch: { from: Waiting; item: unknown }[] = [];
    for (const from of questions) {
      while (left(from) > 0 && batch.length < batchSize) batch.push({ from, item: from.items[from.begun++] });
    }
    const [signal, ...others] = new Set(batch.map(({ from }) => from.signal));
    const sequences = batch.map(({ from, item }) => from.sequence(item));
    // A signal ends a forward early if nobody else waits for it.
    const logits = forward(sequences, others.length === 0 ? signal : undefined);
    for (const [i, { from, item }] of batch.entries()) {
      try {
        const own = (await logits)[i]!;
        if (!from.signal?.aborted) from.results.push(from.told(own, item));
        if (from.results.length === from.items.length) from.resolve();
      } catch (error) {
        from.begun = from.items.length;
        from.reject(error);
      }
    }
  }

  return async function read<Item, Result>(reading: Reading<Item, Result>): Promise<Result[]> {
    const results: Result[] = [];
    const one = { ...reading, begun: 0, results, ...Promise.withResolvers<void>() } as Waiting;
    if (left(one) === 0) return results;
    waiting.push(one);
    if (!isRunning) void run();
    await unlessAborted(one.promise, reading.signal).finally(() => {
      waiting = waiting.filter((other) => other !== one);
    });
    return results;
  };
}
