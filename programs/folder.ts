/** Models that other processes load as well, or that are hashed: their files must be on this machine. */
import { dirname } from 'node:path';
import type { OpenOptions } from '../src/index.ts';
import { filesOf, type HubOptions, openCheckpoint } from '../src/tensor.ts';

/** Downloads a model of the Hub. Returns the folder that has the files of a model, which for one of the Hub is in the cache. */
export async function folderOf(model: string, options: HubOptions & OpenOptions): Promise<string> {
  const { revision, endpoint, onProgress, signal } = options;
  const files = await filesOf(model, { revision, endpoint });
  const { close } = await openCheckpoint(files, { onProgress, signal });
  close();
  const config = (await files.open('config.json'))!;
  config.close();
  return dirname(config.name);
}
