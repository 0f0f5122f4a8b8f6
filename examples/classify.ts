/**
 * A label for each text: BertForSequenceClassification. The row of [CLS] goes through the pooler, tanh, a linear and softmax.
 * `npx node examples/classify.ts FOLDER TEXT ...`; int8 is one word: 'accurate' instead of 'fp32'.
 */
import { Bert, openCheckpoint, openRuntime, weightsOf } from 'bertlet/tensor';

/** The probabilities of the labels, for each text. */
export async function classify(folder: string, texts: readonly string[], precision: 'fp32' | 'accurate' = 'fp32') {
  const checkpoint = await openCheckpoint(folder, { head: ['bert.pooler.dense', 'classifier'] });
  await using rt = await openRuntime('cpu');
  const bert = new Bert(rt, checkpoint.config, weightsOf(checkpoint, precision));
  checkpoint.close();
  const { 'bert.pooler.dense': pooler, classifier } = bert.head;
  const probabilities: number[][] = [];
  for (const text of texts) {
    const ids = Int32Array.from(checkpoint.tokenizer.encode(`[CLS] ${text} [SEP]`).ids);
    const states = bert.encode(ids, new Int32Array(ids.length)); // [tokens, hidden]
    const first = rt.rows(states, Int32Array.of(0)); // [1, hidden], the row of [CLS]
    const pooled = rt.linear(first, pooler!, 'tanh'); // [1, hidden] -> same
    const logits = rt.linear(pooled, classifier!); // [1, hidden] -> [1, labels]
    probabilities.push([...(await rt.read(rt.softmax(logits)))]);
  }
  return probabilities;
}

if (import.meta.main) {
  const [folder = '', ...texts] = process.argv.slice(2);
  for (const [i, row] of (await classify(folder, texts)).entries()) {
    console.log(`${texts[i]}: ${row.map((p) => p.toFixed(3)).join(' ')}`);
  }
}
