/**
 * Breaks the product on purpose, one place at a time, and asks that a test notices. A suite that was made faster must
 * still catch what the slower one caught, and a test that cannot fail is a defect.
 *
 * `npx node scripts/mutants.ts [TEXT]` runs all mutants, or those whose file or change contains TEXT, in a copy of the tree
 * (10 to 15 minutes). Exit code 1 where a mutant survives, or where a test
 * fails on the unbroken product. Run by hand: it is too slow for every commit; test/mutants.test.ts finds each place.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { buildKernels, VARIANTS, writeAssets } from './build.ts';

const ROOT = join(import.meta.dirname, '..');

/** A change of one file, and the test (a file, and part of a title) that must turn red. */
export interface Mutant {
  readonly file: string;
  readonly from: string;
  readonly to: string;
  readonly test: string;
  readonly title?: string;
}

/** Mutants of one file that one test must catch. */
const mutants = (file: string, test: string, title: string | undefined, changes: [from: string, to: string][]) =>
  changes.map(([from, to]): Mutant => ({ file, from, to, test, ...(title !== undefined && { title }) }));

export const MUTANTS: Mutant[] = [
  // The CPU's kernels
  ...mutants('kernels/linear.wasm.ts', 'cpu.test', 'every op', [
    ['c50 = madd(x, b0, c50); c51 = madd(x, b1, c51);\n', 'c50 = madd(x, b1, c50); c51 = madd(x, b1, c51);\n'],
    ['c43 = madd(x, b3, c43);', 'c43 = madd(x, b2, c43);'],
  ]),
  ...mutants('kernels/linearInt8.wasm.ts', 'cpu.test', 'accumulators equal exact sums', [
    ['rows = RELAXED_ROWS;', 'rows = RELAXED_ROWS + 1;'],
  ]),
  ...mutants('kernels/linearInt8Grouped.wasm.ts', 'cpu.test', 'accumulators equal exact sums', [
    [
      't13 = dot(a, w3, t13);\n        a = v128.load_splat<i32>(a2, 4)',
      't13 = dot(a, w2, t13);\n        a = v128.load_splat<i32>(a2, 4)',
    ],
    ['size >>= 1', 'size >>= 2'],
    ['addPairs(sums + 384, ones, t30, t31, t32, t33)', 'addPairs(sums + 384, ones, t30, t31, t32, t32)'],
  ]),
  ...mutants('kernels/linearInt16.wasm.ts', 'cpu.test', 'accumulators equal exact sums', [
    ['c21 = dot16(a, w1, c21);\n', 'c21 = dot16(a, w0, c21);\n'],
  ]),
  ...mutants('kernels/dequantize.wasm.ts', 'cpu.test', 'every op', [['v128.load(k, 176)', 'v128.load(k, 160)']]),
  ...mutants('kernels/quantize.wasm.ts', 'cpu.test', 'every op', [
    ['(max - min) / 127', '(max - min) / 128'],
    ['<i32>nearest(', '<i32>Math.floor('],
    ['high2 = larger(high2, c)', 'high2 = larger(high2, b)'],
  ]),
  ...mutants('kernels/layerNorm.wasm.ts', 'cpu.test', 'every op', [
    ['s3 = madd(d, d, s3)', 's3 = madd(d, c, s3)'],
    ['<f64>eps)', '<f64>eps + 0.001)'],
  ]),
  ...mutants('kernels/attention.wasm.ts', 'cpu.test', 'every op', [
    ['-1e30', '0'],
    ['if (head != packed)', 'if (packed < 0)'],
  ]),
  ...mutants('kernels/math.wasm.ts', 'cpu.test', 'every op', [['<i64>count * chunk', '(<i64>count + 1) * chunk']]),
  ...mutants('kernels/math.wasm.ts', 'accuracy.test', 'GELU', [
    ['1.0, 2.78, 0.5', '1.0, 2.5, 0.5'],
    ['0.300469458', '0.300469'],
  ]),
  ...mutants('kernels/halfToFloat.wasm.ts', 'cpu.test', 'float16', [
    ['f32x4.ge(size, limit)', 'f32x4.gt(size, limit)'],
  ]),
  ...mutants('kernels/grouping.wasm.ts', 'cpu.test', 'groups', [
    ['[0xff00, 0xff00]', '[0xfe00, 0xfe00]'],
    ['move(copy + one * PAIR', 'move(copy + pair * PAIR'],
    ['i8x16.sub_sat_u(d, v128.load(set, 48))', 'i8x16.sub_sat_u(c, v128.load(set, 32))'],
  ]),
  ...mutants('kernels/rows.wasm.ts', 'cpu.test', 'tables of float16', [
    ['table + 2 * TABLE_WORDS, i, count, t + 2 * stride', 'table + 2 * TABLE_WORDS, i, count, t + stride'],
    ['row * <usize>count) << 1', 'row * <usize>count) << 2'],
  ]),
  ...mutants('kernels/elementwise.wasm.ts', 'cpu.test', 'every op', [
    ['f32x4.add(v128.load(a + at, 16)', 'f32x4.add(v128.load(a + at, 0)'],
    ['f32x4.mul(v128.load(a + at, 16), v128.load(b + at, 16))', 'f32x4.mul(v128.load(a + at, 16), v128.load(b, 16))'],
    ['other + <usize>row * otherStride', 'other + <usize>row * stride'],
    ['activateRow(a, to, stride, how - 1)', 'activateRow(a, to, stride, how)'],
    ['<f32>(last - row)', '<f32>last'],
    ['row = load<usize>(firsts + (sequence << 2))', 'row = <usize>0'],
    ['<usize>(item % blocks) * BLOCK', '<usize>(item % blocks) * 64'],
  ]),
  ...mutants('kernels/elementwise.wasm.ts', 'runtime.test', 'to the bit', [
    ['memory.fill(to + columns, 0, stride - columns)', ''],
  ]),
  ...mutants('kernels/elementwise.wasm.ts', 'runtime.test', 'random programs', [['memory.fill(to, 0, bytes);', '']]),
  ...mutants('kernels/softmax.wasm.ts', 'cpu.test', 'every op', [['-f32.MAX_VALUE * 2', '0']]),
  ...mutants('kernels/matmul.wasm.ts', 'cpu.test', 'every op', [
    ['v128.store(line, c, 32)', 'v128.store(line, b, 32)'],
    ['line += 64, x += stride) {', 'line += 64, x += 64) {'],
    [
      'v128.store(y + 2 * yStride, v128.shuffle<i64>(AB, CD, 0, 2))',
      'v128.store(y + 2 * yStride, v128.shuffle<i64>(AB, CD, 1, 3))',
    ],
  ]),
  ...mutants('kernels/matmul.wasm.ts', 'runtime.test', 'random programs', [
    ['memory.fill(line, 0, <usize>(depth - k << 6))', ''],
    ['memory.fill(padding, 0, yStride - (<usize>rows << 2))', ''],
  ]),
  ...mutants('kernels/math.wasm.ts', 'cpu.test', 'softmax', [['v128.load(y, 16), all)', 'v128.load(y, 0), all)']]),
  ...mutants('kernels/math.wasm.ts', 'limits.test', '620', [
    ['<i64>count * chunk / chunks', '<i64>(count * chunk) / chunks'],
  ]),
  ...mutants('src/devices/race.ts', 'race.test', undefined, [
    ['MIN_TICKS] = [5, 6, 20]', 'MIN_TICKS] = [5, 6, 2]'],
    ['CLEARLY = 0.9', 'CLEARLY = 1'],
    ['if (winner === before) return', 'return'],
    ['choice: candidates[winnerOf(best)]', 'choice: candidates[winner]'],
    ['times[i] = Math.min(times[i]!, await', 'times[i] = Math.max(times[i] === Infinity ? 0 : times[i]!, await'],
  ]),
  ...mutants('src/devices/cpu/start.ts', 'race.test', 'info', [
    ['...(int8 ? [int8Name(choice)] : [])', 'int8Name(choice)'],
  ]),
  ...mutants('src/devices/cpu/kernels.ts', 'cpuSelfTest.test', 'signed. is chosen', [
    ['trial.measured[nameOf(works[i]!.choice)] = time', 'trial.measured[nameOf(works[0]!.choice)] = time'],
  ]),
  ...mutants('kernels/pack.wasm.ts', 'cpu.test', 'linearInt8', [
    ['(row & 15) == 15', '(row & 15) == 14'],
    ['sum, 2, 3, 0, 1', 'sum, 0, 1, 2, 3'],
    ['from += 2, at += 32', 'from += 2, at += 64'],
  ]),
  ...mutants('kernels/quantizeWeight.wasm.ts', 'cpu.test', 'weights that the device quantizes', [
    ['HALF_RANGE: f32 = 127.5', 'HALF_RANGE: f32 = 127'],
    ['bits >= INFINITE', 'bits > INFINITE'],
    ['nearest<f32>(load', 'floor<f32>(load'],
  ]),
  // The GPU's kernels
  ...mutants('kernels/linear.wgsl', 'webgpu.test', 'kernels', [['64u * k4 + (r ^ k4)', '64u * k4 + (r ^ (k4 + 1u))']]),
  ...mutants('kernels/linear.int8.wgsl', 'webgpu.test', 'accumulators', [
    ['dot4I8Packed(a, b.w)', 'dot4I8Packed(a, b.z)'],
  ]),
  ...mutants('kernels/linear.float.wgsl', 'webgpu.test', 'NaN', [
    ['x[row * stride + k4], k4 < stride', 'x[row * stride + k4], true'],
  ]),
  ...mutants('kernels/activation.wgsl', 'webgpu.test', 'NaN', [
    ['select(ofNumber(value), value, isNaN(value))', 'ofNumber(value)'],
  ]),
  ...mutants('kernels/attention.wgsl', 'webgpu.test', 'attention', [
    ['24u) < vec4u(end)', '24u) <= vec4u(end)'],
    ['sum * shrink +', 'sum +'],
    ['isFirst || width > 16u', 'isFirst'],
  ]),
  ...mutants('kernels/attention.wgsl', 'webgpu.test', 'batch', [
    ['var begin = start;', 'var begin = 0u;'],
    ['value, begin + row < end', 'value, true'],
  ]),
  ...mutants('kernels/common.wgsl', 'webgpu.test', 'batch', [
    ['max(pair, first) - first', '0u'],
    ['step.rangeOfY + pair', 'step.rangeOfY'],
  ]),
  ...mutants('src/devices/webgpu/device.ts', 'webgpu.test', 'memory', [
    ['if (!results.includes(y)) passing', 'passing'],
    ['lastReader.get(x) === i && ', ''],
  ]),
  ...mutants('src/devices/webgpu/program.ts', 'webgpu.test', 'one program of steps that differ', [
    ['if (range) range.recorded = true;', ''],
    ['range.scheme === scheme)) return', 'true)) return'],
  ]),
  ...mutants('src/devices/webgpu/start.ts', 'webgpuStart.test', undefined, [
    [' ?? (await ask())', ''],
    ['.catch(() => open({}))', ''],
    ['own && !wanted', 'false'],
    ['Promise.race([request, late])', 'request'],
    ['info: Partial<GPUAdapterInfo> = {}', 'info: Partial<GPUAdapterInfo>'],
  ]),
  ...mutants('kernels/rows.wgsl', 'webgpu.test', 'kernels', [
    ['tables[step.indicesC + row]', 'tables[step.indicesB + row]'],
  ]),
  ...mutants('kernels/elementwise.wgsl', 'webgpu.test', 'kernels', [
    ['value * second', 'value + second'],
    ['step.second == 1u', 'false'],
  ]),
  ...mutants('kernels/softmax.wgsl', 'webgpu.test', 'kernels', [
    ['select(vec4f(0.0), weight, inside(i))', 'weight'],
    ['select(most, x[row * stride + i], inside(i))', 'x[row * stride + i]'],
    ['most = max(most, ', 'most = ('],
  ]),
  ...mutants('kernels/mean.wgsl', 'webgpu.test', 'kernels', [['f32(end - first)', 'f32(end)']]),
  ...mutants('kernels/transpose.wgsl', 'webgpu.test', 'matmul: what', [['row < step.inRows', 'true']]),
  ...mutants('kernels/activation.wgsl', 'webgpu.test', 'kernels', [
    ['size < vec4f(0.625)', 'size < vec4f(2.0)'],
    ['max(value, vec4f(0.0))', 'abs(value)'],
    ['exp(-value)', 'exp(value)'],
  ]),
  ...mutants('src/devices/cpu/device.ts', 'runtime.test', 'upload while', [
    ['list = newList(); // an upload', '// an upload'],
  ]),
  ...mutants('src/devices/cpu/device.ts', 'cpu.test', 'tables of float16', [['isHalf: false }', 'isHalf: true }']]),
  ...mutants('bench/layout.ts', 'checkpoint.test', 'fp32 and fp16', [["embeddings === 'F16'", "embeddings !== 'F16'"]]),
  ...mutants('src/devices/cpu/commands.ts', 'batch', 'batch', [
    ['(torch ? sequences :', '(!torch ? sequences :'],
    ['rowOf(qkv, first)', 'qkv'],
  ]),
  ...mutants('kernels/total.wgsl', 'webgpu.test', 'layerNorm', [['half > 0u', 'half > 1u']]),
  ...mutants('kernels/quantizer.wgsl', 'webgpu.test', 'PyTorch', [
    ['return i32(k + (k & 1u));', 'return i32(k);'],
    ['add(q, vec2u(u32(up), 0u))', 'q'],
  ]),
  // The definition: quantizer and ops
  ...mutants('src/quantize.ts', 'quantize', undefined, [
    ['largest / 127.5', 'largest / 127'],
    ['(most - least) / 127', '(most - least) / 255'],
    ['-fromMin < fromMax', '-fromMin > fromMax'],
    ['1.5 * 2 ** 52', '1.5 * 2 ** 51'],
  ]),
  // Tokenizer
  ...mutants('src/text/wordpiece.ts', 'tokenizer', undefined, [
    ['byDefault(100,', 'byDefault(99,'],
    ['place += char.length', 'place += 1'],
    ['p{Cf}\\\\p{Co}', 'p{Co}'],
  ]),
  ...mutants('src/text/tokenizer.ts', 'tokenizer', 'begin alike', [['b.length - a.length', 'a.length - b.length']]),
  ...mutants('src/text/tokenizer.ts', 'checkpoints', 'opened or refused', [
    ['token.singleWord && touchesWord', 'touchesWord'],
    ['token.lstrip && begin > done', 'token.rstrip && begin > done'],
    ['before.at(-1)', 'before.at(0)'],
    ['begin = Math.max(begin, done)', 'begin = done'],
    ['last + widthAt(text, last)', 'last + 1'],
  ]),
  ...mutants('src/text/wordpiece.ts', 'checkpoints', 'opened or refused', [
    ["run.normalize('NFD')", 'run'],
    ['put(char, places[i]!)', 'put(char, places[0]!)'],
  ]),
  ...mutants('src/text/bpe.ts', 'checkpoints', 'opened or refused', [
    ['to -= widthAt(text, to - 2)', 'to -= 1'],
    ['if (merge?.[0] !== Math.floor(first / WORD))', 'if (!merge)'],
  ]),
  // Other families
  ...mutants('src/text/bpe.ts', 'checkpoints', 'byte-level', [
    ['merge[0] * WORD + left', 'merge[0] * WORD - left'],
    ['187f8-187ff', '187f8-187fe'],
  ]),
  ...mutants('src/checkpoint/config.ts', 'checkpoints', undefined, [
    ['positionsAfterPadding: true', 'positionsAfterPadding: false'],
  ]),
  ...mutants('src/text/tokenizer.ts', 'checkpoints', 'one space', [['if (begin < end) yield', 'yield']]),
  ...mutants('src/text/json.ts', 'checkpoints', 'more ids than tokens', [['ids.length, tokens.length', '1, 1']]),
  ...mutants('src/files/index.ts', 'sources', 'cut while it is open', [['at += got;', 'at += target.length;']]),
  ...mutants('src/checkpoint/precision.ts', 'doors', 'weightsOf', [
    ["check('precision', precision", "check('precision', 'fp32'"],
  ]),
  ...mutants('src/text/json.ts', 'checkpoints', 'opened or refused', [
    ['do_lower_case: lowercase', 'do_lower_case: lowercase = false'],
    ['trim_offsets: trimOffsets', 'trim_offsets: trimOffsets = false'],
    ["names.includes('token_type_ids')", "!names.includes('token_type_ids')"],
    ["WITHOUT_TYPES = ['DistilBertTokenizer', ", 'WITHOUT_TYPES = ['],
    ['new WordPiece(vocab, options)', 'new WordPiece(all, options)'],
  ]),
  // Spans and windows
  ...mutants('src/spans.ts', 'qa.test', undefined, [
    ['j - maxAnswerTokens + 1', 'j - maxAnswerTokens'],
    ['- nullScore < this.#least', '- nullScore <= this.#least'],
    ['- nullScore < this.#least', '< this.#least'],
    ['margin(one.span) > -nullThreshold', 'margin(one.span) > nullThreshold'],
    ['span ? -margin(span) : Infinity', 'span ? margin(span) : Infinity'],
    ['= span ?? passage.first!', '= passage.first!'],
    ['? places.has(`', '? places.has(`x'],
    ['a < end && start < b)', 'a < end && start <= b)'],
    ['a.first - b.first || a.last - b.last', 'b.first - a.first || b.last - a.last'],
    ['nullScore: span.nullScore - moved', 'nullScore: span.nullScore'],
    ['first < window.begin || last >= end', 'last >= end'],
    ['(isAgain ? AGAIN', '(!isAgain ? AGAIN'],
    ['const begin = between(Math.max(0, first - spare), first, 1);', 'const begin = Math.max(0, first - spare);'],
    ['between(Math.min(this.length, last + 1 + spare), last + 1, -1)', 'Math.min(this.length, last + 1 + spare)'],
  ]),
  ...mutants('src/qa.ts', 'qa.test', undefined, [
    ['encoded.get(text) ?? this.#encoded', 'this.#encoded'],
    ['this.#encoded.get(text);', '[...this.#encoded].find(([one]) => one.length === text.length)?.[1];'],
    ['Math.min(passage.length, begin + room)', 'Math.min(passage.length, begin + room - 1)'],
    ['options.stride === undefined &&', 'options.stride !== 1 &&'],
    ['first + end - begin)', 'first + end)'],
    ['i % 2 === 1)', 'i % 2 === 0)'],
    ['8 * (end + part.length)', '4 * end'],
  ]),
  ...mutants('src/text/tokenizer.ts', 'tokenizer', 'in parts|not cut', [
    ['rstrip || SPACE.test(content)', 'rstrip'],
    ['from + begin, from + end)', 'begin, end)'],
  ]),
  ...mutants('src/options.ts', 'caller', '2.2 MB', [['      signal?.throwIfAborted();\n      begin', '      begin']]),
  ...mutants('src/qa.ts', 'batch', 'maxQueue', [['this.#calls.size >= this.#maxQueue', 'false']]),
  ...mutants('src/queue.ts', 'queue', undefined, [
    ['left(a) - left(b)', 'left(b) - left(a)'],
    ['turn % 8 > 0', 'true'],
    ['others.length === 0 ? signal : undefined', 'undefined'],
    ['from.begun = from.count;', ''],
    ['(other) => other !== one', '() => true'],
    ['&& !one.signal?.aborted', ''],
    ['await null; // the calls', '// the calls'],
  ]),
  ...mutants('src/queue.ts', 'batch', 'signal', [['others.length === 0 ? signal : undefined', 'signal']]),
  ...mutants('src/options.ts', 'options', 'listeners', [["signal.removeEventListener('abort', abort);", '']]),
  ...mutants('src/devices/cpu/device.ts', 'options', 'listeners', [
    ["signal?.removeEventListener('abort', cancel);", ''],
  ]),
  ...mutants('src/devices/cpu/device.ts', 'runtime.test', 'takes the place', [['      this.#arenaEnd = 0;\n', '']]),
  // The whole model
  ...mutants('src/bert.ts', 'batch', 'other lengths', [
    ["typeIds[i]!, 'Int32Array', one.length)", "typeIds[i]!, 'Int32Array')"],
  ]),
  ...mutants('src/bert.ts', 'bert.test', undefined, [
    ["'gelu')", 'undefined)'],
    ['layer.attentionNorm, eps)', 'layer.outputNorm, eps)'],
  ]),
  // Files
  ...mutants('src/checkpoint/safetensors.ts', 'safetensors', undefined, [
    ['entry.begin !== end', 'entry.begin < end'],
    ['if (end !== fileBytes)', 'if (end > fileBytes)'],
    ['.length - 1 > keys', '.length - 1 > 2 * keys'],
    ['if (end - begin !== bytes)', 'if (end - begin < bytes)'],
  ]),
  ...mutants('src/checkpoint/pytorch.ts', 'checkpoint', undefined, [
    ['if (short(10) !== 0)', 'if (short(10) === 99)'],
    ['!CALLABLE.includes(name) && !Object.hasOwn(STORAGES, name)', 'false'],
    ['value.length <= MAX_DIMENSIONS && ', ''],
    ['|| count > room', ''],
  ]),
  ...mutants('src/files/hub.ts', 'hub.test', undefined, [
    ['isHash && !digests.includes(etag)', 'false'],
    ['if (size !== request.most) throw', 'if (false) throw'],
    ['?.size === size', ' !== undefined'],
    ['> DAY', '< DAY'],
    ['isRefusal(cause) || this.#isReached', 'isRefusal(cause)'],
    ["note(this.#absence(file), '');", ''],
    ['!(size <= maxSize(file))', 'false'],
  ]),
  ...mutants('src/files/http.ts', 'hub.test', undefined, [
    ['Math.min(at - from, part.value.length)', '0'],
    ['wait > MAX_WAIT * 1000', 'false'],
    ['at > most', 'at > 2 * most'],
  ]),
  ...mutants('programs/convert.ts', 'checkpoint.test', 'nothing', [["process.once('exit', remove);", '']]),
  // The metric
  // Files of questions
  ...mutants('programs/explain/microscope.ts', 'microscope.test', undefined, [
    ['[x, token] : [alone, 0]', '[x, 0] : [alone, 0]'],
    ['zeroPoint[0]! * weightSum', 'zeroPoint[0]!'],
    ['data[token * slide.x.shape[1]! + feature] = value;', ''],
  ]),
  ...mutants('programs/lines.ts', 'answer.test', 'wherever the chunks end|blank lines', [
    ['      parts = [];\n', ''],
    ['byte === 0x0d', 'byte === 0x0c'],
  ]),
  ...mutants('programs/answer.ts', 'answer.test', 'other options|any byte', [
    ['last !== answered.text', 'false'],
    ['let { lines, failed } = before;', 'let { lines, failed } = NOTHING;'],
  ]),
  ...mutants('bench/pool.ts', 'answer.test', 'a pool lends', [['this.#waiting.shift()', 'this.#waiting.pop()']]),
  ...mutants('bench/squad/run.ts', 'evaluate.test', 'milliseconds of answers', [
    ['Math.max(begin, ended)', 'begin'],
    ['windows = done;', 'windows++;'],
  ]),
  ...mutants('bench/squad/metric.ts', 'squad', undefined, [
    ['if (sum > most)', 'if (sum >= most)'],
    ['left.set(word, count - 1);', ''],
    ['noAnswerScore <= threshold', 'noAnswerScore < threshold'],
  ]),
  // Files of people, and what programs write
  ...mutants('bench/files.ts', 'files.test', 'text', [
    ['text.length * 2', 'text.length'],
    ["text.indexOf('\\0')", '-1'],
  ]),
  ...mutants('programs/write.ts', 'files.test', 'output', [
    ['if (there && !there.isFile())', 'if (false)'],
    ['if (there) chmodSync(part, there.mode);', ''],
  ]),
  ...mutants('bench/squad/predictions.ts', 'evaluate.test', 'predictions', [
    ['if (isRunning(owner))', 'if (false)'],
    ['.every(Number.isFinite)', '.every(() => true)'],
  ]),
  ...mutants('programs/main.ts', 'cli.test', 'a full disk', [['fstatSync(fd).isFile()', 'false']]),
  ...mutants('programs/progress.ts', 'cli.test', 'a signal', [["process.once('exit', stop);", '']]),
  ...mutants('src/index.ts', 'load.test', 'a signal', [
    ['loading.then((qa) => qa.dispose())', 'loading'],
    ['unlessAborted(loading, signal)', 'loading'],
  ]),
  ...mutants('src/files/http.ts', 'hub.test', 'a signal ends a download', [['...(signal ? [signal] : [])', '']]),
];

/** Copies what was built of the unbroken product. */
function copyBuilt(copy: string): void {
  for (const folder of ['dist', 'wasm']) cpSync(join(ROOT, folder), join(copy, folder), { recursive: true });
}

/** Copies the tree to a folder for temporary files, with the packages and what was built. */
function copyTree(): string {
  const copy = mkdtempSync(join(tmpdir(), 'bertlet-mutants-'));
  const list = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { cwd: ROOT, encoding: 'utf8' });
  for (const file of list.split('\n').filter(Boolean)) {
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    cpSync(join(ROOT, file), join(copy, file));
  }
  copyBuilt(copy);
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  return copy;
}

/** Builds what src has as text in the copy: the CPU's kernels where they changed, and the assets. */
async function buildCopy(copy: string, kernels: boolean): Promise<void> {
  for (const name of kernels ? VARIANTS : []) await buildKernels(join(copy, 'kernels'), join(copy, 'wasm'), name);
  await writeAssets(copy);
}

/** Runs the test that must fail: true where it passes. `failed` is the title of the first test that does not. */
function runTest(copy: string, { test, title }: Mutant): { passed: boolean; failed: string } {
  const args = ['vitest', 'run', `test/${test}`, '--bail', '1', '--reporter', 'json', ...(title ? ['-t', title] : [])];
  const { stdout, stderr } = spawnSync('npx', args, { cwd: copy, encoding: 'utf8', maxBuffer: 2 ** 28 });
  const begin = stdout.indexOf('{"num');
  if (begin < 0) throw new Error(`${test}: no result\n${stdout}\n${stderr}`);
  const { numPassedTests, success, testResults } = JSON.parse(stdout.slice(begin, stdout.lastIndexOf('}') + 1)) as {
    numPassedTests: number;
    success: boolean;
    testResults: { name: string; message: string; assertionResults: { status: string; fullName: string }[] }[];
  };
  if (success && numPassedTests === 0) throw new Error(`${test}, ${title}: expected tests of this title, got none`);
  const failures = testResults.flatMap((file) => file.assertionResults.filter(({ status }) => status === 'failed'));
  const start = testResults.find(({ message }) => message)?.message.split('\n')[0] ?? 'no message';
  return { passed: success, failed: failures[0]?.fullName.trim() || `before the first test: ${start}` };
}

async function run(): Promise<void> {
  const only = process.argv.slice(2);
  const chosen = MUTANTS.filter(({ file, from }) => only.every((text) => file.includes(text) || from.includes(text)));
  for (const { file, from } of chosen) {
    if (readFileSync(join(ROOT, file), 'utf8').split(from).length === 2) continue;
    throw new Error(`${file}: expected ${from} once, got a file without, or with more of it`);
  }
  const copy = copyTree();
  let survived = 0;
  try {
    const sound = new Map(chosen.map((mutant) => [`${mutant.test} ${mutant.title}`, mutant]));
    for (const [name, mutant] of sound) {
      const { passed, failed } = runTest(copy, mutant);
      if (!passed)
        throw new Error(`${name}: expected a test that passes on the unbroken product, but it fails: ${failed}`);
    }
    for (const mutant of chosen) {
      const path = join(copy, mutant.file);
      const original = readFileSync(path, 'utf8');
      writeFileSync(
        path,
        original.replace(mutant.from, () => mutant.to),
      );
      await buildCopy(copy, mutant.file.endsWith('.wasm.ts'));
      const { passed, failed } = runTest(copy, mutant);
      if (passed) survived++;
      console.log(`${mutant.file}: ${mutant.from} -> ${mutant.to}: ${passed ? '**survived**' : failed}`);
      writeFileSync(path, original);
      copyBuilt(copy);
    }
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
  console.log(`\n${chosen.length} mutants, ${survived} survived`);
  process.exitCode = survived > 0 ? 1 : 0;
}

if (import.meta.main) await run();
