/** What a runtime must get right whatever its device: values that stay, refusals in words, and random programs. */
import { describe, expect, test } from 'vitest';
import { constant, normal, uniform } from '../kernels/op.ts';
import { ReferenceDevice } from '../src/devices/reference.ts';
import { quantizeWeight } from '../src/quantize.ts';
import { type Device, type LinearWeight, Runtime, type Tensor } from '../src/runtime.ts';
import { expectError, largestDifference } from './support.ts';

const matrix = (rows: number, columns: number, seed: number) => normal([rows, columns], seed);

/** Tests of a device; `clear` frees what a test has uploaded, where the device is kept for the next. */
export function runtimeTests(open: () => Device | Promise<Device>, clear: (device: Device) => void = () => {}): void {
  const withRuntime = (use: (rt: Runtime) => Promise<void>) => async () => {
    const device = await open();
    await use(new Runtime(device));
    clear(device);
  };
  const layer = (rt: Runtime, out: number, features: number, seed = 1) =>
    rt.linearLayer(matrix(out, features, seed), constant([out], seed));
  const exact = new Runtime(new ReferenceDevice());

  describe('a tensor is a value', () => {
    test(
      'two results of one program, read one after the other and together, are the same',
      withRuntime(async (rt) => {
        const x = rt.tensor(matrix(5, 8, 1));
        const [a, b] = [rt.linear(x, layer(rt, 4, 8)), rt.linear(x, layer(rt, 4, 8, 2), 'gelu')];
        const [first, second] = [await rt.read(a), await rt.read(b)];
        expect(await rt.read(b, a)).toEqual([second, first]);
        const want = exact.linear(exact.tensor(matrix(5, 8, 1)), layer(exact, 4, 8, 2), 'gelu');
        expect(largestDifference(second, await exact.read(want))).toBeLessThan(1e-5);
      }),
    );
    test(
      'it can be read, used, and read again',
      withRuntime(async (rt) => {
        const y = rt.linear(rt.tensor(matrix(3, 8, 1)), layer(rt, 8, 8));
        const before = await rt.read(y);
        const z = rt.linear(y, layer(rt, 5, 8, 2));
        const read = await rt.read(z);
        const again = rt.linear(rt.tensor({ shape: [3, 8], data: before }), layer(rt, 5, 8, 2));
        expect(read).toEqual(await rt.read(again));
        expect(await rt.read(y)).toEqual(before);
      }),
    );
    test.each([
      [1, 1],
      [3, 16],
      [5, 17],
      [70, 33],
    ])('an upload of %d x %d can be read', async (rows, columns) => {
      const device = await open();
      const rt = new Runtime(device);
      const { data } = matrix(rows, columns, 3);
      expect(await rt.read(rt.tensor({ shape: [rows, columns], data }))).toEqual(data);
      clear(device);
    });
    test(
      'reads that are under way at once do not disturb each other',
      withRuntime(async (rt) => {
        const x = rt.tensor(matrix(4, 8, 1));
        const ys = [1, 2, 3, 4].map((seed) => rt.linear(x, layer(rt, 4 + seed, 8, seed)));
        const together = await Promise.all(ys.map((y) => rt.read(y)));
        for (const [i, y] of ys.entries()) expect(together[i]).toEqual(await rt.read(y));
      }),
    );
  });

  test(
    'ids that are rewritten after an embedding was recorded do not change it',
    withRuntime(async (rt) => {
      const tables = {
        word: rt.tensor(matrix(5, 8, 1)),
        position: rt.tensor(matrix(4, 8, 2)),
        type: rt.tensor(matrix(2, 8, 3)),
      };
      const [ids, typeIds] = [Int32Array.of(1, 4, 0), Int32Array.of(0, 1, 1)];
      const y = rt.embedding(ids, typeIds, tables);
      const before = await rt.read(y);
      ids.fill(2 ** 30);
      typeIds.fill(2);
      expect(await rt.read(y)).toEqual(before);
    }),
  );

  describe('activations that are not finite', () => {
    const bad = [Number.NaN, Infinity, -Infinity];
    const cases = (['torch', 'accurate'] as const).flatMap((scheme) => bad.map((value) => [scheme, value] as const));
    test(
      'int8: results made of them are NaN, never numbers',
      withRuntime(async (rt) => {
        for (const [scheme, value] of cases) {
          const x = matrix(5, 32, 1);
          x.data[2 * 32 + 17] = value;
          const linear = rt.linearLayer(quantizeWeight(matrix(16, 32, 2), scheme), constant([16], 0));
          const y = await rt.read(rt.linear(rt.tensor(x), linear));
          expect(y.subarray(32, 48).every(Number.isNaN), `${scheme}, ${value}`).toBe(true);
          const next = rt.linearLayer(quantizeWeight(matrix(3, 16, 3), scheme), constant([3], 0));
          const used = await rt.read(rt.linear(rt.linear(rt.tensor(x), linear), next));
          expect(used.subarray(6, 9).every(Number.isNaN), `${scheme}, ${value}, used`).toBe(true);
        }
      }),
    );
  });

  describe('a program may have its ops in any order', () => {
    const tables = (rt: Runtime) => ({
      word: rt.tensor(matrix(20, 16, 1)),
      position: rt.tensor(matrix(12, 16, 2)),
      type: rt.tensor(matrix(2, 16, 3)),
    });
    const typeIds = new Int32Array(12);
    const ids = () => Int32Array.from({ length: 12 }, (_, i) => (7 * i) % 12);
    test(
      'an embedding after linears, and one whose table a linear has made',
      withRuntime(async (rt) => {
        const programs = (on: Runtime) => {
          const input = on.tensor(matrix(12, 16, 5));
          const y = on.linear(on.linear(input, layer(on, 64, 16)), layer(on, 16, 64));
          const x = on.embedding(ids(), typeIds, tables(on));
          const norm = { gamma: on.tensor(constant([16], 1)), beta: on.tensor(constant([16], 0)) };
          const looked = on.embedding(ids(), typeIds, { ...tables(on), word: y });
          return [on.layerNorm(x, y, norm, 1e-12), looked];
        };
        const [mine, theirs] = [programs(rt), programs(exact)];
        for (const [i, y] of mine.entries()) {
          const want = await exact.read(theirs[i]!);
          expect(largestDifference(await rt.read(y), want)).toBeLessThan(1e-4);
        }
      }),
    );
    test(
      'an upload while a read is under way leaves its numbers as they are',
      withRuntime(async (rt) => {
        const y = rt.linear(rt.tensor(matrix(64, 64, 1)), layer(rt, 64, 64));
        const before = await rt.read(y);
        for (let turns = 0; turns < 12; turns++) {
          const reading = rt.read(y);
          for (let i = 0; i < turns; i++) await null; // a read goes on in microtasks: the upload is between any two
          const late = rt.tensor(constant([64, 64], 777));
          expect(await reading, `after ${turns} turns`).toEqual(before);
          expect(await rt.read(late)).toEqual(constant([64, 64], 777).data);
        }
      }),
    );
  });

  // A range that saw the padding of a row, or a row beyond the last, would give other integers.
  test(
    'an int8 linear of what an op made is that of its numbers, uploaded: to the bit',
    withRuntime(async (rt) => {
      const x = rt.tensor(constant([5, 12], -9), [2, 3]); // sigmoid of them is far below that of a zero
      const small = { gamma: rt.tensor(constant([12], 1e-3)), beta: rt.tensor(constant([12], -1e-3)) };
      const made: Record<string, Tensor> = {
        rows: rt.rows(x, Int32Array.of(4, 0, 2)),
        add: rt.add(x, rt.tensor(matrix(1, 12, 1))),
        mul: rt.mul(x, x),
        ...Object.fromEntries(
          (['gelu', 'relu', 'tanh', 'sigmoid'] as const).map((name) => [name, rt.activation(x, name)]),
        ),
        softmax: rt.softmax(rt.tensor(matrix(5, 21, 2))),
        mean: rt.mean(rt.tensor(matrix(5, 12, 3), [4, 1])),
        transpose: rt.transpose(rt.tensor(matrix(7, 5, 4))),
        matmul: rt.matmul(rt.tensor(matrix(5, 7, 5)), rt.tensor(matrix(7, 12, 6))),
        layerNorm: rt.layerNorm(rt.tensor(matrix(5, 12, 7)), null, small, 1e-12),
        linear: rt.linear(x, layer(rt, 9, 12), 'sigmoid'),
        attention: rt.attention(rt.tensor(matrix(5, 24, 8), [2, 3]), 2),
      };
      for (const [name, y] of Object.entries(made)) {
        const columns = y.shape[1];
        const again = rt.tensor({ shape: y.shape, data: await rt.read(y) }, y.lengths);
        for (const scheme of ['torch', 'accurate'] as const) {
          const linear = rt.linearLayer(quantizeWeight(matrix(6, columns, 9), scheme), constant([6], 0));
          const got = await rt.read(rt.linear(y, linear));
          expect(got, `${name}, ${scheme}`).toEqual(await rt.read(rt.linear(again, linear)));
        }
      }
    }),
  );

  describe('an upload that is disposed of', () => {
    test(
      'reads that were asked for before have it, later ones are refused; a result is as before',
      withRuntime(async (rt) => {
        const x = rt.tensor(matrix(4, 8, 1));
        const y = rt.linear(x, layer(rt, 4, 8));
        const reading = rt.read(y);
        x.dispose();
        x.dispose();
        y.dispose();
        const want = exact.linear(exact.tensor(matrix(4, 8, 1)), layer(exact, 4, 8));
        expect(largestDifference(await reading, await exact.read(want))).toBeLessThan(1e-5);
        const message = /^(read|linear): expected a tensor in use, got a disposed one\.$/;
        await expectError('disposed', message, () => rt.read(x));
        await expectError('disposed', message, () => rt.read(y));
        await expectError('disposed', message, () => rt.linear(x, layer(rt, 4, 8)));
      }),
    );
    test(
      'its place is used again, and no other tensor changes',
      withRuntime(async (rt) => {
        const [kept, gone] = [1, 2].map((seed) => rt.tensor(matrix(40, 30, seed)));
        gone!.dispose();
        await rt.read(kept!);
        const sizes = [20, 10, 41, 40, 3, 2, 1];
        const later = sizes.map((rows) => rt.tensor(matrix(rows, 30, rows)));
        for (const [i, rows] of sizes.entries()) expect(await rt.read(later[i]!)).toEqual(matrix(rows, 30, rows).data);
        expect(await rt.read(kept!)).toEqual(matrix(40, 30, 1).data);
      }),
    );
  });

  describe('what is refused', () => {
    test(
      'a weight whose dtype no linear has, or not that of its data; then the runtime goes on',
      withRuntime(async (rt) => {
        const { shape, data } = matrix(4, 8, 1);
        const bias = constant([4], 0);
        const halves = new Uint16Array(data.length);
        const got = (weight: object) => () => rt.linearLayer(weight as LinearWeight, bias, 'dense');
        await expectError('input', /^dense: expected .+, got "BF16"/, got({ dtype: 'BF16', shape, data: halves }));
        await expectError(
          'input',
          /^dense: expected .+, got "I32"/,
          got({ dtype: 'I32', shape, data: new Int32Array(32) }),
        );
        await expectError(
          'input',
          /^dense: expected .+ in a Float32Array, got \[4,8\], "F32", Uint16Array of 32\. Use `toFloat32`/,
          got({ dtype: 'F32', shape, data: halves }),
        );
        const x = rt.tensor(matrix(1, 8, 2));
        expect((await rt.read(rt.linear(x, rt.linearLayer({ dtype: 'F32', shape, data }, bias)))).length).toBe(4);
      }),
    );
    test(
      'a tensor and a layer of another runtime',
      withRuntime(async (rt) => {
        const other = new Runtime(new ReferenceDevice());
        const foreign = other.tensor(matrix(2, 4, 1));
        const own = rt.tensor(matrix(2, 4, 1));
        const message = /: expected a (tensor|layer) of this runtime, got one of another\. Upload it here\.$/;
        await expectError('input', message, () => rt.read(foreign));
        await expectError('input', message, () => rt.linear(foreign, layer(rt, 4, 4)));
        await expectError('input', message, () => rt.linear(own, layer(other, 4, 4)));
        await expectError('input', message, () =>
          rt.layerNorm(own, foreign, { gamma: rt.tensor(constant([4], 1)), beta: rt.tensor(constant([4], 0)) }, 1e-12),
        );
      }),
    );
    test(
      'a gamma of 16 for 32 columns, a short residual; what was recorded before is still right',
      withRuntime(async (rt) => {
        const x = rt.tensor(matrix(4, 32, 1));
        const norm = { gamma: rt.tensor(constant([32], 1)), beta: rt.tensor(constant([32], 0)) };
        const y = rt.layerNorm(x, null, norm, 1e-12);
        await expectError('input', /layerNorm: expected gamma of 32, got 16/, () =>
          rt.layerNorm(y, null, { ...norm, gamma: rt.tensor(constant([16], 1)) }, 1e-12),
        );
        for (const [rows, columns] of [
          [32, 1],
          [4, 8],
        ] as const) {
          const message = new RegExp(`^layerNorm: expected gamma of 32, got \\[${rows},${columns}\\]`);
          const gamma = rt.tensor(matrix(rows, columns, 1));
          await expectError('input', message, () => rt.layerNorm(y, null, { ...norm, gamma }, 1e-12));
        }
        await expectError('input', /expected residual \[4,32\] of \[4,32\], got \[3,32\]/, () =>
          rt.layerNorm(y, rt.tensor(matrix(3, 32, 1)), norm, 1e-12),
        );
        const want = exact.layerNorm(
          exact.tensor(matrix(4, 32, 1)),
          null,
          { gamma: exact.tensor(constant([32], 1)), beta: exact.tensor(constant([32], 0)) },
          1e-12,
        );
        expect(largestDifference(await rt.read(y), await exact.read(want))).toBeLessThan(1e-5);
      }),
    );
  });
}

/** A random program of all ops over shared inputs, in any order: the results to read, some of them twice. */
function randomProgram(rt: Runtime, seed: number, forGpu: boolean): Tensor[] {
  const next = uniform(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;
  const whole = (least: number, most: number) => least + Math.floor(next() * (most - least + 1));
  const tokens = whole(1, 9);
  /** How many of a program's linears are int8. */
  const share = pick([0, 0, 0.5, 1]);
  const linear = (out: number, features: number) => {
    const weight = normal([out, features], whole(1, 99), 1 / Math.sqrt(features));
    const int8 = next() < share ? pick(['torch', 'accurate'] as const) : null;
    return rt.linearLayer(int8 ? quantizeWeight(weight, int8) : weight, constant([out], 0.1));
  };
  /** Rows of the sequences of a batch; of one sequence in most. */
  const lengths = (rows: number): number[] => {
    const first = next() < 0.3 ? whole(1, rows) : rows;
    return first < rows ? [first, ...lengths(rows - first)] : [rows];
  };
  const upload = () => {
    const rows = next() < 0.7 ? tokens : whole(1, 9);
    return rt.tensor(normal([rows, whole(1, 25)], whole(1, 99)), lengths(rows));
  };
  const live: Tensor[] = [upload()];
  let embeddings = 3;
  /** Its word table is an upload, or what an op made. */
  const embedding = () => {
    embeddings--;
    const word = next() < 0.3 ? pick(live) : upload();
    const [vocab, hidden] = word.shape;
    const [position, type] = [rt.tensor(normal([9, hidden], 2)), rt.tensor(normal([2, hidden], 3))];
    const ids = Int32Array.from({ length: tokens }, () => whole(0, vocab - 1));
    const typeIds = ids.map((id) => id % 2);
    return rt.embedding(ids, typeIds, { word, position, type }, lengths(tokens));
  };
  /** One of the general ops. Products with what live has are bounded by tanh, so that numbers do not grow without end. */
  const general = (x: Tensor): Tensor => {
    const [rows, columns] = x.shape;
    const other = () => (next() < 0.5 ? rt.tensor(normal([1, columns], whole(1, 99))) : rt.softmax(x));
    const ops = [
      () =>
        rt.rows(
          x,
          Int32Array.from({ length: whole(1, 9) }, () => whole(0, rows - 1)),
        ),
      () => rt.add(x, other()),
      () => rt.mul(x, other()),
      () => rt.activation(x, pick(['gelu', 'relu', 'tanh', 'sigmoid'] as const)),
      () => rt.softmax(x),
      () => rt.mean(x),
      () => rt.transpose(x),
      () => rt.matmul(x, rt.transpose(rt.activation(x, 'tanh'))),
      () => rt.matmul(x, rt.tensor(normal([columns, whole(1, 20)], whole(1, 99)))),
    ];
    return pick(ops)();
  };
  for (let ops = whole(1, 8); ops > 0; ops--) {
    const x = pick(live);
    const [, columns] = x.shape;
    const kind = next();
    if (kind < 0.1) live.push(upload());
    else if (next() < 0.4) live.push(general(x));
    else if (kind < 0.25 && embeddings > 0) live.push(embedding());
    else if (kind < 0.55)
      live.push(rt.linear(x, linear(whole(1, 37), columns), pick([undefined, undefined, 'gelu', 'relu', 'tanh'])));
    else if (kind < 0.75) {
      const norm = { gamma: rt.tensor(normal([columns], 4)), beta: rt.tensor(normal([columns], 5)) };
      const fitting = live.filter((y) => `${y.lengths}` === `${x.lengths}` && y.shape[1] === columns);
      live.push(rt.layerNorm(x, next() < 0.5 ? pick(fitting) : null, norm, 1e-5));
    } else {
      const [heads, headDim] = [pick([1, 2]), forGpu ? 4 * whole(1, 2) : whole(1, 9)];
      live.push(rt.attention(rt.linear(x, linear(3 * heads * headDim, columns)), heads));
    }
  }
  return Array.from({ length: whole(1, 4) }, () => pick(live));
}

/**
 * Runs random programs on a device and on the reference. Float results may differ by what a few steps of float32 sums in
 * another order come to, 1e-3 of the largest value. An int8 linear of an upload gets the same integers on both sides, so
 * that it is compared likewise. One that reads what an op made may round a value the other way, which is a whole step of
 * the quantizer: behind it only the shapes and finiteness are compared.
 * @returns the largest difference, as a share of the largest value
 */
export async function compareRandomPrograms(device: Device, seeds: readonly number[], forGpu = false): Promise<number> {
  let worst = 0;
  for (const seed of seeds) {
    const [rt, exact] = [new Runtime(device), new Runtime(new ReferenceDevice())];
    const [mine, theirs] = [randomProgram(rt, seed, forGpu), randomProgram(exact, seed, forGpu)];
    const got: Float32Array[] = [];
    const together = seed % 2 === 0;
    if (together) got.push(...[await rt.read(mine[0]!, ...mine.slice(1))].flat());
    else for (const y of mine) got.push(await rt.read(y));
    for (const [i, y] of theirs.entries()) {
      const want = await exact.read(y);
      expect(got[i]!.length, `program ${seed}, result ${i}`).toBe(want.length);
      expect(got[i]!.every(Number.isFinite), `program ${seed}, result ${i}: finite`).toBe(true);
      if (requantizes(y)) continue;
      const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
      const difference = largestDifference(got[i]!, want) / largest;
      expect(difference, `program ${seed}, result ${i}`).toBeLessThan(1e-3);
      worst = Math.max(worst, difference);
    }
  }
  return worst;
}

/** How many times as many random programs are run: BERTLET_PROGRAMS=10 runs 20,000 on the CPU and 300 on the GPU. */
export const PROGRAMS = Number(process.env.BERTLET_PROGRAMS ?? 1);

/** Whether an int8 linear that reads what an op made is among the steps that a tensor of the reference needs. */
function requantizes({ step }: Tensor): boolean {
  if (!step) return false;
  const int8 = step.op === 'linear' && 'scale' in (step.linear.buffer as { weight: object }).weight;
  if (int8 && step.reads[0]!.step) return true;
  return step.reads.some(requantizes);
}
