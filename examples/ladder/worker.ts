/** A thread of step 7: sleeps until there is a product, multiplies with the others, and says that it is done. */
import { parentPort, workerData } from 'node:worker_threads';
import { DONE, END, instantiate, PRODUCT, type Shared, wordsOf } from './wasm.ts';

const { multiply } = instantiate(workerData as Shared);
const words = wordsOf(workerData as Shared);
parentPort!.postMessage('ready');
for (let product = 0; ; ) {
  Atomics.wait(words, PRODUCT, product);
  product = Atomics.load(words, PRODUCT);
  if (product === END) break;
  multiply();
  Atomics.add(words, DONE, 1);
  Atomics.notify(words, DONE);
}
