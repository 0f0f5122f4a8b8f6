/** The race between kernels: with a clock as coarse as a page's, beside other work on the machine; and what `info` says of it. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import { startCpu } from '../src/devices/cpu/start.ts';
import { fastest } from '../src/devices/race.ts';
import { load } from '../src/index.ts';
import type { Tensor } from '../src/runtime.ts';
import { TINY } from './support.ts';

/** A machine whose time goes on by what is read from it, and whose clock shows it in ticks; in milliseconds. */
function machine(tick: number) {
  let time = 0;
  const spans: number[] = [];
  let [asked, reads] = [0, 0];
  vi.spyOn(performance, 'now').mockImplementation(() => {
    if (reads > 0) spans.push(time - asked);
    [asked, reads] = [time, 0];
    time += 1e-3; // what the question itself takes
    return Math.floor(time / tick) * tick;
  });
  /** A way whose n-th read takes so long. */
  const way = <T>(choice: T, cost: (n: number) => number) => {
    let n = 0;
    const read = async () => {
      time += cost(n++);
      reads++;
      return new Float32Array(1);
    };
    return { choice, y: { runtime: { read } } as unknown as Tensor, reads: () => n };
  };
  return { way, spans };
}
/** Timed runs of a way in a set, of one read each where the clock is fine. */
const ROUNDS = 5;
afterEach(() => vi.restoreAllMocks());

describe('the clock', () => {
  test.each([1, 0.1, 0.005])('of %d ms: reads of 0.1 and 0.083 ms are told apart', async (tick) => {
    const { way } = machine(tick);
    const ways = [way('relaxed', () => 0.1), way('grouped', () => 0.083)];
    const { choice, milliseconds } = await fastest(ways, 0);
    expect(choice).toBe('grouped');
    for (const [i, time] of [0.1, 0.083].entries()) expect(Math.abs(milliseconds[i]! / time - 1)).toBeLessThan(0.1);
    // A run lasts at least twenty ticks, and no longer than it must.
    const runs = 2 * ROUNDS;
    for (const [i, time] of [0.1, 0.083].entries()) {
      const each = (ways[i]!.reads() - 1) / runs;
      expect(each).toBeGreaterThanOrEqual((0.95 * 20 * tick) / time);
      expect(each).toBeLessThanOrEqual((22 * tick) / time + 1);
    }
  });
  test('that stands still ends, too', async () => {
    vi.spyOn(performance, 'now').mockReturnValue(5);
    const y = { runtime: { read: async () => new Float32Array(1) } } as unknown as Tensor;
    expect(
      (
        await fastest(
          [1, 2].map((choice) => ({ choice, y })),
          100,
        )
      ).choice,
    ).toBe(1);
  });
});

describe('what decides', () => {
  const race = async (wide: (n: number) => number, narrow: (n: number) => number) => {
    const { way } = machine(1e-3);
    return (await fastest([way('wide', wide), way('narrow', narrow)], 0)).choice;
  };
  test('the wider way stays unless the narrow one wins clearly', async () => {
    expect(
      await race(
        () => 1,
        () => 0.95,
      ),
    ).toBe('wide');
    expect(
      await race(
        () => 1,
        () => 0.85,
      ),
    ).toBe('narrow');
  });
  test('other work while the wide way has its turn does not', async () => {
    const during = (begin: number, end: number) => (n: number) => (n >= begin && n < end ? 3 : 1);
    expect(await race(during(0, 1 + ROUNDS), () => 1.05)).toBe('wide'); // the warm-up and the first set
    expect(await race(during(1 + ROUNDS, 1 + 2 * ROUNDS), () => 1.05)).toBe('wide');
    expect(
      await race(
        (n) => (n % 3 === 0 ? 1 : 3),
        () => 1.05,
      ),
    ).toBe('wide'); // the best of a set counts
  });
  test('sets that never agree: the best times of all', async () => {
    const alternating = (slowSet: number) => (n: number) => (Math.floor((n - 1) / ROUNDS) % 2 === slowSet ? 3 : 1);
    expect(await race(alternating(0), (n) => 1.02 * alternating(1)(n))).toBe('wide');
    expect(await race(alternating(0), (n) => 0.8 * alternating(1)(n))).toBe('narrow');
  });
  test('a single way is not timed', async () => {
    const { way } = machine(1e-3);
    const only = way('only', () => 1);
    expect(await fastest([only], 100)).toEqual({ choice: 'only', milliseconds: [] });
    expect(only.reads()).toBe(0);
  });
});

describe('info', () => {
  test('int8: both kernels, whether multiply-add is fused, and what each kernel that was timed took', async () => {
    await using qa = await load(TINY, { dtype: 'int8', threads: 1 });
    const { kernels, measured } = qa.info;
    expect(kernels).toMatch(
      /^int8 (relaxed|signed|grouped) \d+x\d+, float32 6x\d+, relaxed SIMD, (no )?fused multiply-add$/,
    );
    const timed = Object.entries(measured!);
    expect(timed.filter(([name]) => name.startsWith('float32')).length).not.toBe(1); // both tiles, or no choice
    for (const [, milliseconds] of timed) expect(milliseconds).toBeGreaterThan(0);
    // The kernel in use has none that was clearly faster.
    for (const kind of ['int8', 'float32']) {
      const own = measured![kernels!.split(', ').find((name) => name.startsWith(kind))!];
      const others = timed.filter(([name]) => name.startsWith(kind)).map(([, milliseconds]) => milliseconds);
      if (own) expect(0.8 * own).toBeLessThan(Math.min(...others)); // 0.9, and sets that differ
    }
  });
  test('fp32: no int8 kernel is named', async () => {
    await using qa = await load(TINY, { dtype: 'fp32', threads: 1 });
    expect(qa.info.kernels).toMatch(/^float32 6x\d+, relaxed SIMD, (no )?fused multiply-add$/);
    const { device, kernels } = await startCpu({ threads: 1 }, true);
    expect(kernels).toMatch(/^int8 /); // the same process found them
    await device.dispose();
  });
});
