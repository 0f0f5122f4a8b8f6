/** Progress bars of downloads on a terminal; elsewhere nothing. */
import { MultiBar, type SingleBar } from 'cli-progress';
import type { LoadOptions } from '../src/index.ts';
import type { Io } from './io.ts';

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
