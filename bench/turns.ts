/** Programs that answer lines of JSON, each in a process of its own, and take turns. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { BertletError } from '../src/errors.ts';

export interface Child {
  /** Reads the next line. @throws BertletError `device` where it ends without one */
  next<T>(): Promise<T>;
  /** Writes a line, and reads the answer to it. */
  ask<T>(line: string): Promise<T>;
  /** The last that it wrote on stderr. */
  said(): string;
  /** Ends it, and waits for that. */
  end(): Promise<void>;
}

/** Starts a program; it ends with this process, however that ends. `name` is for errors. */
export function startChild(name: string, file: string, args: string[], env = process.env): Child {
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'], env });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let said = '';
  child.stderr.on('data', (data) => {
    said = `${said}${data}`.slice(-2000);
  });
  child.stdin.on('error', () => {}); // of one that has ended: `next` says so
  const closed = new Promise<string>((resolve) => {
    child.once('error', ({ message }) => resolve(message));
    child.once('close', (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  closed.then(() => process.off('exit', kill));
  const next = async <T>(): Promise<T> => {
    const { value, done } = await lines.next();
    if (!done) return JSON.parse(value) as T;
    const how = await closed;
    throw new BertletError('device', `${name}: expected an answer, got a process that ended (${how}). ${said}`.trim());
  };
  return {
    next,
    ask: (line) => {
      child.stdin.write(`${line}\n`);
      return next();
    },
    said: () => said.trim(),
    end: async () => {
      child.stdin.end();
      await Promise.race([closed, sleep(5000, null, { ref: false }).then(kill)]); // once it has closed, nothing waits
      await closed;
    },
  };
}

/**
 * Has all take turns until none has more to do, so that whatever else happens on the machine happens to all.
 * @param turns each says whether it has more to do
 * @param rest milliseconds between two turns, in which threads that still spin come to rest
 */
export async function takeTurns(turns: (() => Promise<boolean>)[], rest = 100): Promise<void> {
  for (let left = turns; left.length > 0; ) {
    const more: typeof turns = [];
    for (const turn of left) {
      if (await turn()) more.push(turn);
      await sleep(rest);
    }
    left = more;
  }
}
