/** Collects the message of every BertletError that a test file provokes: with BERTLET_MESSAGES=1, in test-output/messages.txt. */
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll } from 'vitest';

const FOLDER = join(import.meta.dirname, '..', 'test-output');
const messages = new Set<string>();
// Before src/errors.ts is loaded, whose class takes this for its base.
globalThis.Error = new Proxy(Error, {
  construct(base, args, made) {
    if (made.name === 'BertletError') messages.add(String(args[0]).replace(/\/tmp\/[\w-]+/g, '/tmp/...'));
    return Reflect.construct(base, args, made);
  },
});
afterAll(() => {
  mkdirSync(FOLDER, { recursive: true });
  appendFileSync(join(FOLDER, 'messages.txt'), [...messages].map((message) => `${message}\n`).join(''));
});
