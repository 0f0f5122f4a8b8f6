/** A worker thread of the CPU device in Node. */
import { parentPort, workerData } from 'node:worker_threads';
import { type WorkerData, work } from './threads.ts';

work(workerData as WorkerData, (word) => parentPort!.postMessage(word));
