/** Sentence embeddings: the embedded checkpoint's encoder, the mean over the tokens, cosines. `node examples/embeddings.ts` */
import { Bert, openCheckpoint, openRuntime, weightsOf } from 'bertlet/tensor';

const SENTENCES = [
  'The ferry to the island leaves at noon.',
  "At twelve o'clock the boat sails for the isle.",
  'Our cat refuses to eat boiled carrots.',
];

const checkpoint = await openCheckpoint(new URL('../weights/minilm-l6-qa', import.meta.url).pathname);
await using runtime = await openRuntime('cpu');
const bert = new Bert(runtime, checkpoint.config, weightsOf(checkpoint, 'fp32'));
checkpoint.close();

/** The mean of the last layer's hidden states over the tokens: [hidden] */
export async function embed(sentence: string): Promise<number[]> {
  const ids = Int32Array.from(checkpoint.tokenizer.encode(`[CLS] ${sentence} [SEP]`).ids);
  const states = await runtime.read(bert.encode(ids, new Int32Array(ids.length))); // [tokens, hidden]
  const { hidden } = checkpoint.config;
  return Array.from({ length: hidden }, (_, i) => {
    let sum = 0;
    for (let token = 0; token < ids.length; token++) sum += states[token * hidden + i]!;
    return sum / ids.length;
  });
}

export function cosine(a: number[], b: number[]): number {
  const dot = (x: number[], y: number[]) => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

export const embeddings = await Promise.all(SENTENCES.map(embed));
for (const [i, j] of [
  [0, 1],
  [0, 2],
  [1, 2],
] as const) {
  console.log(`${cosine(embeddings[i]!, embeddings[j]!).toFixed(4)}  ${SENTENCES[i]} | ${SENTENCES[j]}`);
}
