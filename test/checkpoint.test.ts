/** pytorch_model.bin, and checkpoints written in other precisions. */
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { deflateRawSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkpointBytes } from '../bench/layout.ts';
import { type ConvertOptions, convert } from '../programs/convert.ts';
import { readWeights } from '../src/bert.ts';
import { parseConfig, WORD_EMBEDDINGS } from '../src/checkpoint/config.ts';
import { openCheckpoint, weightsOf } from '../src/checkpoint/index.ts';
import { pytorchTensorsIn } from '../src/checkpoint/pytorch.ts';
import { readSafetensors, readTensor, toFloat16, toFloat32 } from '../src/checkpoint/safetensors.ts';
import { writeSafetensors } from '../src/checkpoint/write.ts';
import { blobs, load } from '../src/index.ts';
import { quantizeWeight } from '../src/quantize.ts';
import { cpuMilliseconds } from './cpuTime.ts';
import { CHECKPOINT, expectError, float32, GOLDEN, ROOT, runProgram, spawnProgram, TINY } from './support.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'bertlet-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const source = (bytes: Uint8Array) => ({
  name: 'file.bin',
  size: bytes.length,
  read: (begin: number, target: Uint8Array) => target.set(bytes.subarray(begin, begin + target.length)),
  close: () => {},
});
const bin = (name: string) => new Uint8Array(readFileSync(join(GOLDEN, 'pytorch', `${name}.bin`)));
const tensors = (bytes: Uint8Array) =>
  new Map([...pytorchTensorsIn(source(bytes))].map(([name, stored]) => [name, readTensor(stored, name)]));

describe('pytorch_model.bin', () => {
  test('the tensors of a state_dict are those of the safetensors file', () => {
    const got = tensors(bin('tiny'));
    const want = readSafetensors(readFileSync(join(TINY, 'model.safetensors')));
    expect([...got.keys()].toSorted()).toEqual([...want.keys()].toSorted());
    for (const [name, tensor] of want) expect(got.get(name), name).toEqual(tensor);
  });
  test('a parameter, halves, integers, a scalar, tensors of one storage', () => {
    const a = Float32Array.of(0, 1, 2, 3, 4, 5);
    expect(float32(tensors(bin('parameter')).get('a'))).toEqual({ dtype: 'F32', shape: [2, 3], data: a });
    const half = tensors(bin('half'));
    expect([...half].map(([name, { dtype, shape }]) => [name, dtype, shape])).toEqual([
      ['a', 'F16', [2, 3]],
      ['b', 'BF16', [2, 3]],
      ['c', 'I64', [3]],
      ['d', 'F32', []],
    ]);
    expect(toFloat32(half.get('a')!)).toEqual(a);
    expect(toFloat32(half.get('b')!)).toEqual(a);
    const shared = tensors(bin('shared'));
    expect(shared.get('a')!.data).toEqual(a);
    expect(shared.get('tied')!.data).toEqual(a);
    expect(shared.get('b')!.data).toEqual(a.map((value) => value + 6));
  });
  test.each([
    ['evil', /expected a pickle that describes tensors alone, got one that asks for posix system\. /],
    ['module', /got one that asks for torch\.nn\.modules\.linear Linear/],
    ['expanded', /tensor "a": expected 4000000 bytes of storage, got fewer/],
    ['list', /got one that has the opcode 0x61|expected a dictionary of tensors/],
    ['old', /expected a zip archive, got another file.*python -c "import torch/],
  ])('%s: refused, with what it is', (name, message) => expectError('weights', message, () => tensors(bin(name))));
  test('views: transposed, columns, every third, permuted, empty', () => {
    const views = tensors(bin('views'));
    const want: [string, number[], number[]][] = [
      ['transposed', [3, 2], [0, 3, 1, 4, 2, 5]],
      ['columns', [3, 2], [1, 2, 5, 6, 9, 10]],
      ['every', [4], [1, 4, 7, 10]],
      ['permuted', [2, 2, 3], [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]],
      ['empty', [4, 0], []],
    ];
    for (const [name, shape, data] of want) {
      expect(views.get(name), name).toEqual({ dtype: 'F32', shape, data: Float32Array.from(data) });
    }
  });
  test('doubles are rounded; protocol 4; a dtype without numbers here is passed over until it is read', () => {
    const { double, bool } = Object.fromEntries(pytorchTensorsIn(source(bin('dtypes'))));
    expect(readTensor(double!, 'double')).toEqual({ dtype: 'F32', shape: [2], data: Float32Array.of(0, 1 / 3) });
    const norm = tensors(bin('protocol4'));
    expect([...norm.keys()]).toEqual(['weight', 'bias']);
    expect(norm.get('weight')!.data).toEqual(new Float32Array(6).fill(1));
    return expectError('weights', /tensor "bool": expected dtype F32, .*, got BOOL/, () => readTensor(bool!, 'bool'));
  });

  /** An archive with these files, stored as they are. */
  const zip = (files: [name: string, content: string | Uint8Array][], flags = 0) => {
    const [locals, centrals]: [Buffer[], Buffer[]] = [[], []];
    let at = 0;
    for (const [name, content] of files) {
      const [path, bytes] = [Buffer.from(name), Buffer.from(content as string)];
      const local = Buffer.alloc(30);
      local.writeUInt32LE(0x04034b50, 0);
      local.writeUInt16LE(path.length, 26);
      const central = Buffer.alloc(46);
      central.writeUInt32LE(0x02014b50, 0);
      central.writeUInt16LE(flags, 8);
      central.writeUInt32LE(bytes.length, 20);
      central.writeUInt32LE(bytes.length, 24);
      central.writeUInt16LE(path.length, 28);
      central.writeUInt32LE(at, 42);
      locals.push(local, path, bytes);
      centrals.push(central, path);
      at += 30 + path.length + bytes.length;
    }
    const directory = Buffer.concat(centrals);
    const end = Buffer.alloc(22);
    end.writeUInt32LE(0x06054b50, 0);
    end.writeUInt16LE(files.length, 10);
    end.writeUInt32LE(directory.length, 12);
    end.writeUInt32LE(at, 16);
    return new Uint8Array(Buffer.concat([...locals, directory, end]));
  };
  const pickled = (...parts: (string | number[])[]) =>
    Buffer.concat(parts.map((part) => Buffer.from(part as string, 'latin1')));
  const empty = pickled([0x80, 2], '}.');
  /** A tuple that 60 opcodes double: 2^60 elements if it is walked. */
  const doubled = pickled(
    [0x80, 2],
    '}',
    ')',
    ...Array.from({ length: 60 }, (_, i) => ['q', [i], 'h', [i], [0x86]]).flat(),
    'Ns.',
  );
  test.each<[string, Uint8Array, RegExp]>([
    [
      'two pickles',
      zip([
        ['a/data.pkl', empty],
        ['b/data.pkl', empty],
      ]),
      /expected an archive with a data\.pkl, got 2/,
    ],
    [
      'two of one name',
      zip([
        ['data.pkl', empty],
        ['data.pkl', empty],
      ]),
      /expected one file of this name, got two/,
    ],
    [
      'big-endian numbers',
      zip([
        ['a/data.pkl', empty],
        ['a/byteorder', 'big'],
      ]),
      /little-endian numbers, got byteorder "big"/,
    ],
    ['an encrypted archive', zip([['a/data.pkl', empty]], 1), /stored as it is, got an encrypted one/],
    ['a key that doubles 60 times', zip([['data.pkl', doubled]]), /expected tensors by name, got an array of 2: null/],
    [
      'a key of 3 MB',
      zip([['data.pkl', pickled('}X', [0, 0, 48, 0], '\x1b'.repeat(48 << 16), 'Ns.')]]),
      /got "(\\u001b){60}\.\.\.": null/,
    ],
    ['1,000,001 opcodes', zip([['data.pkl', pickled('N'.repeat(1_000_002))]]), /at most 1000000 opcodes, got more/],
    ['more than 4 MB', zip([['data.pkl', new Uint8Array(5e6)]]), /"data\.pkl" of at most 4194304 bytes, got 5000000/],
    [
      'a slot that it never wrote',
      zip([['data.pkl', pickled('h', [7], '.')]]),
      /reads memo slot 7, which it never wrote/,
    ],
    ['a name that is a number', zip([['data.pkl', pickled('NN', [0x93], '.')]]), /got one that asks for \. /],
  ])('%s: refused at once, in a few words', async (_, bytes, message) => {
    const refuse = async () => expectError('weights', message, () => tensors(bytes));
    expect(await cpuMilliseconds(refuse)).toBeLessThan(2000); // 60 on the developer's machine
    await expectError('weights', /^[ -~]{1,800}$/, () => tensors(bytes));
  });
  test('a tensor of 100,000 dimensions: its shape is not walked', async () => {
    const word = (text: string) => ['X', [text.length, 0, 0, 0], text];
    const shape = ['(', 'K\x01'.repeat(1e5), 'tq', [0]];
    const storage = ['(', ...word('storage'), 'ctorch\nFloatStorage\n', ...word('0'), ...word('cpu'), 'K', [1], 'tQ'];
    const call = ['ctorch._utils\n_rebuild_tensor_v2\n', '(', ...storage, 'K', [0], 'h', [0], 'h', [0], 'tR'];
    const bytes = zip([['data.pkl', pickled(...shape, ...call, '.')]]);
    const refuse = async () =>
      expectError('weights', /rebuild_tensor_v2 in a way that makes no tensor/, () => tensors(bytes));
    expect(await cpuMilliseconds(refuse)).toBeLessThan(500);
  });
  test('an archive of more than 4 GB, which needs zip64', () =>
    expectError('weights', /file\.bin: expected at most 4294967295 bytes, got 4294967296\. /, () =>
      pytorchTensorsIn({ ...source(bin('tiny')), size: 2 ** 32 }),
    ));
  test('a compressed archive, a bomb for one, is refused before it is unpacked', () => {
    const bytes = Buffer.from(bin('parameter'));
    const at = bytes.indexOf(Buffer.from([0x50, 0x4b, 1, 2]));
    bytes.writeUInt16LE(8, at + 10); // deflated
    expect(deflateRawSync(Buffer.alloc(1e6)).length).toBeLessThan(2000); // what it could be
    return expectError('weights', /expected a file stored as it is, got compression method 8/, () => tensors(bytes));
  });
  test('every cut and 3,000 damaged bytes: an error of ours, or the tensors', () => {
    const whole = bin('shared');
    let refused = 0;
    const attempt = (bytes: Uint8Array) => {
      try {
        tensors(bytes);
      } catch (error) {
        expect((error as { code?: string }).code, String(error)).toBe('weights');
        refused++;
      }
    };
    for (let length = 0; length < whole.length; length++) attempt(whole.subarray(0, length));
    expect(refused).toBe(whole.length);
    let state = 1;
    for (let i = 0; i < 3000; i++) {
      const bytes = whole.slice();
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      bytes[state % bytes.length] = state >>> 24;
      attempt(bytes);
    }
  });
  test('a checkpoint of it answers with the logits of the safetensors one', async () => {
    const copy = join(folder, 'bin');
    cpSync(TINY, copy, { recursive: true });
    rmSync(join(copy, 'model.safetensors'));
    cpSync(join(GOLDEN, 'pytorch', 'tiny.bin'), join(copy, 'pytorch_model.bin'));
    const input = { inputIds: [2, 5, 6, 3], tokenTypeIds: [0, 0, 1, 1] };
    const logits = await Promise.all(
      [TINY, copy].map(async (path) => {
        const qa = await load(path, { dtype: 'fp32', device: 'reference' });
        return qa.logits(input);
      }),
    );
    expect(logits[1]).toEqual(logits[0]);
  });
  describe('in several files', () => {
    const sharded = (name: string, map: unknown, files: Record<string, string>) => {
      const copy = join(folder, name);
      cpSync(TINY, copy, { recursive: true });
      rmSync(join(copy, 'model.safetensors'));
      for (const [file, from] of Object.entries(files)) cpSync(join(GOLDEN, from), join(copy, file));
      writeFileSync(join(copy, 'pytorch_model.bin.index.json'), JSON.stringify({ weight_map: map }));
      return copy;
    };
    const all = (file: string) => Object.fromEntries([...tensors(bin('tiny')).keys()].map((name) => [name, file]));
    const [one, two] = ['pytorch_model-00001-of-00002.bin', 'pytorch_model-00002-of-00002.bin'];
    const files = { [one]: 'pytorch/tiny.bin', [two]: 'pytorch/parameter.bin' };
    test('the tensors of all of them', async () => {
      const { tensor, close } = await openCheckpoint(sharded('shards', { ...all(one), a: two }, files));
      const want = readSafetensors(readFileSync(join(TINY, 'model.safetensors'))).get('qa_outputs.weight');
      expect(tensor('qa_outputs.weight')).toEqual(want);
      close();
    });
    test.each<[string, unknown, Record<string, string>, 'file' | 'weights', RegExp]>([
      [
        'a file that is not there',
        { ...all(one), a: two },
        { [one]: 'pytorch/tiny.bin' },
        'file',
        /: expected pytorch_model-00002-of-00002\.bin, got none\./,
      ],
      [
        'a tensor that is in none',
        { ...all(two), a: two },
        files,
        'weights',
        /a-tensor-that-is-in-none: tensors that differ, 39: missing bert\..* The file has a\. /,
      ],
      [
        'a tensor that is in two',
        { a: two, b: 'b.bin' },
        { ...files, 'b.bin': 'pytorch/parameter.bin' },
        'weights',
        /expected tensor "a" in one file, got it in pytorch_model-00002-of-00002\.bin as well/,
      ],
      [
        'a file outside',
        { a: '../../etc/passwd.bin' },
        files,
        'weights',
        /names of weight files beside it, got "\.\.\/\.\./,
      ],
      ['a number', { a: 3 }, files, 'weights', /names of weight files beside it, got 3/],
      ['no file', {}, files, 'weights', /no-file: tensors that differ, 39: missing bert\./],
      ['no map', 'x', files, 'weights', /names of weight files beside it, got "x"/],
      ['a map that is null', null, files, 'weights', /tensors that differ, 39: missing bert\./],
    ])('%s', (name, map, given, code, message) =>
      expectError(code, message, () => openCheckpoint(sharded(name.replaceAll(' ', '-'), map, given))),
    );
  });
  test('neither file: an error that names all that was looked for', () => {
    const copy = join(folder, 'none');
    cpSync(TINY, copy, { recursive: true });
    rmSync(join(copy, 'model.safetensors'));
    return expectError(
      'file',
      /none: expected model\.safetensors or model\.safetensors\.index\.json or pytorch_model\.bin or pytorch_model\.bin\.index\.json, got none\./,
      () => load(copy),
    );
  });
});

describe('float16', () => {
  test('every float16 number, half a step between neighbours, and a bit beside: rounded as the engine does', () => {
    const bits: number[] = [];
    for (let half = 0; half < 0x7bff; half++) {
      const [low, high] = [half, half + 1].map(
        (h) => toFloat32({ dtype: 'F16', shape: [1], data: Uint16Array.of(h) })[0]!,
      );
      const middle = new Uint32Array(Float32Array.of((low! + high!) / 2).buffer)[0]!;
      bits.push(new Uint32Array(Float32Array.of(low!).buffer)[0]!, middle - 1, middle, middle + 1);
    }
    const positive = new Float32Array(Uint32Array.from(bits).buffer);
    for (const data of [positive, positive.map((value) => -value)]) {
      const { Float16Array } = globalThis as unknown as { Float16Array: typeof Float32Array };
      const want = new Uint16Array(Float16Array.from(data).buffer);
      expect(toFloat16({ dtype: 'F32', shape: [data.length], data }).data).toEqual(want);
    }
  });
  test('beyond its range: refused', () =>
    expectError('weights', /w: expected values float16 has, got 65520/, () =>
      toFloat16({ dtype: 'F32', shape: [1], data: Float32Array.of(65520) }, 'w'),
    ));
});

describe('names', () => {
  const variant = async (name: string, change: (tensors: ReturnType<typeof readSafetensors>) => void) => {
    const copy = join(folder, name);
    cpSync(TINY, copy, { recursive: true });
    const all = new Map(readSafetensors(readFileSync(join(TINY, 'model.safetensors'))));
    change(all);
    writeFileSync(join(copy, 'model.safetensors'), writeSafetensors(all));
    return load(copy, { device: 'reference' });
  };
  test("TensorFlow's gamma and beta; a pooler, position_ids and heads of pretraining are passed over", async () => {
    await variant('names', (all) => {
      for (const [name, tensor] of [...all]) {
        if (!name.includes('LayerNorm')) continue;
        all.delete(name);
        all.set(name.replace(/weight$/, 'gamma').replace(/bias$/, 'beta'), tensor);
      }
      const extra = { dtype: 'F32', shape: [1], data: new Float32Array(1) } as const;
      for (const name of ['bert.pooler.dense.bias', 'bert.embeddings.position_ids', 'cls.seq_relationship.bias']) {
        all.set(name, extra);
      }
    });
  });
  test('int8 without its scales, with those of another shape, and a mixture are refused', async () => {
    const name = 'qa_outputs.weight';
    const int8 = { dtype: 'I8', shape: [2, 32], data: new Int8Array(64) } as const;
    const scale = (...shape: number[]) => ({ dtype: 'F32', shape, data: new Float32Array(shape[0]!).fill(1) }) as const;
    const refused = (key: string, message: RegExp, change: Parameters<typeof variant>[1]) =>
      expectError('weights', message, () => variant(key, change));
    await refused('int8a', /missing qa_outputs\.weight_scale/, (all) => all.set(name, int8));
    await refused('int8b', /qa_outputs\.weight_scale: expected \[1\] or \[2,1\], got \[3\]/, (all) =>
      all.set(name, int8).set(`${name}_scale`, scale(3)),
    );
    await refused('int8c', /linears of different dtypes or schemes/, (all) =>
      all.set(name, int8).set(`${name}_scale`, scale(1)),
    );
  });
});

describe('convert', () => {
  let count = 0;
  const converted = async (from: string, options: ConvertOptions) => {
    const out = join(folder, `converted-${count++}`);
    return { out, manifest: await convert(from, out, options) };
  };
  const input = { inputIds: [101, 2040, 2234, 1029, 102, 11099, 2234, 102], tokenTypeIds: [0, 0, 0, 0, 0, 1, 1, 1] };
  const logits = async (path: string, options: object) => {
    const qa = await load(path, { threads: 1, ...options });
    const result = await qa.logits(input);
    const { info } = qa;
    await qa.dispose();
    return { result, info };
  };

  test.each(['torch', 'accurate'] as const)('%s: the file loads as what quantizing at load gives', async (scheme) => {
    const { out } = await converted(CHECKPOINT, { precision: scheme });
    const [direct, file] = [await logits(CHECKPOINT, { scheme }), await logits(out, {})];
    expect(file.result).toEqual(direct.result);
    expect(file.info).toMatchObject({ dtype: 'int8', scheme });
    expect(file.info.weightBytes).toBe(direct.info.weightBytes);
    const other = scheme === 'torch' ? 'accurate' : 'torch';
    await expectError('input', new RegExp(`scheme: expected ${scheme}, the checkpoint's, got ${other}`), () =>
      load(out, { scheme: other }),
    );
    await expectError('input', /dtype: expected int8, the checkpoint's, got fp32/, () => load(out, { dtype: 'fp32' }));
  });
  test('fp32 and fp16: float16 numbers are kept, others rounded', async () => {
    const [wide, half] = [await converted(TINY, { precision: 'fp32' }), await converted(TINY, { precision: 'fp16' })];
    const want = readSafetensors(readFileSync(join(TINY, 'model.safetensors')));
    const file = (out: string) => readSafetensors(readFileSync(join(out, 'model.safetensors')));
    for (const [name, tensor] of want) {
      expect(file(wide.out).get(name)).toEqual(tensor);
      expect(file(half.out).get(name)).toEqual(toFloat16(float32(tensor)));
    }
    const config = (out: string) => JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'));
    expect([config(wide.out).dtype, config(half.out).dtype]).toEqual(['float32', 'float16']);
    // Int8 keeps the embeddings of either.
    for (const { out } of [wide, half]) {
      const int8 = file((await converted(out, { precision: 'int8' })).out);
      const tables = [...int8.keys()].filter((name) => name.endsWith('_embeddings.weight'));
      expect(tables.length).toBe(3);
      for (const name of tables) expect(int8.get(name)).toEqual(file(out).get(name));
      expect(int8.get('bert.embeddings.LayerNorm.weight')?.dtype).toBe('F32');
    }
  });
  test("compressed-tensors' names and config; sizes as layout.ts says", async () => {
    const { out } = await converted(TINY, { precision: 'accurate', int8Embeddings: true });
    const bytes = readFileSync(join(out, 'model.safetensors'));
    const all = readSafetensors(bytes);
    const source = readSafetensors(readFileSync(join(TINY, 'model.safetensors')));
    for (const name of ['bert.embeddings.word_embeddings.weight', 'bert.encoder.layer.1.output.dense.weight']) {
      const want = quantizeWeight(float32(source.get(name)), 'accurate');
      expect(all.get(name)).toMatchObject({ dtype: 'I8', data: want.data });
      expect(all.get(`${name}_scale`)).toMatchObject({ dtype: 'F32', shape: [want.shape[0], 1], data: want.scale });
    }
    const config = JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'));
    expect(config.quantization_config).toMatchObject({
      quant_method: 'compressed-tensors',
      format: 'int-quantized',
      config_groups: { group_0: { weights: { strategy: 'channel' }, input_activations: { strategy: 'token' } } },
    });
    expect(bytes.length).toBeGreaterThan(checkpointBytes(parseConfig(config), 'accurate', 'I8')); // and its metadata
    const checkpoint = await openCheckpoint(out);
    const { data } = readWeights(weightsOf(checkpoint, 'accurate'), [WORD_EMBEDDINGS]);
    checkpoint.close();
    const { data: q, scale } = quantizeWeight(float32(source.get(WORD_EMBEDDINGS)), 'accurate');
    expect(data).toEqual(Float32Array.from(q, (value, i) => value * scale[Math.floor(i / 32)]!));
    await load(out, { device: 'reference' });
  });
  test('the same bytes each time; a manifest of all files', async () => {
    const options = { precision: 'torch' } as const;
    const [one, two] = [await converted(TINY, options), await converted(TINY, options)];
    expect(one.manifest).toEqual(two.manifest);
    expect(Object.keys(one.manifest.files)).toEqual([
      'config.json',
      'model.safetensors',
      'tokenizer_config.json',
      'vocab.txt',
    ]);
    expect(JSON.parse(readFileSync(join(one.out, 'manifest.json'), 'utf8'))).toEqual(one.manifest);
  });
  test('all that a tokenizer may need is kept', async () => {
    const full = join(folder, 'full');
    cpSync(TINY, full, { recursive: true });
    const names = ['added_tokens.json', 'merges.txt', 'special_tokens_map.json', 'vocab.json'];
    for (const name of names) writeFileSync(join(full, name), '{}');
    const { manifest, out } = await converted(full, { precision: 'fp32' });
    expect(Object.keys(manifest.files)).toEqual(
      expect.arrayContaining([...names, 'tokenizer_config.json', 'vocab.txt']),
    );
    for (const name of names) expect(readFileSync(join(out, name), 'utf8')).toBe('{}');
  });
  test.each([
    ['torch', false],
    ['torch', true],
    ['accurate', true],
  ] as const)('%s, int8 embeddings %s: converted again, nothing changes', async (precision, int8Embeddings) => {
    const first = await converted(TINY, { precision, int8Embeddings });
    const second = await converted(first.out, { precision: 'int8' });
    expect(second.manifest).toMatchObject({ precision, files: first.manifest.files });
    expect(second.manifest.embeddings).toBe(int8Embeddings ? 'int8' : 'float');
    const config = (out: string) => JSON.parse(readFileSync(join(out, 'config.json'), 'utf8')).bertlet_note as string;
    if (!int8Embeddings) return expect(config(first.out)).toBe(undefined);
    expect(config(first.out)).toMatch(/word_embeddings is int8 .* which bertlet reads and transformers does not/);
    const float = await converted(first.out, { precision, int8Embeddings: false });
    expect(config(float.out)).toBe(undefined);
  });
  test('what cannot be: an int8 file in another precision, a folder that exists', async () => {
    const { out } = await converted(TINY, { precision: 'torch' });
    await expectError('input', /precision: expected torch, the checkpoint's, got fp32/, () =>
      converted(out, { precision: 'fp32' }),
    );
    await expectError('file', /expected no such folder yet/, () => convert(TINY, out, { precision: 'fp32' }));
    await expectError('input', /^int8Embeddings: expected none with precision fp16, got true\. /, () =>
      converted(TINY, { precision: 'fp16', int8Embeddings: true }),
    );
    expect(readdirSync(folder).filter((name) => name.includes('partial'))).toEqual([]);
  });
  test('the program: sizes as the article printed them, exit codes', async () => {
    const out = join(folder, 'program');
    const run = (...args: string[]) => runProgram(['convert', ...args]);
    const { status, out: printed, error } = await run(CHECKPOINT, '--scheme', 'torch', '--out', out);
    expect([status, error]).toEqual([0, '']);
    expect(printed).toMatch(/^FP32 Model Size: 86\.09 MB\nINT8 Model Size: 32\.99 MB, embeddings in float16\n/);
    expect(spawnProgram(['convert', CHECKPOINT, '--out', out])).toMatchObject({
      ...{ status: 1, out: '' },
      error: expect.stringMatching(/^BertletError \(file\): /),
    });
    expect((await run(CHECKPOINT)).status).toBe(2);
    const json = await run(TINY, '--out', join(folder, 'json'), '--json');
    const manifest = JSON.parse(readFileSync(join(folder, 'json', 'manifest.json'), 'utf8'));
    expect(manifest.precision).toBe('accurate'); // as `load`
    expect(JSON.parse(json.out)).toEqual(manifest);
  });
  const partial = (name: string) => readdirSync(folder).filter((other) => other.startsWith(`${name}.`));
  /** Sends a signal to a conversion that has begun; returns what ended it. */
  const interrupted = async (name: string, signal: NodeJS.Signals) => {
    const out = join(folder, name);
    const args = ['programs/main.ts', 'convert', CHECKPOINT, '--out', out, '--scheme', 'accurate'];
    for (;;) {
      const child = spawn(process.execPath, args, { cwd: ROOT, stdio: 'ignore' });
      const gone = new Promise((resolve) => child.once('exit', (code, by) => resolve(by ?? code)));
      while (partial(name).length === 0 && child.exitCode === null) await sleep(2);
      const begun = child.exitCode === null;
      child.kill(signal);
      const end = await gone;
      if (begun && !existsSync(out)) return end;
      rmSync(out, { recursive: true, force: true }); // it was done before it heard the signal: once more
    }
  };
  test('killed, it leaves nothing that loads, and nothing in the way of the next', async () => {
    await interrupted('killed', 'SIGKILL');
    const [left] = partial('killed');
    await expectError('file', /expected config\.json/, () => load(join(folder, left!)));
    await convert(TINY, join(folder, 'killed'), { precision: 'fp32' });
    await load(join(folder, 'killed'), { device: 'reference' });
  });
  test.each(['SIGINT', 'SIGTERM'] as const)('%s: it ends at once, and leaves nothing', async (signal) => {
    expect(await interrupted(signal, signal)).toBe(signal);
    expect(partial(signal)).toEqual([]);
  });
  test('an error leaves nothing either', async () => {
    const broken = join(folder, 'broken');
    cpSync(TINY, broken, { recursive: true });
    const all = new Map(readSafetensors(readFileSync(join(TINY, 'model.safetensors'))));
    all.set('qa_outputs.weight', { dtype: 'F32', shape: [2, 32], data: new Float32Array(64).fill(Number.NaN) });
    writeFileSync(join(broken, 'model.safetensors'), writeSafetensors(all));
    const out = join(folder, 'never');
    const listeners = process.listenerCount('exit');
    await expectError('weights', /qa_outputs\.weight: expected finite values/, () =>
      convert(broken, out, { precision: 'fp32' }),
    );
    expect([existsSync(out), ...partial('never')]).toEqual([false]);
    expect(process.listenerCount('exit')).toBe(listeners);
  });
  test('a config.json that is nested too deep to write: said so', async () => {
    const deep = join(folder, 'deep');
    cpSync(TINY, deep, { recursive: true });
    const config = readFileSync(join(TINY, 'config.json'), 'utf8');
    writeFileSync(join(deep, 'config.json'), config.replace('{', `{"x":${'['.repeat(1e5)}${']'.repeat(1e5)},`));
    await load(deep, { device: 'reference' });
    await expectError('config', /deep\/config\.json: expected JSON that can be written again, got /, () =>
      converted(deep, { precision: 'fp32' }),
    );
  });
  test('onto itself: it says so, also by another path', async () => {
    const same = join(folder, 'same');
    cpSync(TINY, same, { recursive: true });
    for (const out of [same, `${same}/../same`, `${same}/`]) {
      const message =
        /^out: expected another folder than the checkpoint to convert, got \S+same\/?\. Name a new one\.$/;
      await expectError('input', message, () => convert(same, out, { precision: 'fp32' }));
    }
    const { status, error } = await runProgram(['convert', same, '--out', same]);
    expect([status, error]).toEqual([
      2,
      expect.stringMatching(/^error: out: expected another folder than the checkpoint/),
    ]);
  });
  test('Files: the same bytes as of their folder', async () => {
    const names = ['config.json', 'model.safetensors', 'tokenizer_config.json', 'vocab.txt'];
    const files = blobs(
      Object.fromEntries(names.map((name) => [name, new Uint8Array(readFileSync(join(TINY, name)))])),
    );
    const [one, two] = [join(folder, 'of-files'), join(folder, 'of-folder')];
    const manifest = await convert(files, one, { precision: 'int8', source: 'x' });
    expect(manifest).toEqual(await convert(TINY, two, { precision: 'int8', source: 'x' }));
  });
});

describe('memory of the caller', () => {
  test('what was read stays what it is, whatever is read next', async () => {
    const { tensor, tensors, config, close } = await openCheckpoint(CHECKPOINT);
    const names = [...tensors.keys()].filter((name) => /layer\.[01]\.|LayerNorm/.test(name));
    const all = names.map((name) => tensor(name));
    for (const [i, name] of names.entries()) expect(tensor(name)).toEqual(all[i]);
    for (const precision of ['fp32', 'torch', 'fp16'] as const) {
      const weights = weightsOf({ config, tensors }, precision);
      const query = ['query', 'key', 'value'].map((part) => `bert.encoder.layer.0.attention.self.${part}.weight`);
      const joined = readWeights(weights, query);
      const parts = query.map((name) => readWeights(weights, [name]));
      const { length } = parts[0]!.data;
      for (const [i, part] of parts.entries()) {
        expect(joined.data.subarray(i * length, (i + 1) * length)).toEqual(part.data);
        if ('scale' in part) expect((joined as typeof part).scale.subarray(i * 384, (i + 1) * 384)).toEqual(part.scale);
      }
    }
    close();
  });
});
