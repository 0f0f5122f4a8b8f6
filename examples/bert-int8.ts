/**
 * BERT question answering with PyTorch's dynamic int8 quantization, whole: what
 * `torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)` computes on x86, in one file that
 * imports nothing but the reading of files. Written to be read from top to bottom:
 *
 *   1 tensor   2 checkpoint   3 tokens   4 quantize   5 linear   6 attention   7 layer   8 model   9 answer
 *
 *   npx node examples/bert-int8.ts [int8 | fp32]            the article's question
 *   npx node examples/bert-int8.ts int8 QUESTION PASSAGE    another one, of at most 512 tokens in all
 *
 * Sizes have names; in brackets those of the article's question and weights/minilm-l6-qa: tokens (130), hidden (384),
 * heads (12), headDim = hidden / heads (32), intermediate (1536). Whatever PyTorch keeps in a float32 tensor is float32
 * here, too (an element of a Float32Array, or `fround`); the sums on the way there are JavaScript's float64.
 * So the score in int8 is 0.812 where PyTorch has 0.706: "Two right programs, two scores" in docs/quantization.md.
 */
import { readFileSync } from 'node:fs';

const { abs, exp, floor, fround, max, min, sqrt } = Math;

// ---- 1. Tensor ------------------------------------------------------------------------------------------------------
/** A matrix [rows, columns]: one array, row after row. A vector is [1, columns]. */
export type Tensor = { rows: number; columns: number; data: Float32Array };

/** Makes a tensor, element by element; storing an element rounds it to float32. */
export function tensor(rows: number, columns: number, element: (row: number, column: number) => number): Tensor {
  const data = new Float32Array(rows * columns);
  for (let i = 0; i < data.length; i++) data[i] = element(floor(i / columns), i % columns);
  return { rows, columns, data };
}
const add = (a: Tensor, b: Tensor): Tensor => ({ ...a, data: a.data.map((v, i) => v + b.data[i]!) });

/** sum_k a[i, k] b[j, k], for row i of a and row j of b: the loop of every product here, of floats and of integers. */
function dot(a: Rows, i: number, b: Rows, j: number, begin = 0, end = a.columns): number {
  const [inA, inB] = [i * a.columns, j * b.columns];
  let sum = 0;
  for (let k = begin; k < end; k++) sum += a.data[inA + k]! * b.data[inB + k]!;
  return sum;
}
type Rows = { columns: number; data: ArrayLike<number> };

// ---- 2. Checkpoint --------------------------------------------------------------------------------------------------
/** float16: 1 bit of sign, 5 of exponent (bias 15; 0: no leading 1; 31, infinity, is no weight), 10 of fraction. */
function float16(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
  return bits & 0x8000 ? -size : size;
}

/**
 * Opens a folder as Hugging Face has it: config.json, vocab.txt (a token on each line), and model.safetensors, which is
 *   | bytes of the header: u64 | header, JSON: { name: { dtype, shape, data_offsets: [begin, end] } } | data |
 */
export function openCheckpoint(folder: string) {
  const file = new Uint8Array(readFileSync(`${folder}/model.safetensors`));
  const dataAt = 8 + Number(new DataView(file.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, dataAt)));
  const read = (name: string): Tensor => {
    const { dtype, shape, data_offsets } = header[name];
    const bytes = file.slice(dataAt + data_offsets[0], dataAt + data_offsets[1]).buffer;
    const data = dtype === 'F16' ? Float32Array.from(new Uint16Array(bytes), float16) : new Float32Array(bytes);
    return { rows: shape.length === 1 ? 1 : shape[0], columns: shape.at(-1), data };
  };
  const tokens = readFileSync(`${folder}/vocab.txt`, 'utf8').trimEnd().split('\n');
  const vocabulary: Vocabulary = new Map(tokens.map((token, id) => [token, id]));
  const config = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8'));
  return { config, vocabulary, names: Object.keys(header), read };
}
type Vocabulary = ReadonlyMap<string, number>;

// ---- 3. Tokens ------------------------------------------------------------------------------------------------------
/** A token, and where in the text it stands: text.slice(start, end). */
type Token = { id: number; start: number; end: number };

/** A mark of punctuation or a Chinese character alone, or all that stands between such and spaces. */
const WORDS = /[!-/:-@[-`{-~\p{P}\u4e00-\u9fff]|[^\s!-/:-@[-`{-~\p{P}\u4e00-\u9fff]+/gu;

/** Cuts a word into the longest pieces there are, from the left: [id, begin, end in the word]; else it is unknown. */
function pieces(word: string, vocabulary: Vocabulary): [id: number, begin: number, end: number][] {
  const found: [number, number, number][] = [];
  for (let begin = 0; begin < word.length; ) {
    let end = word.length;
    const piece = () => (begin > 0 ? '##' : '') + word.slice(begin, end);
    while (end > begin && !vocabulary.has(piece())) end--;
    if (end === begin) return [[vocabulary.get('[UNK]')!, 0, word.length]];
    found.push([vocabulary.get(piece())!, begin, end]);
    begin = end;
  }
  return found;
}
/** WordPiece (Wu et al. 2016; BERT's tokenization.py): words in lower case, without accents, each cut into pieces. */
export function tokenize(text: string, vocabulary: Vocabulary): Token[] {
  const tokens: Token[] = [];
  for (const { 0: word, index } of text.matchAll(WORDS)) {
    let plain = '';
    const places: [start: number, end: number][] = []; // where in the text each unit of `plain` comes from
    for (const { 0: char, index: at } of word.matchAll(/./gu)) {
      const apart = char.normalize('NFD').toLowerCase(); // é is now e and an accent
      for (const unit of apart.replace(/\p{Mn}/gu, '').split('')) {
        plain += unit;
        places.push([index + at, index + at + char.length]);
      }
    }
    for (const [id, begin, end] of pieces(plain, vocabulary)) {
      tokens.push({ id, start: places[begin]![0], end: places[end - 1]![1] });
    }
  }
  return tokens;
}

// ---- 4. Quantize: an integer q stands for the number (q - zeroPoint) * scale ----------------------------------------
/** Rounds to the nearest integer, ties to even: at 1.5 * 2^52 a float64 has no bits left for a fraction. */
const round = (x: number): number => x + 1.5 * 2 ** 52 - 1.5 * 2 ** 52;

/**
 * Weights [out, in], once, at load: 8 bits, zero point 0, one scale for all. Source: torch.ao MinMaxObserver.
 *   scale = max |w| / ((127 - -128) / 2)        wq = clamp(round(w / scale), -128, 127)
 */
export function quantizeWeight({ rows, columns, data: weights }: Tensor) {
  const largest = weights.reduce((most, w) => max(most, abs(w)), 0);
  const scale = max(fround(largest / 127.5), 2 ** -23); // 2^-23: a weight of zeros has a scale, too
  const inverse = fround(1 / scale);
  const data = Int8Array.from(weights, (w) => min(127, max(-128, round(fround(w * inverse))))); // [out, in]
  const sums = new Int32Array(rows); // [out]: of each row, for `multiply`
  for (let i = 0; i < data.length; i++) sums[floor(i / columns)]! += data[i]!;
  return { rows, columns, data, scale, sums };
}

/**
 * Activations [tokens, in], at every call: their own range [low, high], 0 included, onto the 7 bits 0..127, so that an
 * integer is exactly 0.0. Sources: ChooseQuantizationParams (ATen, QuantUtils.h; reduce_range), QuantizeAvx2 (fbgemm).
 *   scale = (high - low) / 127        zeroPoint = round(-low / scale)        xq = round(x / scale) + zeroPoint
 */
export function quantizeActivations({ rows, columns, data: x }: Tensor) {
  const low = x.reduce((least, value) => min(least, value), 0);
  const high = x.reduce((most, value) => max(most, value), 0);
  const exact = (high - low) / 127 || 0.1; // zeros have a scale, too; for one below 6.1e-5 see src/quantize.ts
  const [scale, zeroPoint] = [fround(exact), round(-low / exact)];
  const inverse = fround(1 / scale);
  // 128 occurs: the range [-1, 1] has scale 2/127, so 1 / scale and the zero point both are 63.5, and both become 64.
  // Seven bits follow from the scale; the clamp is one to eight.
  const data = Uint8Array.from(x, (v) => min(255, max(0, round(fround(v * inverse)) + zeroPoint))); // [tokens, in]
  return { rows, columns, data, scale, zeroPoint };
}
type QuantizedWeight = ReturnType<typeof quantizeWeight>;

// ---- 5. Linear ------------------------------------------------------------------------------------------------------
/**
 * The product in integers: [tokens, in] x [out, in] -> [tokens, out]. The zero point costs nothing in the loop, since
 *   sum_k (xq_k - zeroPoint) wq_k  =  sum_k xq_k wq_k  -  zeroPoint * sum_k wq_k
 * and the last sum is known before any x is. The fast kernels of bertlet compute these very integers.
 */
export function multiply(x: ReturnType<typeof quantizeActivations>, weight: QuantizedWeight): Int32Array {
  return Int32Array.from({ length: x.rows * weight.rows }, (_, i) => {
    const [t, n] = [floor(i / weight.rows), i % weight.rows];
    return dot(x, t, weight, n) - x.zeroPoint * weight.sums[n]!;
  }); // [tokens, out]
}

/** A linear: weight [out, in], bias [out], in int8 the weight's integers. A LayerNorm: gamma and beta [hidden]. */
export type Weights = { weight: Tensor; bias: Float32Array; int8: QuantizedWeight | null };

/** x weight^T + bias: [tokens, in] -> [tokens, out]. In int8: accumulators * (scale of x * scale of weight) + bias. */
export function linear(x: Tensor, { weight, bias, int8 }: Weights): Tensor {
  if (!int8) return tensor(x.rows, weight.rows, (t, n) => dot(x, t, weight, n) + bias[n]!); // [tokens, out]
  const xq = quantizeActivations(x); // [tokens, in]
  const accumulators = multiply(xq, int8); // [tokens, out]
  const scale = fround(xq.scale * int8.scale);
  return tensor(x.rows, weight.rows, (t, n) => fround(accumulators[t * weight.rows + n]!) * scale + bias[n]!);
}

// ---- 6. Attention ---------------------------------------------------------------------------------------------------
/** exp(x_i - max x) / sum_j exp(x_j - max x): [n] -> [n] */
function softmax(x: Float32Array): Float32Array {
  const largest = x.reduce((a, b) => max(a, b));
  const e = x.map((v) => exp(fround(v - largest)));
  const sum = fround(e.reduce((a, b) => a + b, 0));
  return e.map((v) => v / sum);
}
/** softmax(q k^T / sqrt(headDim)) v of each head (Vaswani et al. 2017, eq. 1): three [tokens, hidden] -> one */
function attention(query: Tensor, key: Tensor, value: Tensor, heads: number): Tensor {
  const { rows: tokens, columns: hidden } = query;
  const headDim = hidden / heads;
  const scale = fround(1 / sqrt(headDim));
  const context = tensor(tokens, hidden, () => 0); // [tokens, hidden]: the heads side by side
  for (let first = 0; first < hidden; first += headDim) {
    for (let from = 0; from < tokens; from++) {
      const score = (to: number) => fround(dot(query, from, key, to, first, first + headDim)) * scale;
      const scores = tensor(1, tokens, (_, to) => score(to)).data; // [tokens]: how much each matters to token `from`
      const shares = softmax(scores); // [tokens], their sum is 1
      for (let i = first; i < first + headDim; i++) {
        let mix = 0;
        for (let to = 0; to < tokens; to++) mix += shares[to]! * value.data[to * hidden + i]!;
        context.data[from * hidden + i] = mix;
      }
    }
  }
  return context;
}

// ---- 7. Layer -------------------------------------------------------------------------------------------------------
/** (v - mean) / sqrt(variance + 1e-12) * gamma + beta of each row v (Ba et al. 2016): [tokens, hidden] -> same */
function layerNorm(x: Tensor, { weight: gamma, bias: beta }: Weights): Tensor {
  const rows = Array.from({ length: x.rows }, (_, t) => {
    const row = x.data.subarray(t * x.columns, (t + 1) * x.columns); // [hidden]
    const mean = row.reduce((sum, v) => sum + v, 0) / x.columns;
    const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.columns;
    const inverse = fround(1 / sqrt(variance + 1e-12));
    return row.map((v) => fround(v - fround(mean)) * inverse); // [hidden]
  });
  return tensor(x.rows, x.columns, (t, i) => rows[t]![i]! * gamma.data[i]! + beta[i]!); // [tokens, hidden]
}

/** The error function by its series of positive terms (Abramowitz & Stegun 7.1.6). */
function erf(x: number): number {
  if (abs(x) > 6) return Math.sign(x);
  let [term, sum] = [x, x];
  for (let n = 1; abs(term) > 1e-17 * abs(sum); n++) sum += term *= (2 * x * x) / (2 * n + 1);
  return (2 / sqrt(Math.PI)) * exp(-x * x) * sum;
}
/** x Phi(x), with Phi the normal distribution (Hendrycks & Gimpel 2016, eq. 1): [tokens, intermediate] -> same */
const gelu = (x: Tensor): Tensor => ({ ...x, data: x.data.map((v) => 0.5 * v * (1 + erf(v * Math.SQRT1_2))) });

/** A layer of BERT (Devlin et al. 2018); `of` finds its weights by name: [tokens, hidden] -> same */
function layer(x: Tensor, of: (name: string) => Weights, heads: number): Tensor {
  const query = linear(x, of('attention.self.query')); // [tokens, hidden], as the next four
  const key = linear(x, of('attention.self.key')); // x is quantized three times, as in PyTorch: to the same integers
  const value = linear(x, of('attention.self.value'));
  const context = linear(attention(query, key, value, heads), of('attention.output.dense'));
  const y = layerNorm(add(context, x), of('attention.output.LayerNorm'));
  const wide = gelu(linear(y, of('intermediate.dense'))); // [tokens, intermediate]
  return layerNorm(add(linear(wide, of('output.dense')), y), of('output.LayerNorm'));
}

// ---- 8. Model -------------------------------------------------------------------------------------------------------
/** Reads what has a bias: linears and LayerNorms. quantize_dynamic makes int8 of each linear, and of nothing else. */
export function loadModel({ names, read }: Checkpoint, precision: 'int8' | 'fp32'): Map<string, Weights> {
  const model = new Map<string, Weights>();
  for (const name of names.filter((each) => each.endsWith('.bias')).map((each) => each.slice(0, -'.bias'.length))) {
    const [weight, bias] = [read(`${name}.weight`), read(`${name}.bias`).data];
    const quantized = precision === 'int8' && !name.endsWith('LayerNorm');
    model.set(name, { weight, bias, int8: quantized ? quantizeWeight(weight) : null });
  }
  return model;
}
type Checkpoint = ReturnType<typeof openCheckpoint>;

/** Ids [tokens] and types [tokens] (0: question, 1: passage) -> the logits of start and end [tokens, 2] */
export function forward(checkpoint: Checkpoint, model: Map<string, Weights>, ids: number[], types: number[]): Tensor {
  const table = (name: string) => checkpoint.read(`bert.embeddings.${name}_embeddings.weight`).data;
  const [word, position, type] = [table('word'), table('position'), table('token_type')]; // [30522 | 512 | 2, hidden]
  const { hidden_size: hidden, num_attention_heads: heads, num_hidden_layers: layers } = checkpoint.config;
  const embedded = tensor(ids.length, hidden, (t, i) => {
    return word[ids[t]! * hidden + i]! + type[types[t]! * hidden + i]! + position[t * hidden + i]!;
  }); // [tokens, hidden]
  let x = layerNorm(embedded, model.get('bert.embeddings.LayerNorm')!); // [tokens, hidden]
  for (let n = 0; n < layers; n++) x = layer(x, (name) => model.get(`bert.encoder.layer.${n}.${name}`)!, heads);
  return linear(x, model.get('qa_outputs')!); // [tokens, 2]
}

// ---- 9. Answer ------------------------------------------------------------------------------------------------------
/** [CLS] question [SEP] passage [SEP] -> ids [tokens], types [tokens], the passage's tokens and where they begin */
export function encode(question: string, passage: string, vocabulary: Vocabulary) {
  const [asked, told] = [tokenize(question, vocabulary), tokenize(passage, vocabulary)];
  const [cls, sep] = [vocabulary.get('[CLS]')!, vocabulary.get('[SEP]')!];
  const ids = [cls, ...asked.map(({ id }) => id), sep, ...told.map(({ id }) => id), sep];
  const first = asked.length + 2;
  return { ids, types: ids.map((_, t) => (t < first ? 0 : 1)), told, first };
}

/** The span of at most 30 tokens with the largest start + end logit; none if [CLS] has as much (Devlin et al., 4.3). */
export function answer({ data: logits }: Tensor, { first, told }: ReturnType<typeof encode>, passage: string) {
  const among = [0, ...told.map((_, i) => first + i)]; // what may be an answer: [CLS] and the passage
  const starts = Float32Array.from(among, (t) => logits[2 * t]!);
  const ends = Float32Array.from(among, (t) => logits[2 * t + 1]!);
  const sum = (i: number, j: number) => starts[i]! + ends[j]!;
  let [start, end] = [0, 0];
  for (let j = 1; j < ends.length; j++) {
    for (let i = max(1, j - 29); i <= j; i++) if (sum(i, j) > sum(start, end)) [start, end] = [i, j];
  }
  const text = end > 0 ? passage.slice(told[start - 1]!.start, told[end - 1]!.end) : '';
  return { text, score: softmax(starts)[start]! * softmax(ends)[end]! }; // the start's probability times the end's
}

const QUESTION = 'What publication printed that the wealthiest 1% have more money than those in the bottom 90%?';
const PASSAGE =
  'According to PolitiFact the top 400 richest Americans "have more wealth than half of all Americans combined." ' +
  'According to the New York Times on July 22, 2014, the "richest 1 percent in the United States now own more wealth ' +
  'than the bottom 90 percent". Inherited wealth may help explain why many Americans who have become rich may have ' +
  'had a "substantial head start". In September 2012, according to the Institute for Policy Studies, "over 60 ' +
  'percent" of the Forbes richest 400 Americans "grew up in substantial privilege".';

if (import.meta.main) {
  const [precision = 'int8', question = QUESTION, passage = PASSAGE] = process.argv.slice(2);
  if (precision !== 'int8' && precision !== 'fp32') throw new Error(`expected int8 or fp32, got ${precision}`);
  const checkpoint = openCheckpoint(`${import.meta.dirname}/../weights/minilm-l6-qa`);
  const encoded = encode(question, passage, checkpoint.vocabulary);
  const logits = forward(checkpoint, loadModel(checkpoint, precision), encoded.ids, encoded.types);
  const { text, score } = answer(logits, encoded, passage);
  console.log(`${precision}: ${text === '' ? 'no answer' : JSON.stringify(text)}, score ${score.toFixed(3)}`);
}
