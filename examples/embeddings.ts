/**
 * Sentence embeddings: the embedded checkpoint's encoder, the mean over the tokens of each sentence, and the cosines of all
 * pairs as one product. A model that was tuned for question answering gives all sentences much in common; what they have in
 * common, the mean of all embeddings, is taken away first (Mu & Viswanath 2018). `node examples/embeddings.ts`
 */
import { Bert, openCheckpoint, openRuntime, weightsOf } from 'bertlet/tensor';

const SENTENCES = [
  'The ferry to the island leaves at noon.',
  "At twelve o'clock the boat sails for the isle.",
  'Our cat refuses to eat boiled carrots.',
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

/** Rows of length 1, whose products are cosines: [n, hidden] -> [n, n] */
async function cosines(rows: Float32Array, n: number): Promise<Float32Array> {
  const hidden = rows.length / n;
  const unit = rows.map((x, i) => x / Math.hypot(...rows.subarray(i - (i % hidden), i - (i % hidden) + hidden)));
  using x = rt.tensor({ shape: [n, hidden], data: unit });
  return rt.read(rt.matmul(x, rt.transpose(x)));
}

export const embeddings = await rt.read(means);
const common = rt.mul(
  rt.mean(means),
  rt.tensor({ shape: [1, means.shape[1]], data: new Float32Array(means.shape[1]).fill(-1) }),
);
export const raw = await cosines(embeddings, SENTENCES.length);
export const centred = await cosines(await rt.read(rt.add(means, common)), SENTENCES.length);
for (const [i, j] of [
  [0, 1],
  [0, 2],
  [1, 2],
] as const) {
  const at = i * SENTENCES.length + j;
  console.log(`${raw[at]!.toFixed(2)}, centred ${centred[at]!.toFixed(2)}:  ${SENTENCES[i]} | ${SENTENCES[j]}`);
}
