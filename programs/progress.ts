/** Progress bars on a terminal. Elsewhere they show nothing, as cli-progress does by itself. */
import { SingleBar } from 'cli-progress';
import type { OnProgress } from '../src/index.ts';
import type { Io, Output } from './io.ts';

/** A bar, and `stop` for its end; also where the process ends before, the terminal gets its cursor and its line wrap back. */
function barOf(stream: Output, format: string): { bar: SingleBar; stop: () => void } {
  const bar = new SingleBar({ format, stream, hideCursor: true, clearOnComplete: true, etaBuffer: 200 });
  const stop = () => {
    process.off('exit', stop);
    bar.stop();
  };
  process.once('exit', stop);
  return { bar, stop };
}

/** Runs a load, and shows the file that is downloaded or read. */
export async function showLoad<T>({ stderr }: Io, load: (onProgress: OnProgress) => Promise<T>): Promise<T> {
  const { bar, stop } = barOf(stderr, '{file} {bar} {percentage} % of {megabytes} MB, {eta_formatted} left');
  let shown: string | undefined;
  const onProgress: OnProgress = ({ file, loaded, total }) => {
    if (file !== shown) bar.start(total, 0, { file, megabytes: (total / 2 ** 20).toFixed(0) });
    shown = file;
    bar.update(loaded);
  };
  try {
    return await load(onProgress);
  } finally {
    stop();
  }
}

/** The present step, and how far the program is with all. */
export function stepBar({ stderr }: Io) {
  const { bar, stop } = barOf(stderr, '{bar} {value}/{total} {what}');
  bar.start(1, 0, { what: '' });
  const onProgress = (what: string, done: number, total: number) => {
    bar.setTotal(total);
    bar.update(done, { what });
  };
  return { onProgress, stop };
}

/**
 * How far a program is with its answers, and how fast.
 * @param format cli-progress's, with {count} and {rate}: the answers of this run, all and in a second
 */
export function rateBar({ stderr }: Io, format: string, total: number) {
  const { bar, stop } = barOf(stderr, format);
  let [count, begin] = [0, 0];
  const start = (done: number) => {
    begin = performance.now();
    bar.start(total, done, { count, rate: '-' });
  };
  /** One more answer, which was this part of the total. */
  const step = (size = 1) => {
    count++;
    bar.increment(size, { count, rate: ((count / (performance.now() - begin)) * 1000).toFixed(1) });
  };
  return { start, step, stop };
}
