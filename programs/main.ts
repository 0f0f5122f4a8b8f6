#!/usr/bin/env node
/** The command `bertlet`: one program for each of `npm run qa`, `convert`, ... Exit codes: 0 done, 1 error, 2 usage. */
import { realpathSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { VERSION } from '../bench/version.ts';
import { BertletError } from '../src/errors.ts';
import { addCommands } from './commands.ts';
import type { Io } from './io.ts';

/**
 * Runs `bertlet` with these arguments: `main(['qa', '--json'])`. It writes to `io` alone, and leaves the process as it was.
 * @returns the exit code; what is no error of ours is thrown
 */
export async function main(argv: readonly string[], io: Io = process): Promise<number> {
  // Commands made with `program.command()` inherit how errors are shown, where they go and where they end.
  const program = new Command('bertlet')
    .description('BERT question answering with dynamic int8 quantization, on the CPU and the GPU.')
    .version(VERSION)
    .showHelpAfterError()
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
    io.stderr.write(`${error.name}${'code' in error ? ` (${error.code})` : ''}: ${error.message}\n`);
    return 1;
  }
}

// Started as a program, maybe by npx through a link, and not imported. Node 22 has no `import.meta.main`.
if (process.argv[1] && realpathSync(process.argv[1]) === import.meta.filename) {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error; // who reads has enough, as `head` has: the work goes on to its end
    });
  }
  process.exitCode = await main(process.argv.slice(2));
}
