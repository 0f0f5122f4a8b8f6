// @unit
/** Both doors with wrong arguments: every public function refuses every kind of value that it does not take, in words. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runInNewContext } from 'node:vm';
import { afterAll, describe, expect, test } from 'vitest';
import { randomWeights } from '../bench/model.ts';
import { constant, normal } from '../kernels/op.ts';
import { convert } from '../programs/convert.ts';
import * as main from '../src/index.ts';
import * as engine from '../src/tensor.ts';
import { SMALL } from './batches.ts';
import { goldenJson, TINY } from './support.ts';

/** Values that no argument takes, but those that a call lists in `takes`. */
const WRONG: Record<string, unknown> = {
  undefined,
  null: null,
  '5': 5,
  '-1': -1,
  '0.5': 0.5,
  NaN: Number.NaN,
  '5n': 5n,
  true: true,
  "''": '',
  "'11'": '11',
  '[]': [],
  '[1]': [1],
  "['a']": ['a'],
  '[null]': [null],
  '{}': {},
  '{ shape }': { shape: [2, 2] },
  '{ shape: [2, 2.5] }': { dtype: 'F32', shape: [2, 2.5], data: new Float32Array(5) },
  '{ shape: [3], data }': { dtype: 'F32', shape: [3], data: new Float32Array(2) },
  '{ shape: "22", data }': { dtype: 'F32', shape: '22', data: new Float32Array(4) },
  '{ dtype: I8 } without scales': { dtype: 'I8', shape: [2, 2], data: new Int8Array(4) },
  '{ dtype: F32 } with scales': { dtype: 'F32', shape: [2, 2], data: new Float32Array(4), scale: new Float32Array(2) },
  '{ dtype: F16 } in float32': { dtype: 'F16', shape: [2, 2], data: new Float32Array(4) },
  'a function': () => {},
  'a Symbol': Symbol('wrong'),
  'a Date': new Date(0),
  Float32Array: new Float32Array(4),
  Float64Array: new Float64Array(4),
  Uint16Array: new Uint16Array(4),
  BigInt64Array: new BigInt64Array(4),
  'ids beyond the vocabulary': Int32Array.of(1, 300),
  'no ids': new Int32Array(0),
};

const EMPTY_OPTIONS = ['undefined', '{}'];
const TENSORS = Object.keys(WRONG).filter((name) => /^\{ (shape: |dtype)/.test(name));

interface Call {
  readonly name: string;
  readonly run: (...args: never[]) => unknown;
  /** Arguments that are right. */
  readonly args: () => readonly unknown[];
  /** For each argument the values of WRONG that are right, too. */
  readonly takes?: readonly (readonly string[])[];
  /** For each argument the values of WRONG that are of the right kind, and wrong for what is in them. */
  readonly skips?: readonly (readonly string[])[];
  /** Of its errors. Default input. */
  readonly code?: main.ErrorCode;
}

const runtime = await engine.openRuntime('reference');
const qa = await main.load(TINY, { device: 'reference' });
const tokenizer = main.Tokenizer.fromVocab(readFileSync(`${TINY}/vocab.txt`, 'utf8'));
const vocab = new Map(['[UNK]', '[CLS]', '[SEP]', 'a'].map((token, id) => [token, id]));
/** Each byte by its character: as it is, or from U+0100 on. */
const bytes = new Map(Array.from({ length: 0x144 }, (_, id) => [String.fromCharCode(id), id]));
const bert = new engine.Bert(runtime, SMALL, randomWeights(SMALL, 'fp32'));
afterAll(async () => {
  await qa.dispose();
  checkpoint.close();
  rmSync(scratch, { recursive: true });
});

const ids = Int32Array.of(1, 2);
const weight = normal([3, 2], 1);
const int8 = engine.quantizeWeight(weight, 'torch');
const x = runtime.tensor(normal([2, 2], 2));
const layer = runtime.linearLayer(weight, constant([3], 0));
const tables = { word: runtime.tensor(normal([9, 2], 1)), position: x, type: x };
const norm = { gamma: runtime.tensor(constant([2], 1)), beta: runtime.tensor(constant([2], 0)) };
const tokenizerJson = { ...goldenJson<{ tokenizer: object }>('checkpoints/bytes').tokenizer };
const checkpoint = await engine.openCheckpoint(TINY);
const encoding = tokenizer.encode('a');
const scratch = mkdtempSync(join(tmpdir(), 'bertlet-'));
let made = 0;
const activations = () => engine.quantizeActivations(normal([2, 2], 2), 'torch');

const CALLS: Call[] = [
  {
    name: 'openRuntime',
    run: engine.openRuntime,
    args: () => ['reference', {}],
    takes: [['undefined'], EMPTY_OPTIONS],
  },
  {
    name: 'Runtime',
    run: (...args) => new engine.Runtime(...(args as unknown as [engine.Device])),
    args: () => [runtime.device, () => ({})],
    takes: [[], ['undefined', 'a function']],
  },
  {
    name: 'tensor',
    run: runtime.tensor.bind(runtime),
    args: () => [normal([2, 2], 1), [1, 1]],
    takes: [['{ dtype: F32 } with scales'], ['undefined']],
  },
  {
    name: 'linearLayer',
    run: runtime.linearLayer.bind(runtime),
    args: () => [normal([2, 2], 1), constant([2], 0), 'dense'],
    takes: [[], ['undefined', 'null', '{ shape: [3], data }'], ['undefined', "''", "'11'"]],
  },
  {
    name: 'embedding',
    run: runtime.embedding.bind(runtime),
    args: () => [ids, ids.map(() => 0), tables, [1, 1]],
    takes: [[], [], [], ['undefined']],
  },
  {
    name: 'embedding, word',
    run: (word) =>
      runtime.embedding(
        ids,
        ids.map(() => 0),
        { ...tables, word },
      ),
    args: () => [tables.word],
  },
  {
    name: 'embedding, type',
    run: (type) =>
      runtime.embedding(
        ids,
        ids.map(() => 0),
        { ...tables, type },
      ),
    args: () => [x],
  },
  {
    name: 'layerNorm',
    run: runtime.layerNorm.bind(runtime),
    args: () => [x, x, norm, 1e-12],
    takes: [[], ['null'], [], ['5', '0.5']],
  },
  {
    name: 'layerNorm, gamma',
    run: (gamma) => runtime.layerNorm(x, null, { ...norm, gamma }, 1),
    args: () => [norm.beta],
  },
  { name: 'linear', run: runtime.linear.bind(runtime), args: () => [x, layer, 'gelu'], takes: [[], [], ['undefined']] },
  { name: 'attention', run: runtime.attention.bind(runtime), args: () => [runtime.tensor(normal([2, 6], 1)), 1] },
  { name: 'rows', run: runtime.rows.bind(runtime), args: () => [x, Int32Array.of(1, 0)] },
  { name: 'add', run: runtime.add.bind(runtime), args: () => [x, x] },
  { name: 'mul', run: runtime.mul.bind(runtime), args: () => [x, x] },
  { name: 'activation', run: runtime.activation.bind(runtime), args: () => [x, 'tanh'] },
  { name: 'softmax', run: runtime.softmax.bind(runtime), args: () => [x] },
  { name: 'mean', run: runtime.mean.bind(runtime), args: () => [x] },
  { name: 'matmul', run: runtime.matmul.bind(runtime), args: () => [x, x] },
  { name: 'transpose', run: runtime.transpose.bind(runtime), args: () => [x] },
  { name: 'read', run: runtime.read.bind(runtime) as Call['run'], args: () => [x, {}], takes: [[], EMPTY_OPTIONS] },
  { name: 'read, several', run: runtime.read.bind(runtime) as Call['run'], args: () => [x, x, x] },
  { name: 'readAll', run: runtime.readAll.bind(runtime), args: () => [[x], {}], takes: [[], EMPTY_OPTIONS] },
  {
    name: 'read, signal',
    run: (signal) => runtime.read(x, { signal }),
    args: () => [new AbortController().signal],
    takes: [['undefined']],
  },
  {
    name: 'encode',
    run: bert.encode.bind(bert),
    args: () => [ids, ids.map(() => 0), [1, 1]],
    takes: [[], [], ['undefined']],
  },
  {
    name: 'forward',
    run: bert.forward.bind(bert),
    args: () => [ids, ids.map(() => 0), {}],
    takes: [[], [], EMPTY_OPTIONS],
  },
  {
    name: 'forwardBatch',
    run: bert.forwardBatch.bind(bert),
    args: () => [[ids], [ids.map(() => 0)], {}],
    takes: [[], [], EMPTY_OPTIONS],
  },
  {
    name: 'quantizeWeight',
    run: engine.quantizeWeight,
    args: () => [weight, 'torch'],
    takes: [['{ dtype: F32 } with scales']],
  },
  {
    name: 'quantizeActivations',
    run: engine.quantizeActivations,
    args: () => [weight, 'accurate'],
    takes: [['{ dtype: F32 } with scales']],
  },
  { name: 'rowSums', run: engine.rowSums, args: () => [int8] },
  { name: 'matmulInt8', run: engine.matmulInt8, args: () => [activations(), int8] },
  {
    name: 'load',
    run: main.load,
    args: () => [TINY, { device: 'reference' }],
    takes: [[], EMPTY_OPTIONS],
    skips: [["'11'"]],
  },
  { name: 'answer', run: qa.answer.bind(qa), args: () => [{ question: 'a', context: 'b' }] },
  {
    name: 'answer, question',
    run: (question) => qa.answer({ question, context: 'b' }),
    args: () => ['a'],
    takes: [["'11'"]],
  },
  {
    name: 'answer, context',
    run: (context) => qa.answer({ question: 'a', context }),
    args: () => ['a'],
    takes: [["''", "'11'"]],
  },
  {
    name: 'answer, topK',
    run: (topK) => qa.answer({ question: 'a', context: 'b', topK }),
    args: () => [2],
    takes: [['undefined', '5']],
  },
  {
    name: 'answer, stride',
    run: (stride) => qa.answer({ question: 'a', context: 'b', stride }),
    args: () => [0],
    takes: [['undefined', '5']],
  },
  {
    name: 'answer, nullThreshold',
    run: (nullThreshold) => qa.answer({ question: 'a', context: 'b', nullThreshold }),
    args: () => [0],
    takes: [['undefined', '5', '-1', '0.5']],
  },
  {
    name: 'answer, onProgress',
    run: (onProgress) => qa.answer({ question: 'a', context: 'b', onProgress }),
    args: () => [() => {}],
    takes: [['undefined', 'a function']],
  },
  {
    name: 'answer, signal',
    run: (signal) => qa.answer({ question: 'a', context: 'b', signal }),
    args: () => [new AbortController().signal],
    takes: [['undefined']],
  },
  { name: 'logits', run: qa.logits.bind(qa), args: () => [{ inputIds: [1], tokenTypeIds: [0] }] },
  {
    name: 'logits, inputIds',
    run: (inputIds) => qa.logits({ inputIds, tokenTypeIds: [0] }),
    args: () => [[1]],
    takes: [['[1]']],
  },
  {
    name: 'logits, tokenTypeIds',
    run: (tokenTypeIds) => qa.logits({ inputIds: [1], tokenTypeIds }),
    args: () => [[0]],
    takes: [['[1]']],
  },
  {
    name: 'WordPiece',
    run: (...args) => new main.WordPiece(...(args as unknown as [Map<string, number>])),
    args: () => [vocab, {}],
    takes: [[], EMPTY_OPTIONS],
  },
  {
    name: 'ByteLevelBpe',
    run: (...args) => new main.ByteLevelBpe(...(args as unknown as [Map<string, number>, []])),
    args: () => [bytes, [], {}],
    takes: [[], ['[]'], EMPTY_OPTIONS],
  },
  {
    name: 'Tokenizer',
    run: (...args) => new main.Tokenizer(...(args as unknown as [Map<string, number>, main.TokenModel])),
    args: () => [vocab, new main.WordPiece(vocab), {}],
    takes: [[], [], EMPTY_OPTIONS],
  },
  {
    name: 'Tokenizer.fromVocab',
    run: main.Tokenizer.fromVocab,
    args: () => ['[UNK]\n[CLS]\n[SEP]', {}],
    takes: [[], EMPTY_OPTIONS],
    skips: [["''", "'11'"]],
  },
  { name: 'Tokenizer.encode', run: tokenizer.encode.bind(tokenizer), args: () => ['a'], takes: [["''", "'11'"]] },
  {
    name: 'Tokenizer.encodePair',
    run: tokenizer.encodePair.bind(tokenizer),
    args: () => ['a', 'b'],
    takes: [
      ["''", "'11'"],
      ["''", "'11'"],
    ],
  },
  {
    name: 'Tokenizer.encodeParts',
    run: (text) => [...tokenizer.encodeParts(text)],
    args: () => ['a'],
    takes: [["''", "'11'"]],
  },
  { name: 'Tokenizer.pair', run: tokenizer.pair.bind(tokenizer), args: () => [encoding, encoding] },
  {
    name: 'Tokenizer.fromJson',
    run: main.Tokenizer.fromJson,
    args: () => [tokenizerJson],
    code: 'tokenizer',
  },
  {
    name: 'Bert',
    run: (...args) => new engine.Bert(...(args as unknown as [engine.Runtime, engine.BertConfig, engine.Weights])),
    args: () => [runtime, SMALL, randomWeights(SMALL, 'fp32')],
  },
  {
    name: 'openCheckpoint',
    run: engine.openCheckpoint,
    args: () => [TINY, {}],
    takes: [[], EMPTY_OPTIONS],
    skips: [["'11'"]],
  },
  {
    name: 'openCheckpoint, head',
    run: (head) => engine.openCheckpoint(TINY, { head }),
    args: () => [['qa_outputs']],
    takes: [['undefined']],
    skips: [["['a']"]],
  },
  {
    name: 'weightsOf',
    run: engine.weightsOf,
    args: () => [checkpoint, 'accurate', {}],
    takes: [[], [], ['undefined', '{}', '{ shape }', ...TENSORS]],
  },
  { name: 'Checkpoint.tensor', run: checkpoint.tensor as Call['run'], args: () => ['qa_outputs.bias'] },
  {
    name: 'readSafetensors',
    run: engine.readSafetensors,
    args: () => [engine.writeSafetensors([['x', weight]]), 'model.safetensors'],
    takes: [[], ['undefined', "''", "'11'"]],
  },
  {
    name: 'writeSafetensors',
    run: engine.writeSafetensors,
    args: () => [new Map([['x', weight]]), {}],
    takes: [['[]', 'no ids'], EMPTY_OPTIONS],
  },
  {
    name: 'toFloat32',
    run: engine.toFloat32,
    args: () => [weight, 'x'],
    takes: [['{ dtype: F32 } with scales'], ['undefined', "''", "'11'"], ['undefined']],
    skips: [['{ dtype: I8 } without scales']],
  },
  {
    name: 'toFloat16',
    run: engine.toFloat16,
    args: () => [weight, 'x'],
    takes: [['{ dtype: F32 } with scales'], ['undefined', "''", "'11'"]],
  },
  { name: 'dtypesOf', run: engine.dtypesOf, args: () => ['cpu'] },
  {
    name: 'blobs',
    run: engine.blobs,
    args: () => [{ 'vocab.txt': new Uint8Array(4) }],
    takes: [['[]', '{}', 'no ids']],
  },
  {
    name: 'convert',
    run: convert,
    args: () => [TINY, join(scratch, `${made++}`), { precision: 'fp32' }],
    skips: [["'11'"], ["'11'"]],
  },
  {
    name: 'folder',
    run: engine.folder,
    args: () => [TINY],
    takes: [["'11'"]],
  },
  {
    name: 'site',
    run: engine.site,
    args: () => ['https://example.org', {}],
    takes: [["'11'"], EMPTY_OPTIONS],
  },
  {
    name: 'hub',
    run: engine.hub,
    args: () => ['owner/name', {}],
    takes: [["'11'"], EMPTY_OPTIONS],
  },
  {
    name: 'filesOf',
    run: engine.filesOf,
    args: () => [TINY, {}],
    takes: [["'11'"], EMPTY_OPTIONS],
  },
  {
    name: 'chooseScale',
    run: engine.chooseScale,
    args: () => [-1, 1],
    takes: [
      ['5', '-1', '0.5'],
      ['5', '-1', '0.5'],
    ],
  },
];

/** Arithmetic, as Math's. */
const UNTESTED = ['roundHalfEven'];

test('every function of the doors is among the calls, each once', () => {
  const names = CALLS.map(({ name }) => name);
  expect(names.filter((name, i) => names.indexOf(name) < i)).toEqual([]);
  const tested = new Set([...names, ...UNTESTED, 'BertletError']);
  expect(Object.keys({ ...main, ...engine }).filter((name) => !tested.has(name))).toEqual([]);
  const others = ['constructor', 'info', 'dispose', 'waiting'];
  for (const made of [runtime, qa, bert, tokenizer]) {
    const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(made)).filter((name) => !others.includes(name));
    expect(methods.filter((name) => !tested.has(name) && !tested.has(`Tokenizer.${name}`))).toEqual([]);
  }
});

test('values of another realm are what they are here', async () => {
  const there = <T>(code: string, values: object = {}) => runInNewContext(code, values) as T;
  const matrix = there<typeof weight>('({ dtype: "F32", shape: [3, 2], data: Float32Array.of(1, 2, 3, 4, 5, 6) })');
  const same = { dtype: 'F32', shape: [3, 2], data: Float32Array.of(1, 2, 3, 4, 5, 6) } as const;
  expect(matrix.data).not.toBeInstanceOf(Float32Array);
  expect(await runtime.read(runtime.tensor(matrix), there('({})'))).toEqual(same.data);
  await using cpu = await engine.openRuntime('cpu', { threads: 1 });
  const half = there<typeof matrix>('({ dtype: "F16", shape: [1, 2], data: Uint16Array.of(0x3c00, 0x4000) })');
  expect(await cpu.read(cpu.tensor(half))).toEqual(Float32Array.of(1, 2));
  expect(cpu.device.quantizeWeight!(matrix, 'torch').data).toEqual(engine.quantizeWeight(same, 'torch').data);
  const quantized = engine.quantizeWeight(matrix, 'torch');
  expect(quantized.data).toEqual(engine.quantizeWeight(same, 'torch').data);
  const xq = there<engine.QuantizedActivations>(
    '({ data: Uint8Array.of(1, 2), scale: Float32Array.of(1), zeroPoint: Int32Array.of(0) })',
  );
  expect(engine.matmulInt8(xq, quantized).length).toBe(3);
  const bias = there<typeof weight>('({ data: Float32Array.of(0, 0, 0) })');
  expect((await runtime.read(runtime.linear(x, runtime.linearLayer(matrix, bias)))).length).toBe(6);
  const [foreign, types] = [there<Int32Array>('Int32Array.of(1, 2)'), there<Int32Array>('Int32Array.of(0, 1)')];
  expect(await bert.forward(foreign, types)).toEqual(await bert.forward(ids, Int32Array.of(0, 1)));
  expect(await bert.forwardBatch(there('[a, a]', { a: foreign }), [types, types])).toHaveLength(2);
  const { inputIds, tokenTypeIds } = { inputIds: there<number[]>('[1, 2]'), tokenTypeIds: there<number[]>('[0, 1]') };
  expect(await qa.logits(there('({ inputIds, tokenTypeIds })', { inputIds, tokenTypeIds }))).toEqual(
    await qa.logits({ inputIds: [1, 2], tokenTypeIds: [0, 1] }),
  );
});

describe.each(CALLS.map((call) => [call.name, call] as const))(
  '%s',
  (_, { run, args, takes = [], skips = [], code = 'input' }) => {
    const call = async (given: readonly unknown[]) => run(...(given as never[]));
    test('takes what is right', async () => {
      await call(args());
      for (const [i, names] of takes.entries()) {
        for (const name of names) await call(args().toSpliced(i, 1, WRONG[name]));
      }
    });
    test('refuses what is wrong', async () => {
      const accepted: string[] = [];
      for (const i of args().keys()) {
        for (const [name, value] of Object.entries(WRONG)) {
          if (takes[i]?.includes(name) || skips[i]?.includes(name)) continue;
          const error = await call(args().toSpliced(i, 1, value)).then(
            () => null,
            (thrown: unknown) => thrown,
          );
          if (!(error instanceof main.BertletError && error.code === code))
            accepted.push(`argument ${i}, ${name}: ${error}`);
        }
      }
      expect(accepted).toEqual([]);
    });
  },
);
