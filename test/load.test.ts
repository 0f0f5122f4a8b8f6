// @unit
/** Opening a checkpoint: the embedded one's manifest, and every way in which a folder can be wrong. */
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { checkpointBytes, checkpointLayout } from '../bench/layout.ts';
import { parseConfig, tensorShapes } from '../src/checkpoint/config.ts';
import { readSafetensors } from '../src/checkpoint/safetensors.ts';
import { writeSafetensors } from '../src/checkpoint/write.ts';
import { type Files, type LoadOptions, load } from '../src/index.ts';
import { QuestionAnswering } from '../src/qa.ts';
import type { HostTensor } from '../src/runtime.ts';
import { CHECKPOINT, expectError, rawSafetensors, TINY } from './support.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bertlet-'));
  cpSync(TINY, folder, { recursive: true });
});
afterEach(() => rmSync(folder, { recursive: true }));

const configJson = () => JSON.parse(readFileSync(`${TINY}/config.json`, 'utf8')) as Record<string, unknown>;
const weights = () => new Map(readSafetensors(readFileSync(`${TINY}/model.safetensors`)));
const writeWeights = (tensors: Map<string, HostTensor>) =>
  writeFileSync(join(folder, 'model.safetensors'), writeSafetensors(tensors));
const question = { question: 'a b', context: 'c d e' };

describe('embedded checkpoint', () => {
  test('is what its manifest says: size, sha256, source, licence', () => {
    type Manifest = { source: string; licence: object; files: Record<string, { bytes: number; sha256: string }> };
    const manifest = JSON.parse(readFileSync(`${CHECKPOINT}/manifest.json`, 'utf8')) as Manifest;
    expect(Object.keys(manifest.files)).toContain('model.safetensors');
    expect(manifest.source && manifest.licence).toBeTruthy();
    for (const [name, { bytes, sha256 }] of Object.entries(manifest.files)) {
      const file = readFileSync(`${CHECKPOINT}/${name}`);
      expect(file.length, name).toBe(bytes);
      expect(createHash('sha256').update(file).digest('hex'), name).toBe(sha256);
    }
  });
});

describe('a good folder', () => {
  test.each<LoadOptions>([
    {},
    { dtype: 'fp32' },
    { dtype: 'int8', scheme: 'torch' },
    { device: 'reference', dtype: 'int8', scheme: 'torch' },
  ])('%o', async (options) => {
    const files: string[] = [];
    const qa = await load(folder, { ...options, onProgress: ({ file }) => files.push(file) });
    expect((await qa.answer(question)).length).toBe(1);
    expect(new Set(files)).toEqual(new Set(['model.safetensors']));
    expect(qa.info.scheme).toBe(options.dtype === 'fp32' ? undefined : (options.scheme ?? 'accurate'));
    await qa.dispose();
  });
  test('a signal that has aborted, or none', async () => {
    await expect(load(folder, { signal: AbortSignal.abort('too late') })).rejects.toBe('too late');
    await expectError('input', /signal: expected an AbortSignal, got an object/, () =>
      load(folder, { signal: {} as AbortSignal }),
    );
  });
  test('a signal that aborts while weights are uploaded: its reason, and the model is disposed of', async () => {
    const dispose = vi.spyOn(QuestionAnswering.prototype, 'dispose');
    const stop = new AbortController();
    const onProgress = ({ loaded, total }: { loaded: number; total: number }) => {
      if (loaded > total / 2) stop.abort(null);
    };
    await expect(load(folder, { threads: 2, signal: stop.signal, onProgress })).rejects.toBe(null);
    await expect.poll(() => dispose.mock.calls.length, { timeout: 20_000 }).toBe(1);
    dispose.mockRestore();
  });
  test('the accurate scheme is nearer to float32 than torch', async () => {
    const logits = async (options: LoadOptions) => {
      const qa = await load(folder, { device: 'reference', dtype: 'int8', ...options });
      const ids = Array.from({ length: 30 }, (_, i) => (i * 7) % 100);
      const { start, end } = await qa.logits({ inputIds: ids, tokenTypeIds: ids.map(() => 0) });
      return [...start, ...end];
    };
    const exact = await logits({ dtype: 'fp32' });
    const error = async (scheme: 'torch' | 'accurate') =>
      Math.hypot(...(await logits({ scheme })).map((value, i) => value - exact[i]!));
    expect(await error('accurate')).toBeLessThan(await error('torch'));
  });
  test('a pooler and position_ids are ignored', async () => {
    const pooler: HostTensor = { dtype: 'F32', shape: [1], data: new Float32Array(1) };
    const ids: HostTensor = { dtype: 'I64', shape: [1, 64], data: new BigInt64Array(64) };
    writeWeights(
      new Map([
        ...weights(),
        ['bert.pooler.dense.bias', pooler],
        ['bert.pooler.dense.weight', pooler],
        ['bert.embeddings.position_ids', ids],
      ]),
    );
    await (await load(folder, { device: 'reference', dtype: 'fp32' })).dispose();
  });
});

describe('the tensors of other files', () => {
  test('no `bert.` in the names, F64, heads and buffers that nobody needs: the same logits', async () => {
    const input = { inputIds: [2, 5, 6, 3], tokenTypeIds: [0, 0, 1, 1] };
    const logits = async () => (await load(folder, { device: 'reference', dtype: 'fp32' })).logits(input);
    const want = await logits();
    const bare = [...weights()].map(([name, tensor]) => [name.replace(/^bert\./, ''), tensor] as const);
    const wide = new Map<string, { dtype: string; shape: readonly number[]; data: ArrayBufferView }>(bare);
    const norm = wide.get('embeddings.LayerNorm.weight')!;
    const data = Float64Array.from(norm.data as Float32Array);
    wide.set('embeddings.LayerNorm.weight', { ...norm, dtype: 'F64', data });
    wide.set('classifier.weight', { dtype: 'BOOL', shape: [3], data: new Uint8Array(3) });
    wide.set('distance', { dtype: 'C64', shape: [1], data: new Float64Array(1) });
    writeFileSync(join(folder, 'model.safetensors'), rawSafetensors(wide));
    expect(await logits()).toEqual(want);
  });
  test.each([
    ['bert.embeddings.LayerNorm.weight', 'I8'],
    ['qa_outputs.bias', 'I8'],
    ['bert.embeddings.position_embeddings.weight', 'I8'],
    ['bert.encoder.layer.0.output.dense.weight', 'U8'],
    ['qa_outputs.weight', 'BOOL'],
  ])('%s in %s is refused', async (name, dtype) => {
    const tensors = new Map<string, { dtype: string; shape: readonly number[]; data: ArrayBufferView }>(weights());
    const { shape } = tensors.get(name)!;
    tensors.set(name, { dtype, shape, data: new Uint8Array(shape.reduce((a, b) => a * b, 1)) });
    const scales = { dtype: 'F32', shape: [shape[0]!, 1], data: new Float32Array(shape[0]!) };
    if (dtype === 'I8') tensors.set(`${name}_scale`, scales);
    writeFileSync(join(folder, 'model.safetensors'), rawSafetensors(tensors));
    await expectError('weights', new RegExp(`${name}: expected F32, F16 or BF16, got ${dtype}`), () => load(folder));
  });
  test('what a quantized weight has besides its scales is not passed over', async () => {
    const zero: HostTensor = { dtype: 'F32', shape: [1], data: new Float32Array(1) };
    writeWeights(weights().set('qa_outputs.weight_zero_point', zero));
    await expectError('weights', /unexpected qa_outputs\.weight_zero_point/, () => load(folder));
  });
  test('1,000 problems: the first of them, on one line that can be printed', async () => {
    writeWeights(new Map());
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...configJson(), num_hidden_layers: 1000 }));
    await expectError(
      'weights',
      /^[ -~]+: tensors that differ, 16007: missing [ -~]{100,3000}; and 15987 more\. /,
      () => load(folder),
    );
  });
});

describe('wrong weights', () => {
  test('all that is missing, unexpected or of a wrong shape, in one error', async () => {
    const tensors = weights();
    tensors.delete('qa_outputs.weight');
    tensors.delete('bert.encoder.layer.1.output.dense.bias');
    const bias = tensors.get('qa_outputs.bias')!;
    tensors.set('qa_outputs.bias', { ...bias, shape: [2, 1] });
    tensors.set('bert.encoder.layer.2.output.dense.bias', bias);
    writeWeights(tensors);
    await expectError('weights', /tensors that differ, 4:/, () => load(folder));
    for (const line of [
      /missing qa_outputs\.weight \[2,32\]/,
      /missing bert\.encoder\.layer\.1\.output\.dense\.bias \[32\]/,
      /qa_outputs\.bias: expected \[2\], got \[2,1\]/,
      /unexpected bert\.encoder\.layer\.2\.output\.dense\.bias/,
    ]) {
      await expectError('weights', line, () => load(folder));
    }
  });
  test('integers where floats belong', async () => {
    const tensors = weights();
    tensors.set('qa_outputs.bias', { dtype: 'I32', shape: [2], data: new Int32Array(2) });
    writeWeights(tensors);
    await expectError('weights', /qa_outputs\.bias: expected F32, F16 or BF16, got I32/, () => load(folder));
  });
  test('NaN', async () => {
    const tensors = weights();
    tensors.set('qa_outputs.weight', { dtype: 'F32', shape: [2, 32], data: new Float32Array(64).fill(Number.NaN) });
    writeWeights(tensors);
    await expectError('weights', /qa_outputs.weight: expected finite values, got NaN/, () => load(folder));
  });
  test.each([0, 7, 1000, -1])('cut to %d bytes', async (bytes) => {
    const whole = readFileSync(`${TINY}/model.safetensors`);
    writeFileSync(join(folder, 'model.safetensors'), whole.subarray(0, bytes < 0 ? whole.length + bytes : bytes));
    await expectError('safetensors', /model\.safetensors: expected .*The file is damaged/, () => load(folder));
  });
});

describe('wrong files', () => {
  test.each(['config.json', 'model.safetensors', 'vocab.txt'])('%s missing', async (name) => {
    rmSync(join(folder, name));
    await expectError('file', new RegExp(`^${folder}: expected ${name}.*, got none\\.`), () => load(folder));
  });
  test.each(['config.json', 'model.safetensors', 'vocab.txt'])('%s is a Git LFS pointer', async (name) => {
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 94264\n`;
    writeFileSync(join(folder, name), pointer);
    await expectError(
      'file',
      new RegExp(`${name}: expected the file's content, got a Git LFS pointer to it\\. Run`),
      () => load(folder),
    );
  });
  test('a folder in place of a file', async () => {
    rmSync(join(folder, 'config.json'));
    mkdirSync(join(folder, 'config.json'));
    await expectError('file', /config\.json: expected a readable file, got EISDIR/, () => load(folder));
  });
  test.each([
    [
      'adapter_config.json',
      /expected (config\.json|model\.safetensors or .*), got an adapter \(adapter_config\.json\)\. Merge it into its model first/,
    ],
    ['tf_model.h5', /expected model\.safetensors or .*, got weights for TensorFlow \(tf_model\.h5\)\. /],
    ['flax_model.msgpack', /got weights for Flax \(flax_model\.msgpack\)\. /],
    ['model.onnx', /got a graph of ONNX \(model\.onnx\)\. Use the checkpoint/],
    ['onnx/model.onnx', /got a graph of ONNX \(onnx\/model\.onnx\)\. Use the checkpoint/],
    ['minilm-q8_0.gguf', /expected model\.safetensors or .*, got none\. .* GGUF does not open\.$/],
  ])('%s in place of the weights: the cause', async (name, message) => {
    mkdirSync(join(folder, 'onnx'));
    writeFileSync(join(folder, name), 'of another format');
    await (await load(folder, { device: 'reference' })).dispose(); // beside the weights it does not matter
    rmSync(join(folder, 'model.safetensors'));
    await expectError('file', message, () => load(folder));
    if (!name.startsWith('adapter')) return;
    rmSync(join(folder, 'config.json')); // as peft saves an adapter
    await expectError('file', message, () => load(folder));
  });
  test('a file of another format is not fetched to say so', async () => {
    const asked: string[] = [];
    const files: Files = {
      name: 'far away',
      open: async (file, { onProgress, signal } = {}) => {
        if (file !== 'tf_model.h5') return null;
        for (let loaded = 1; loaded <= 1000; loaded++) {
          onProgress?.({ file, loaded, total: 1000 });
          asked.push(file);
          signal?.throwIfAborted();
        }
        return { name: file, size: 1000, read: () => {}, close: () => {} };
      },
    };
    await expectError('file', /far away: expected config\.json, got weights for TensorFlow/, () => load(files));
    expect(asked.length).toBe(1);
  });
  test('no such folder', () =>
    expectError('file', /nowhere: expected config\.json, got none\. A checkpoint is a folder/, () =>
      load(join(folder, 'nowhere')),
    ));
  test.each(['', '[', 'null', '3'])('config.json is %j', async (text) => {
    writeFileSync(join(folder, 'config.json'), text);
    await expectError('config', /config\.json: expected a JSON object/, () => load(folder));
  });
  test('a vocabulary larger than the model', async () => {
    writeFileSync(join(folder, 'vocab.txt'), `${readFileSync(`${TINY}/vocab.txt`, 'utf8')}\nzz\nzzz\n`);
    await expectError('tokenizer', /expected at most 100 tokens .* got 10\d/, () => load(folder));
  });
});

describe('wrong config', () => {
  test.each<[Record<string, unknown>, RegExp]>([
    [
      { model_type: 'albert' },
      /expected model_type to be bert, distilbert, electra, roberta, got "albert"\. bertlet runs/,
    ],
    [{ model_type: undefined }, /expected model_type to be bert, .*, got undefined/],
    [
      { architectures: ['BertForMaskedLM'] },
      /expected architectures to be .* question answering, got "BertForMaskedLM"/,
    ],
    [{ is_decoder: true }, /expected is_decoder to be false, got true/],
    [{ hidden_act: 'relu' }, /expected hidden_act to be gelu, gelu_python, got "relu"/],
    [{ hidden_act: 'gelu_new' }, /expected hidden_act .* got "gelu_new"/],
    [
      { position_embedding_type: 'relative_key' },
      /expected position_embedding_type to be absolute, got "relative_key"/,
    ],
    [{ hidden_size: 0 }, /expected hidden_size to be an integer from 1 to 65536, got 0/],
    [{ hidden_size: '32' }, /expected hidden_size to be an integer from 1 to 65536, got "32"/],
    [{ num_hidden_layers: 2.5 }, /expected num_hidden_layers to be an integer from 1 to 1000, got 2\.5/],
    [{ num_attention_heads: 5 }, /expected num_attention_heads to be a divisor of hidden_size 32, got 5/],
    [{ type_vocab_size: 1 }, /expected type_vocab_size to be an integer from 2 to 65536, got 1/],
    [{ layer_norm_eps: -1 }, /expected layer_norm_eps to be a positive number up to 1, got -1/],
    [{ confidence_temperature: 0 }, /expected confidence_temperature to be a positive number up to 1000, got 0/],
    [{ layer_norm_eps: 1e12 }, /expected layer_norm_eps to be a positive number up to 1, got 1000000000000/],
    [{ num_hidden_layers: 1e9 }, /expected num_hidden_layers to be an integer from 1 to 1000, got 1000000000\. /],
    [{ vocab_size: 2 ** 40 }, /expected vocab_size to be an integer from 1 to 16777216/],
    [{ hidden_act: `\u001b${'x'.repeat(1e6)}` }, /got "\\u001bx{59}\.\.\."\. /],
    [{ hidden_act: [[]] }, /got an array/],
    [{ vocab_size: null }, /expected vocab_size to be an integer from 1 to 16777216, got undefined/],
  ])('%o', async (part, message) => {
    writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...configJson(), ...part }));
    await expectError('config', message, () => load(folder));
  });
});

describe('wrong options', () => {
  test.each<[object, RegExp]>([
    [{ device: 'tpu' }, /device: expected auto, webgpu, cpu, reference, got "tpu"/],
    [{ dtype: 'int4' }, /dtype: expected fp32, int8 on cpu, got "int4"/],
    [{ dtype: 'fp16' }, /dtype: expected fp32, int8 on cpu, got "fp16"/],
    [{ scheme: 'best' }, /scheme: expected torch, accurate, got "best"/],
    [
      { dtype: 'fp32', scheme: 'torch' },
      /^scheme: expected none with dtype fp32, got "torch"\. Leave it out, or load int8\.$/,
    ],
    [
      { device: 'webgpu', dtype: 'fp16', scheme: 'accurate' },
      /^scheme: expected none with dtype fp16, got "accurate"\. /,
    ],
  ])('%o', (options, message) => expectError('input', message, () => load(folder, options)));
});

describe('sizes of the files that each precision would be', () => {
  const config = parseConfig(configJson());
  test('fp32 is the size of the file that Hugging Face wrote, but for its header', () => {
    const bytes = readFileSync(`${TINY}/model.safetensors`).length;
    expect(Math.abs(checkpointBytes(config, 'fp32') - bytes)).toBeLessThan(64);
  });
  test.each(['fp32', 'torch', 'accurate'] as const)('%s is the size of a file really written', (precision) => {
    const tensors = checkpointLayout(config, precision).map(([name, { dtype, shape }]): [string, HostTensor] => {
      const count = shape.reduce((a, b) => a * b, 1);
      return [name, { dtype, shape, data: dtype === 'I8' ? new Int8Array(count) : new Float32Array(count) }];
    });
    expect(writeSafetensors(tensors).length).toBe(checkpointBytes(config, precision));
  });
  test("bert-base-cased's shape: the article's 411 and 168 MB", () => {
    const base = parseConfig({
      ...{ model_type: 'bert', vocab_size: 28996, hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12 },
      ...{ intermediate_size: 3072, max_position_embeddings: 512, type_vocab_size: 2 },
    });
    expect([...tensorShapes(base).values()].filter(({ kind }) => kind === 'linear').length).toBe(73);
    expect((checkpointBytes(base, 'fp32') / 2 ** 20).toFixed(0)).toBe('411');
    expect((checkpointBytes(base, 'torch') / 2 ** 20).toFixed(0)).toBe('168');
  });
});
