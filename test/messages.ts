/**
 * Collects the message of every error for people (BertletError, commander's) that a test provokes: with BERTLET_MESSAGES=1, in
 * test-output/messages.txt. The tests' processes and all that they start import this file.
 */
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

const FOLDER = join(import.meta.dirname, '..', 'test-output');
mkdirSync(FOLDER, { recursive: true });
const written = new Set<string>();
// Before src/errors.ts is loaded, whose class takes this for its base.
globalThis.Error = new Proxy(Error, {
  construct(base, args, made) {
    const message = String(args[0]).replace(/\/tmp\/[\w-]+/g, '/tmp/...');
    if (/^(BertletError|CommanderError)$/.test(made.name) && !written.has(message)) {
      written.add(message);
      try {
        appendFileSync(join(FOLDER, 'messages.txt'), `${message}\n`);
      } catch {} // a test limits the size of its files
    }
    return Reflect.construct(base, args, made);
  },
});
