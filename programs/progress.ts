/** Progress bars of downloads and of answers on a terminal; elsewhere nothing. */
import { MultiBar, SingleBar } from 'cli-progress';
import type { LoadOptions } from '../src/index.ts';
import type { Io, Output } from './io.ts';

/** Stops a bar, also where the process ends before: the terminal gets its cursor and its line wrap back. */
export function stopOf(bar: { stop(): void }): () => void {
  const stop = () => {
    process.off('exit', stop);
    bar.stop();
  };
  process.once('exit', stop);
  return stop;
}

/** Made for one load: `onProgress` for it, and `stop` at its end. */
export function progressBars({ stderr }: Io): { onProgress: NonNullable<LoadOptions['onProgress']>; stop: () => void } {
  const format = '{file} {bar} {percentage} % of {megabytes} MB, {eta_formatted} left';
  const multi = new MultiBar({
    format,
    hideCursor: true,
    clearOnComplete: true,
    stream: stderr,
    noTTYOutput: false,
  });
  const bars = new Map<string, SingleBar>();
  return {
    onProgress: ({ file, loaded, total }) => {
      if (!stderr.isTTY) return;
      const megabytes = (total / 2 ** 20).toFixed(0);
      if (!bars.has(file)) bars.set(file, multi.create(total, 0, { file, megabytes }));
      bars.get(file)!.update(loaded);
    },
    stop: stopOf(multi),
  };
}

/** A bar on a terminal: the present step, and how far the program is with all. */
export function stepBar(stream: Output) {
  if (!stream.isTTY) return { onProgress: () => {}, stop: () => {} };
  const format = '{bar} {value}/{total} {what}';
  const bar = new SingleBar({ format, stream, hideCursor: true, clearOnComplete: true });
  bar.start(1, 0, { what: '' });
  return {
    onProgress: (what: string, done: number, total: number) => {
      bar.setTotal(total);
      bar.update(done, { what });
    },
    stop: stopOf(bar),
  };
}

/**
 * How far a program is with its answers, and how fast.
 * @param format cli-progress's, with {count} and {rate}: the answers of this run, all and in a second
 */
export function rateBar(stream: Output, format: string, total: number) {
  const bar = new SingleBar({ format, stream, noTTYOutput: false, clearOnComplete: true, etaBuffer: 200 });
  let [count, begin] = [0, 0];
  return {
    start: (done: number) => {
      begin = performance.now();
      if (stream.isTTY) bar.start(total, done, { count, rate: '-' });
    },
    /** One more answer, which was this part of the total. */
    step: (size = 1) => {
      count++;
      const rate = ((count / (performance.now() - begin)) * 1000).toFixed(1);
      if (stream.isTTY) bar.increment(size, { count, rate });
    },
    stop: stopOf(bar),
  };
}
