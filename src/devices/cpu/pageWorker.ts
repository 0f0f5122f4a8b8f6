/** A thread of the CPU backend in a page: a file of its own, so that bundlers need not know of Node's. */
import { type WorkerData, work } from './threads.ts';

const page = globalThis as unknown as {
  onmessage: (event: { data: WorkerData }) => void;
  postMessage: (message: string) => void;
};
page.onmessage = ({ data }) => work(data, () => page.postMessage('ready'));
