/** Checkpoints in the forms that people's repositories have: ids, offsets, types and logits of transformers, or refused. */
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { convert, load, type PairEncoding, Tokenizer } from '../src/index.ts';
import { WORDS } from '../src/text/bpe.ts';
import { cpuMilliseconds } from './cpuTime.ts';
import { expectError, GOLDEN, goldenJson, largestDifference, splitLogits } from './support.ts';

interface Pair {
  ids: number[];
  offsets: number[];
  types: number[];
  sequence: number[];
}
interface Case {
  name: string;
  model: string;
  files: Record<string, unknown>;
  refused?: string;
  pairs: Pair[];
  decoded: string[];
  logits: number[];
}
interface Goldens {
  pairs: [string, string][];
  models: Record<string, { ids: number[]; types: number[]; fp32: number[]; int8: number[] }>;
  cases: Case[];
  shared: Record<string, unknown>;
}

const { pairs, models, cases, shared } = goldenJson<Goldens>('checkpoints/cases');
const folder = mkdtempSync(join(tmpdir(), 'bertlet-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A value with the shared vocabularies where it names them. */
const filled = (value: unknown): unknown => {
  if (typeof value === 'string' && value.startsWith('$shared ')) return shared[value.slice(8)];
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, filled(one)]));
};

/** Writes the folder of a case: the model, with the case's tokenizer. */
function folderOf({ model, files }: Case, i: number): string {
  const own = join(folder, String(i));
  for (const name of ['config.json', 'model.safetensors'])
    cpSync(`${GOLDEN}/checkpoints/${model}/${name}`, join(own, name));
  for (const [name, content] of Object.entries(filled(files) as Record<string, unknown>)) {
    const path = join(own, name);
    const json =
      name === 'config.json' ? { ...JSON.parse(readFileSync(path, 'utf8')), ...(content as object) } : content;
    writeFileSync(path, typeof json === 'string' ? json : JSON.stringify(json));
  }
  return own;
}

const together = ({ start, end }: { start: Float32Array; end: Float32Array }) =>
  Array.from(start).flatMap((value, i) => [value, end[i]!]);

const asGolden = ({ ids, offsets, typeIds, sequence }: PairEncoding): Pair => ({
  ids,
  offsets: offsets.flat(),
  types: typeIds,
  sequence: sequence.map((one) => one ?? 2),
});

describe('opened or refused as documented', () => {
  test.each(cases.map((one, i) => [one.name, i, one] as const))('%s', async (_, i, one) => {
    const own = folderOf(one, i);
    const opened = () => load(own, { device: 'reference', dtype: 'fp32' });
    if (one.refused !== undefined) {
      const code = /^expected (architectures|is_decoder|model_type)/.test(one.refused) ? 'config' : 'tokenizer';
      await expectError(code, new RegExp(one.refused), opened);
      return;
    }
    const qa = await opened();
    for (const [j, pair] of pairs.entries()) {
      expect(asGolden(qa.tokenizer.encodePair(...pair)), JSON.stringify(pair)).toEqual(one.pairs[j]);
      const decoded = [false, true].map((skipSpecial) => qa.tokenizer.decode(one.pairs[j]!.ids, { skipSpecial }));
      expect(decoded).toEqual(one.decoded.slice(2 * j, 2 * j + 2));
    }
    const { ids, typeIds } = qa.tokenizer.encodePair(...pairs[0]!);
    const logits = await qa.logits({ inputIds: ids, tokenTypeIds: typeIds });
    expect(largestDifference(together(logits), one.logits)).toBeLessThan(1e-4);
    await qa.dispose();
  });
});

describe.each(Object.entries(models))('%s', (name, { ids, types, fp32, int8 }) => {
  const own = `${GOLDEN}/checkpoints/${name}`;
  const input = { inputIds: ids, tokenTypeIds: types };
  test.each(['cpu', 'reference'] as const)(
    '%s: fp32 within 1e-4 of PyTorch, int8 near quantize_dynamic',
    async (device) => {
      const [exact, quantized] = [
        await load(own, { device, dtype: 'fp32' }),
        await load(own, { device, dtype: 'int8', scheme: 'torch' }),
      ];
      expect(largestDifference(together(await exact.logits(input)), fp32)).toBeLessThan(1e-4);
      expect(largestDifference(together(await quantized.logits(input)), int8)).toBeLessThan(0.02);
      const [answer] = await exact.answer({ question: pairs[0]![0], context: pairs[0]![1] });
      expect(pairs[0]![1].slice(answer.start, answer.end)).toBe(answer.text);
      await exact.dispose();
      await quantized.dispose();
    },
  );
  test('converted, with the names of its family', async () => {
    await convert(own, join(folder, name), { precision: 'torch' });
    const [before, after] = [
      await load(own, { device: 'cpu', scheme: 'torch' }),
      await load(join(folder, name), { device: 'cpu' }),
    ];
    expect(splitLogits(Float32Array.from(together(await after.logits(input))))).toEqual(await before.logits(input));
    await before.dispose();
    await after.dispose();
  });
});

test('roberta: padding in a text is refused, because it would have no position of its own', async () => {
  const qa = await load(`${GOLDEN}/checkpoints/roberta`, { device: 'reference', dtype: 'fp32' });
  await expectError('input', /inputIds\[\d+\]: expected no padding token, got 1/, () =>
    qa.answer({ question: 'who?', context: 'Ada <pad> Lovelace' }),
  );
  await qa.dispose();
});

describe('byte-level BPE', () => {
  const golden = goldenJson<{
    tokenizer: Record<string, unknown>;
    hashes: string;
    letters: [number, number][];
    numbers: [number, number][];
    spaces: [number, number][];
  }>('checkpoints/bytes');
  const tokenizer = Tokenizer.fromJson(JSON.stringify(golden.tokenizer));
  test('6,000 strings: ids and offsets equal', () => {
    const { strings } = goldenJson<{ strings: string[] }>('tokenizer');
    const wrong = strings.filter((text, i) => {
      const { ids, offsets } = tokenizer.encode(text);
      const hash = createHash('sha256')
        .update(JSON.stringify([ids, offsets.flat()]))
        .digest('hex')
        .slice(0, 8);
      return hash !== golden.hashes.slice(8 * i, 8 * i + 8);
    });
    expect(wrong.slice(0, 5)).toEqual([]);
    expect(golden.hashes.length).toBe(8 * strings.length);
  });
  test('the time grows with the length of a text, and of a word', async () => {
    const time = (text: string) => cpuMilliseconds(() => tokenizer.encode(text));
    for (const unit of ['a', ' the machine, 1843', ' ', '\u{1f4a9}']) {
      await time(unit.repeat(5_000));
      const [short, long] = [await time(unit.repeat(5_000)), await time(unit.repeat(50_000))];
      expect(long, JSON.stringify(unit)).toBeLessThan(30 * (short + 5)); // a square would be 100 times
    }
  });
  test('every code point is a letter, a number, a space or none of them, as in the reference', () => {
    const kinds = new Uint8Array(0x110000);
    for (const [kind, ranges] of [golden.letters, golden.numbers, golden.spaces].entries()) {
      for (const [first, last] of ranges) kinds.fill(kind + 1, first, last + 1);
    }
    const alone = (text: string) => text.match(WORDS)!.length === 1;
    const wrong: string[] = [];
    for (let c = 0; c < 0x110000; c++) {
      if (c >= 0xd800 && c < 0xe000) continue;
      const char = String.fromCodePoint(c);
      const got = alone(`a${char}`) ? 1 : alone(`1${char}`) ? 2 : alone(`!${char}`) ? 0 : 3;
      if (got !== kinds[c]) wrong.push(`${c.toString(16)}: ${got}, not ${kinds[c]}`);
    }
    expect(wrong.slice(0, 5)).toEqual([]);
  });
});
