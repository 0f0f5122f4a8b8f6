/**
 * Sentence embeddings: the embedded checkpoint's encoder, the mean over the tokens of each sentence, and the cosines of all
 * pairs as one product. A model that was tuned for question answering gives all sentences much in common; what they have in
 * common, the mean of all embeddings, is taken away first (Mu & Viswanath 2018). `npx node examples/embeddings.ts`
 */
import { Bert, openCheckpoint, openRuntime, weightsOf } from 'bertlet/tensor';

const SENTENCES = [
  'The ferry to the island leaves at noon.',
  "At twelve o'clock the boat sails for the isle.",
  'Our cat refuses to eat boiled carrots.',
  'The kitten will not touch cooked vegetables.',
  'Shares of the bank fell by nine percent.',
  'The lender lost a tenth of its value on the stock market.',
];

const checkpoint = await openCheckpoint(new URL('../weights/minilm-l6-qa', import.meta.url));
await using rt = await openRuntime('cpu');
const bert = new Bert(rt, checkpoint.config, weightsOf(checkpoint, 'fp32')); // int8: 'accurate'
checkpoint.close();

const encodings = SENTENCES.map((sentence) => checkpoint.tokenizer.encode(`[CLS] ${sentence} [SEP]`).ids);
const ids = Int32Array.from(encodings.flat()); // all sentences, one after another
const lengths = encodings.map(({ length }) => length);
const states = bert.encode(ids, new Int32Array(ids.length), lengths); // [tokens of all, hidden]
const means = rt.mean(states); // [sentences, hidden]

/** Cosines of all pairs of rows, as one product of rows of length 1: [n, hidden] -> [n, n] */
async function cosines(rows: Float32Array, count: number): Promise<Float32Array> {
  const columns = rows.length / count;
  const lengths = Array.from({ length: count }, (_, i) => Math.hypot(...rows.subarray(i * columns, (i + 1) * columns)));
  const unit = rows.map((x, i) => x / lengths[Math.floor(i / columns)]!);
  using x = rt.tensor({ shape: [count, columns], data: unit });
  return rt.read(rt.matmul(x, rt.transpose(x)));
}

const n = SENTENCES.length;
const [, hidden] = means.shape;
const minusOne = rt.tensor({ shape: [1, hidden], data: new Float32Array(hidden).fill(-1) });
const centredMeans = rt.add(means, rt.mul(rt.mean(means), minusOne)); // each less the mean of all
export const [embeddings, others] = (await rt.read(means, centredMeans)) as [Float32Array, Float32Array];
export const raw = await cosines(embeddings, n);
export const centred = await cosines(others, n);
console.log('cosine  centred');
for (let i = 0; i < n; i++) {
  for (let j = i + 1; j < n; j++) {
    const [a, b] = [raw[i * n + j]!, centred[i * n + j]!];
    console.log(`${a.toFixed(2)}    ${b.toFixed(2).padStart(5)}  ${SENTENCES[i]} | ${SENTENCES[j]}`);
  }
}
