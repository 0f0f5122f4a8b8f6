/**
 * A label for each token: BertForTokenClassification, as for names of people and places.
 * `npx node examples/tokens.ts FOLDER TEXT`; int8 is one word: 'accurate' instead of 'fp32'.
 */
import { Bert, openCheckpoint, openRuntime, weightsOf } from 'bertlet/tensor';

/** The tokens of a text, and for each the number of its label and the logits of all labels. */
export async function label(folder: string, text: string, precision: 'fp32' | 'accurate' = 'fp32') {
  const checkpoint = await openCheckpoint(folder, { head: ['classifier'] });
  await using rt = await openRuntime('cpu');
  const bert = new Bert(rt, checkpoint.config, weightsOf(checkpoint, precision));
  checkpoint.close();
  const { ids, tokens } = checkpoint.tokenizer.encode(`[CLS] ${text} [SEP]`);
  const states = bert.encode(Int32Array.from(ids), new Int32Array(ids.length)); // [tokens, hidden]
  const logits = rt.linear(states, bert.head.classifier!); // [tokens, hidden] -> [tokens, labels]
  const values = await rt.read(logits);
  const labels = logits.shape[1];
  return tokens.map((token, i) => {
    const row = [...values.subarray(i * labels, (i + 1) * labels)];
    return { token, label: row.indexOf(Math.max(...row)), logits: row };
  });
}

if (import.meta.main) {
  const [folder = '', text = ''] = process.argv.slice(2);
  for (const { token, label: found } of await label(folder, text)) console.log(`${token}  ${found}`);
}
