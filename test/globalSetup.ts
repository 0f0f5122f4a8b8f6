/** What the processes of the tests have in their environment. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { driverEnvironment } from '../scripts/driver.ts';

/** A GPU driver: SwiftShader, or the machine's own where BERTLET_ADAPTER is set. */
export default function setup(): void {
  if (process.env.BERTLET_ADAPTER) return;
  const poll = pathToFileURL(join(import.meta.dirname, 'dawnPoll.mjs'));
  const options = `${process.env.NODE_OPTIONS ?? ''} --import=${poll}`;
  Object.assign(process.env, driverEnvironment(), { NODE_OPTIONS: options.trim() });
}
