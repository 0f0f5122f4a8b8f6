/** Models that other processes load as well, or that are hashed: their files must be on this machine. */
import { dirname } from 'node:path';
import { type Checkpoint, filesOf, openCheckpoint } from '../src/tensor.ts';
import type { Io } from './io.ts';
import { showLoad } from './progress.ts';

/**
 * Downloads a model of the Hub. Returns the folder that has the files of a model, which for one of the Hub is in the cache, and
 * the checkpoint, closed: without the values of its tensors.
 */
export async function download(
  model: string,
  io: Io,
  revision?: string,
): Promise<{ folder: string; checkpoint: Checkpoint }> {
  const files = await filesOf(model, { revision });
  const checkpoint = await showLoad(io, (onProgress) => openCheckpoint(files, { onProgress }));
  checkpoint.close();
  const config = (await files.open('config.json'))!;
  config.close();
  return { folder: dirname(config.name), checkpoint };
}
