// @unit
/** The order in which questions under way at once read their sequences, on a forward that takes a turn of the event loop. */
import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { queueOf } from '../src/queue.ts';

/** A queue whose forwards are logged: for each batch the questions that its sequences are of. */
function queue(batchSize = 1, after: (batch: number[]) => void = () => {}) {
  const batches: number[][] = [];
  const running = queueOf(batchSize, async (sequences) => {
    const batch = sequences.map(({ ids }) => ids[0]!);
    batches.push(batch);
    await setImmediate();
    after(batch);
    return sequences.map(({ ids }) => Float32Array.from(ids));
  });
  const ended: number[] = [];
  /** Reads the sequences [question, 0], [question, 1] and so on. */
  const read = async (question: number, count: number, signal?: AbortSignal, told = (_: number) => {}) => {
    const seen: number[][] = [];
    const results = await running({
      items: Array.from({ length: count }, (_, i) => i),
      sequence: (i) => ({ ids: Int32Array.of(question, i), typeIds: Int32Array.of(0, 0) }),
      told: (logits, i) => {
        seen.push([...logits]);
        told(i);
        return `${question}.${i}`;
      },
      signal,
    });
    expect(results).toEqual(Array.from({ length: count }, (_, i) => `${question}.${i}`));
    expect(seen).toEqual(Array.from({ length: count }, (_, i) => [question, i]));
    ended.push(question);
  };
  return { running, batches, ended, read };
}
const flat = (batches: number[][]) => batches.flat().join('');

describe('who is next', () => {
  test('ten equal questions one after the other, in the order of the calls', async () => {
    const { batches, read, ended } = queue();
    await Promise.all(Array.from({ length: 10 }, (_, i) => read(i, 3)));
    expect(flat(batches)).toBe('000111222333444555666777888999');
    expect(ended).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });
  test('nine short ones do not wait for a long one, which has every eighth turn', async () => {
    const { batches, read, ended } = queue();
    const long = read(0, 30);
    await setImmediate();
    await Promise.all([long, ...Array.from({ length: 9 }, (_, i) => read(i + 1, 2))]);
    expect(ended.at(-1)).toBe(0);
    const order = flat(batches);
    for (let i = 1; i <= 9; i++) {
      const alone = 2 * i; // sequences of those before it and its own
      expect(order.lastIndexOf(String(i)), `${i}`).toBeLessThanOrEqual(Math.ceil((alone * 8) / 7) + 2);
    }
    expect(order.slice(0, 18).split('0').length - 1).toBeGreaterThanOrEqual(3);
  });
  test('a long one ends although short ones come again and again', async () => {
    const { read, batches } = queue();
    let under = true;
    const long = read(0, 20).then(() => {
      under = false;
    });
    const stream = async (question: number) => {
      while (under && batches.length < 500) await read(question, 1);
    };
    await Promise.all([long, stream(1), stream(2), stream(3)]); // at any time some of them wait
    expect(flat(batches).lastIndexOf('0')).toBeLessThan(8 * 20 + 16);
  });
  test('a batch has room for the next question as well', async () => {
    const { batches, read } = queue(4);
    await Promise.all([read(1, 6), read(2, 3), read(3, 1)]);
    expect(batches).toEqual([
      [3, 2, 2, 2],
      [1, 1, 1, 1],
      [1, 1],
    ]);
  });
});

describe('what goes wrong', () => {
  test('a signal ends its own question at once; the sequences that are left are not read', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const { batches, read } = queue(1, ([question]) => {
      if (question === 0 && batches.length === 2) controller.abort(reason);
    });
    const [ended, other] = [read(0, 50, controller.signal), read(1, 60)];
    await expect(ended).rejects.toBe(reason);
    await other;
    expect(flat(batches).split('0').length - 1).toBeLessThanOrEqual(3);
    await expect(read(2, 1, AbortSignal.abort(reason))).rejects.toBe(reason);
    await read(3, 1);
    expect(flat(batches)).not.toContain('2');
  });
  test('what is told and throws ends its own question', async () => {
    const { batches, read } = queue(2);
    const wrong = read(0, 9, undefined, (i) => {
      if (i === 1) throw new Error('no more');
    });
    await Promise.all([expect(wrong).rejects.toThrow('no more'), read(1, 9)]);
    expect(flat(batches).split('0').length - 1).toBe(2);
  });
  test('a forward hears the signal of its only question, and of none if others wait for it', async () => {
    const heard: unknown[] = [];
    const running = queueOf(2, async (sequences, signal) => {
      heard.push(signal);
      return sequences.map(() => new Float32Array(2));
    });
    const { signal } = new AbortController();
    const read = (count: number, own?: AbortSignal) =>
      running({
        items: Array.from({ length: count }, (_, i) => i),
        sequence: () => ({ ids: Int32Array.of(0), typeIds: Int32Array.of(0) }),
        told: () => {},
        signal: own,
      });
    await read(2, signal);
    await Promise.all([read(1, signal), read(1, new AbortController().signal)]);
    await Promise.all([read(1, signal), read(1)]);
    expect(heard).toEqual([signal, undefined, undefined]);
  });
  test('a forward that fails ends the questions of its batch, and no other', async () => {
    let forwards = 0;
    const running = queueOf(2, async (sequences) => {
      if (++forwards === 1) throw new Error('lost');
      return sequences.map(() => new Float32Array(2));
    });
    const told: number[] = [];
    const read = (count: number) =>
      running({
        items: Array.from({ length: count }, (_, i) => i),
        sequence: () => ({ ids: Int32Array.of(0), typeIds: Int32Array.of(0) }),
        told: (_, i) => void told.push(i),
        signal: undefined,
      });
    const [one, two, three] = [read(1), read(1), read(3)];
    await expect(one).rejects.toThrow('lost');
    await expect(two).rejects.toThrow('lost');
    await three;
    expect(told).toEqual([0, 1, 2]);
  });
});

test('a question that comes when all are read is read as well', async () => {
  const { batches, read } = queue();
  await read(0, 2);
  await setImmediate();
  await read(1, 2);
  expect(flat(batches)).toBe('0011');
});
test('nothing to read is read at once', async () => {
  const { batches, read } = queue();
  await read(0, 0);
  expect(batches).toEqual([]);
});
