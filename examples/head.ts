/** A head of one's own: where an answer starts and ends, from the encoder to the tokens. `npx node examples/head.ts` */
import { Bert, openCheckpoint, openRuntime, weightsOf } from 'bertlet/tensor';

const checkpoint = await openCheckpoint(new URL('../weights/minilm-l6-qa', import.meta.url));
await using rt = await openRuntime('cpu'); // or 'webgpu', or 'reference'
const bert = new Bert(rt, checkpoint.config, weightsOf(checkpoint, 'accurate')); // int8; or 'torch', or 'fp32'

const pair = checkpoint.tokenizer.encodePair('Who wrote the program?', 'Ada wrote the first program in 1843.');
const states = bert.encode(Int32Array.from(pair.ids), Int32Array.from(pair.typeIds)); // [tokens, hidden]
const logits = rt.linear(states, bert.head.qa_outputs!); // [tokens, hidden] -> [tokens, 2]
const probabilities = rt.softmax(rt.transpose(logits)); // [2, tokens]: that the answer starts, and ends, at a token
const p = await rt.read(probabilities); // computes what the steps so far have recorded
const largest = (row: Float32Array) => row.indexOf(Math.max(...row));
const [start, end] = [largest(p.subarray(0, pair.ids.length)), largest(p.subarray(pair.ids.length))];
console.log(pair.tokens.slice(start, end + 1).join(' ')); // ada
