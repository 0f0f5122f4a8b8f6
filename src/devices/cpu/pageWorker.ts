/** A worker thread of the CPU device in a page. A file apart from worker.ts, which imports a Node module. */
import { type WorkerData, work } from './threads.ts';

const page = globalThis as unknown as {
  onmessage: (event: { data: WorkerData }) => void;
  postMessage: (message: string) => void;
};
page.onmessage = ({ data }) => work(data, page.postMessage.bind(page));
