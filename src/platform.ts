/** Differences between Node and a page. */
import { BertletError } from './errors.ts';

/** Whether this is Node and not a page. */
export const inNode = typeof process === 'object' && Boolean(process.versions?.node);

/** Node: whether a process of this number runs on this machine. What a dead one left unfinished may be removed. */
export function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'; // another user's
  }
}

/**
 * Reads a file of this package: from disk in Node, with fetch in a page.
 * @throws BertletError `device` if the file cannot be read
 */
export async function readAsset(url: URL): Promise<Uint8Array<ArrayBuffer>> {
  try {
    if (inNode) {
      const { readFile } = await import('node:fs/promises');
      return new Uint8Array(await readFile(url));
    }
    const response = await fetch(url);
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  } catch (cause) {
    const got = `none (${(cause as Error).message})`;
    throw new BertletError('device', `kernels: expected ${url.href}, got ${got}. Run \`npm run build\`.`, { cause });
  }
}
