/** Imported first by every door: an old Node is told so in one line, instead of failing at the first thing it lacks. */
import { BertletError } from './errors.ts';

/** @throws BertletError `device` below Node 22.18, which the engine's WebAssembly and its arrays' `transfer` need. */
export function checkNode(version: string | undefined): void {
  if (version === undefined) return; // a page
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > 22 || (major === 22 && minor >= 18)) return;
  throw new BertletError('device', `bertlet: expected Node 22.18 or newer, got ${version}. Update Node.`);
}

checkNode(globalThis.process?.versions?.node);
