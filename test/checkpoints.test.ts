// @unit
/** Checkpoints in the forms that people's repositories have: ids, offsets, types and logits of transformers, or refused. */
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { convert } from '../programs/convert.ts';
import { readSafetensors } from '../src/checkpoint/safetensors.ts';
import { writeSafetensors } from '../src/checkpoint/write.ts';
import { type LoadOptions, load, type PairEncoding, Tokenizer } from '../src/index.ts';
import { quantizeWeight } from '../src/quantize.ts';
import type { HostTensor } from '../src/runtime.ts';
import { WORDS } from '../src/text/bpe.ts';
import { cpuMilliseconds } from './cpuTime.ts';
import { expectError, float32, GOLDEN, goldenJson, largestDifference, splitLogits } from './support.ts';

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
  /** Its own pairs, instead of those that all have. */
  own?: [string, string][];
  pairs: Pair[];
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
    const texts = one.own ?? pairs;
    for (const [j, pair] of texts.entries()) {
      expect(asGolden(qa.tokenizer.encodePair(...pair)), JSON.stringify(pair)).toEqual(one.pairs[j]);
    }
    const { ids, typeIds } = qa.tokenizer.encodePair(...texts[0]!);
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

interface Outcome {
  logits?: number[];
  missing?: number;
  error?: string;
}
interface Configs {
  ids: Record<string, number[]>;
  configs: ({ model: string; change: Record<string, unknown> } & Outcome)[];
  files: (({ names: string } & Outcome) | { metadata: string; accepted: boolean })[];
  floatHead: number[];
}
const configs = goldenJson<Configs>('configs');

/** A copy of a golden checkpoint with a changed config.json. */
function changed(model: string, change: object): string {
  const own = mkdtempSync(join(folder, 'changed-'));
  cpSync(`${GOLDEN}/checkpoints/${model}`, own, { recursive: true });
  const path = join(own, 'config.json');
  writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...change }));
  return own;
}
async function logitsOf(path: string, ids: number[], options: LoadOptions = {}): Promise<number[]> {
  const qa = await load(path, { device: 'reference', dtype: 'fp32', ...options });
  const logits = await qa.logits({ inputIds: ids, tokenTypeIds: ids.map(() => 0) });
  await qa.dispose();
  return together(logits);
}

describe('config.json: transformers computes the same, or it is refused by name', () => {
  /** What transformers computes and bertlet refuses: another GELU, fewer layers than the file has, causal attention, ... */
  const refused: [model: string, change: object, message: RegExp][] = [
    ['bert', { hidden_act: 'gelu_new' }, /expected hidden_act to be gelu, gelu_python, got "gelu_new"/],
    ['bert', { hidden_act: 'gelu_fast' }, /expected hidden_act/],
    ['bert', { hidden_act: 'relu' }, /expected hidden_act/],
    ['bert', { hidden_act: 'gelu_10' }, /expected hidden_act/],
    ['bert', { num_hidden_layers: 1 }, /unexpected bert\.encoder\.layer\.1\./],
    ['bert', { is_decoder: true }, /expected is_decoder to be false/],
    ['distilbert', { activation: 'relu' }, /expected activation to be gelu, gelu_python, got "relu"/],
    ['distilbert', { num_attention_heads: 4 }, /expected num_attention_heads to be equal to n_heads, 2, got 4\. /],
    ['distilbert', { num_hidden_layers: 1 }, /expected num_hidden_layers to be equal to n_layers, 2, got 1\. /],
    [
      'roberta',
      { pad_token_id: 0 },
      /expected pad_token_id in config\.json to be that of no other special token, got 0/,
    ],
    ['roberta', { pad_token_id: 2 }, /expected pad_token_id in config\.json to be .*, got 2\. /],
  ];
  test.each(configs.configs.map((one) => [one.model, JSON.stringify(one.change), one] as const))(
    '%s, %s',
    async (model, change, { change: given, logits }) => {
      const [, , message = logits ? null : /expected|missing/] =
        refused.find(([family, each]) => family === model && JSON.stringify(each) === change) ?? [];
      const path = changed(model, given);
      const computed = () => logitsOf(path, configs.ids[model]!);
      if ('num_labels' in given) return expect((await computed()).length).toBe(16); // the tensors say two labels
      if (!message) return expect(largestDifference(await computed(), logits!)).toBeLessThan(1e-5);
      await expect(computed()).rejects.toMatchObject({
        name: 'BertletError',
        code: expect.stringMatching(/config|file|weights/),
        message: expect.stringMatching(message),
      });
    },
  );
  test("quantized by another library: said before the weights are looked for, by the library's name", async () => {
    for (const quantization_config of [
      { quant_method: 'bitsandbytes', load_in_8bit: true },
      { quant_method: 'compressed-tensors', format: 'pack-quantized' },
      ...[{ num_bits: 4 }, { num_bits: 8, type: 'float' }].map((input_activations) => ({
        quant_method: 'compressed-tensors',
        config_groups: { group_0: { input_activations } },
      })),
    ]) {
      const path = changed('bert', { quantization_config });
      rmSync(join(path, 'model.safetensors'));
      const message =
        /expected weights in float, or int8 .*, got quantization_config with ("bitsandbytes"|"pack-quantized"|4|"float")\. /;
      await expectError('config', message, () => load(path));
    }
  });
});

describe('files of weights', () => {
  const tensors = () => readSafetensors(readFileSync(`${GOLDEN}/checkpoints/bert/model.safetensors`));
  const written = (change: (name: string, tensor: HostTensor) => [string, HostTensor][], config: object = {}) => {
    const path = changed('bert', config);
    const all = [...tensors()].flatMap(([name, tensor]) => change(name, tensor));
    writeFileSync(join(path, 'model.safetensors'), writeSafetensors(all, { format: 'pt' }));
    return path;
  };
  const ids = configs.ids.bert!;
  const RENAMES: Record<string, (name: string) => string> = {
    'module.': (name) => `module.${name}`,
    '_orig_mod.': (name) => `_orig_mod.${name}`,
    'base_model.model.': (name) => `base_model.model.${name}`,
    'no prefix': (name) => name.replace(/^bert\./, ''),
    'gamma and beta': (name) => name.replace('Norm.weight', 'Norm.gamma').replace('Norm.bias', 'Norm.beta'),
  };
  const MESSAGES: Record<string, RegExp> = {
    'module.': /changed-\w+: expected a model's weights, got names that begin with `module\.`/,
    '_orig_mod.': /changed-\w+: expected a model's weights, got names that begin with `_orig_mod\.`/,
    'base_model.model.':
      /tensors that differ, 39: missing bert\..* The file has base_model\.model\.bert\.\S+, (base\S+, ){4}and 34 more\. /,
  };
  test.each(configs.files.flatMap((one) => ('names' in one ? [[one.names, one] as const] : [])))(
    'names: %s',
    async (names, { logits }) => {
      const path = written((name, tensor) => [[RENAMES[names]!(name), tensor]]);
      if (logits) expect(largestDifference(await logitsOf(path, ids), logits)).toBeLessThan(1e-5);
      else await expectError('weights', MESSAGES[names]!, () => load(path));
    },
  );
  test.each([
    ['a LoRA adapter', '.lora_A.weight', /got an adapter\. Merge it into its model first: `merge_and_unload\(\)`/],
    ['bitsandbytes, 4 bits', '.weight.absmax', /got weights quantized by bitsandbytes\. Use the/],
    ['bitsandbytes, 8 bits', '.SCB', /got weights quantized by bitsandbytes\. Use the/],
    ['pack-quantized', '.weight_packed', /got weights packed by compressed-tensors \(pack-quantized\)\. Use the/],
    ['GPTQ', '.qweight', /got weights quantized by GPTQ or AWQ\. Use the/],
  ])('%s: the cause, not a list of what is missing', (_, suffix, message) =>
    expectError('weights', message, () =>
      load(
        written((name, tensor) => {
          const linear = /^(.*(query|key|value|dense))\.weight$/.exec(name)?.[1];
          return [[linear ? `${linear}${suffix}` : name, tensor]];
        }),
      ),
    ),
  );
  const compressed = (ignore: string[]) => ({
    quantization_config: { quant_method: 'compressed-tensors', format: 'int-quantized', ignore },
  });
  const int8 = (name: string, tensor: HostTensor, names = /dense|query|key|value/): [string, HostTensor][] => {
    if (!/weight$/.test(name) || !names.test(name) || /embeddings|Norm/.test(name)) return [[name, tensor]];
    const { data, scale, shape } = quantizeWeight(float32(tensor), 'torch');
    return [
      [name, { dtype: 'I8', shape, data }],
      [`${name}_scale`, { dtype: 'F32', shape: [1], data: scale.subarray(0, 1) }],
    ];
  };
  test('a float head beside int8 linears opens where config.json says so, and is converted as it is', async () => {
    const path = written((...one) => int8(...one), compressed(['qa_outputs']));
    const got = await logitsOf(path, ids, { dtype: 'int8' });
    expect(largestDifference(got, configs.floatHead)).toBeLessThan(1e-3);
    const whole = await logitsOf(changed('bert', {}), ids, { dtype: 'int8', scheme: 'torch' });
    expect(largestDifference(got, whole)).toBeGreaterThan(3e-3); // the head alone
    const out = join(folder, 'float-head');
    await convert(path, out, { precision: 'int8' });
    expect(readFileSync(join(out, 'model.safetensors'))).toEqual(readFileSync(join(path, 'model.safetensors')));
    expect(await logitsOf(out, ids, { dtype: 'int8' })).toEqual(got);
    await expectError('weights', /linears of different dtypes or schemes/, () =>
      load(written((...one) => int8(...one), compressed([]))),
    );
    const named = written((name, tensor) => int8(name, tensor, /./), compressed(['qa_outputs']));
    await expectError('weights', /qa_outputs\.weight: expected F32, F16 or BF16, got I8/, () => load(named));
  });
});

test('roberta: padding in a text is refused, because it would have no position of its own', async () => {
  const qa = await load(`${GOLDEN}/checkpoints/roberta`, { device: 'reference', dtype: 'fp32' });
  await expectError('input', /^context: token 2: expected no padding token, got 1/, () =>
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
