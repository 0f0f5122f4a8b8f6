/** Refuses an old Node with a clear message. Every entry point (index.ts, tensor.ts) imports this file first. */
import { BertletError } from './errors.ts';

/** @throws BertletError `device` below Node 22.18: WebAssembly features and `ArrayBuffer.transfer` need it */
export function checkNode(version: string | undefined): void {
  if (version === undefined) return; // a page
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > 22 || (major === 22 && minor >= 18)) return;
  throw new BertletError('device', `bertlet: expected Node 22.18 or newer, got ${version}. Update Node.`);
}

checkNode(globalThis.process?.versions?.node);
