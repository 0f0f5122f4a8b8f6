#!/usr/bin/env node
/** The command `bertlet`: one program for each of `npm run qa`, `convert`, ... Exit codes: 0 done, 1 error, 2 usage. */
import { fstatSync, realpathSync, writeFileSync } from 'node:fs';
import * as http from 'node:http';
import { Writable } from 'node:stream';
import { Command, CommanderError } from 'commander';
import { VERSION } from '../bench/version.ts';
import { BertletError, printable } from '../src/errors.ts';
import { addCommands } from './commands.ts';
import type { Io, Output } from './io.ts';

const SEE_HELP = 'See --help.';

/**
 * Runs `bertlet` with these arguments: `main(['qa', '--json'])`. It writes to `io` alone, and leaves the process as it was.
 * @returns the exit code; what is no error of ours is thrown
 */
export async function main(argv: readonly string[], io: Io = process): Promise<number> {
  // Commands made with `program.command()` inherit how errors are shown, where they go and where they end.
  const program = new Command('bertlet')
    .description('BERT question answering with dynamic int8 quantization, on the CPU and the GPU.')
    .version(VERSION)
    .showHelpAfterError(SEE_HELP)
    .configureOutput({ writeOut: (text) => io.stdout.write(text), writeErr: (text) => io.stderr.write(text) })
    .exitOverride();
  addCommands(program, io, argv);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // it has printed its message
    const known = error instanceof BertletError || (error instanceof Error && 'syscall' in error);
    if (!known) throw error;
    return tell(error, io);
  }
}

/** Says what went wrong. Returns the exit code. */
function tell(error: Error & { code?: unknown }, { stderr }: Pick<Io, 'stderr'>): number {
  if (error.code === 'EPIPE') return 0; // who reads has enough, as `head` has
  const wrongCall = error.code === 'input';
  const known = error instanceof BertletError;
  const name = wrongCall || !known ? 'error' : `${error.name} (${error.code})`; // as commander says it
  stderr.write(
    `${name}: ${known ? error.message : inWords(error as NodeJS.ErrnoException)}\n${wrongCall ? `${SEE_HELP}\n` : ''}`,
  );
  return wrongCall ? 2 : 1;
}

/** Words for errors of the system whose own words leave people guessing. */
const EXPECTED: Record<string, string> = {
  ENOENT: 'a file or folder, got none of this name. Check the path',
  EISDIR: 'a file, got a folder',
  ENOTDIR: 'a folder, got a file',
  EACCES: 'permission, got none. Check whose it is',
  ENOSPC: 'room on the disk, got none. Make some',
};

/** An error of the system as a sentence: which file it was, and what was wrong with it. */
function inWords(error: NodeJS.ErrnoException): string {
  const { code = '', path = 'output', message } = error;
  const [, words = message] = /^\w+: (.*?)(?:, \w+(?: '.*)?)?$/.exec(message) ?? [];
  return printable(`${path}: ${EXPECTED[code] ? `expected ${EXPECTED[code]}` : words}.`);
}

/**
 * Has a signal end this process as it would have, after all that listens to its end is heard: cursors, processes, folders.
 * Other listeners of the signal come first.
 */
function endBySignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    // Not SIGHUP: nohup has a process ignore it, and a listener would not.
    process.on(signal, () =>
      process.nextTick(() => {
        process.once('exit', () => {
          process.removeAllListeners(signal);
          process.kill(process.pid, signal);
        });
        process.exit();
      }),
    );
  }
}

/** Has fetch go by HTTPS_PROXY, as other programs do, here and in the processes that this one starts. Node 22 cannot be told. */
function goByProxy(): void {
  if (!('setGlobalProxyFromEnv' in http)) return;
  process.env.NODE_USE_ENV_PROXY = '1';
  http.setGlobalProxyFromEnv();
}

/** A stream of this process. Node's own for a file takes a write that a full disk cut short for a whole one. */
function streamOf(stream: NodeJS.WriteStream & { fd: number }): Output {
  const { fd } = stream;
  const write = (chunk: Buffer, _: unknown, done: (error?: Error) => void) => {
    try {
      writeFileSync(fd, chunk);
      done();
    } catch (error) {
      done(error as Error);
    }
  };
  return !stream.isTTY && fstatSync(fd).isFile() ? new Writable({ write }) : stream;
}

// Started as a program, maybe by npx through a link, and not imported. Node 22 has no `import.meta.main`.
if (process.argv[1] && realpathSync(process.argv[1]) === import.meta.filename) {
  const io = { stdin: process.stdin, stdout: streamOf(process.stdout), stderr: streamOf(process.stderr) };
  // What cannot be written ends the program: nobody would read the rest.
  io.stdout.on('error', (error) => process.exit(tell(error, io) || process.exitCode));
  io.stderr.on('error', () => process.exit());
  endBySignals();
  goByProxy();
  process.exitCode = await main(process.argv.slice(2), io);
}
