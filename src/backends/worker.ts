/** A thread of the CPU backend, in Node (worker_threads) or a page (Web Worker). */
import { type WorkerData, work } from './threads.ts';

if (typeof process === 'object' && process.versions?.node) {
  const { parentPort, workerData } = await import('node:worker_threads');
  work(workerData as WorkerData, () => parentPort!.postMessage('ready'));
} else {
  const page = globalThis as unknown as {
    onmessage: (event: { data: WorkerData }) => void;
    postMessage: (message: string) => void;
  };
  page.onmessage = ({ data }) => work(data, () => page.postMessage('ready'));
}
