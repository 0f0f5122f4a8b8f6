/** A worker thread of the CPU device, in Node and in a page. `npm run build` packs it into a text, which workers.ts starts. */
import { type WorkerData, work } from './threads.ts';

const node = globalThis.process?.getBuiltinModule?.('node:worker_threads');
const page = globalThis as unknown as {
  onmessage: (event: { data: WorkerData }) => void;
  postMessage: (message: string) => void;
};
if (node) work(node.workerData as WorkerData, (word) => node.parentPort!.postMessage(word));
else page.onmessage = ({ data }) => work(data, page.postMessage.bind(page));
