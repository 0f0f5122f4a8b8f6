/**
 * Passages in the order in which they fit a question: a cross-encoder, BertForSequenceClassification with one label. All pairs
 * run as one batch. `npx node examples/rerank.ts FOLDER QUESTION PASSAGE ...`; int8 is one word: 'accurate' instead of 'fp32'.
 */
import { Bert, openCheckpoint, openRuntime, weightsOf } from 'bertlet/tensor';

/** The score of each passage, the higher the better. */
export async function scores(
  folder: string,
  question: string,
  passages: readonly string[],
  precision: 'fp32' | 'accurate' = 'fp32',
): Promise<number[]> {
  const checkpoint = await openCheckpoint(folder, { head: ['bert.pooler.dense', 'classifier'] });
  await using rt = await openRuntime('cpu');
  const bert = new Bert(rt, checkpoint.config, weightsOf(checkpoint, precision));
  checkpoint.close();
  const { 'bert.pooler.dense': pooler, classifier } = bert.head;
  const pairs = passages.map((passage) => checkpoint.tokenizer.encodePair(question, passage));
  const ids = Int32Array.from(pairs.flatMap((pair) => pair.ids)); // all pairs, one after another
  const typeIds = Int32Array.from(pairs.flatMap((pair) => pair.typeIds));
  const lengths = pairs.map((pair) => pair.ids.length);
  const states = bert.encode(ids, typeIds, lengths); // [tokens of all, hidden]
  const starts = Int32Array.from(states.sequences, ({ first }) => first);
  const pooled = rt.linear(rt.rows(states, starts), pooler!, 'tanh'); // [pairs, hidden]
  return [...(await rt.read(rt.linear(pooled, classifier!)))]; // [pairs, 1]
}

if (import.meta.main) {
  const [folder = '', question = '', ...passages] = process.argv.slice(2);
  const found = await scores(folder, question, passages);
  const order = [...found.keys()].sort((a, b) => found[b]! - found[a]!);
  for (const i of order) console.log(`${found[i]!.toFixed(3)}  ${passages[i]}`);
}
