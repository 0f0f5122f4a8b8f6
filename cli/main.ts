#!/usr/bin/env node
/** The command `bertlet`: one program for each of `npm run qa`, `convert`, ... Exit codes: 0 done, 1 error, 2 usage. */
import { Command, CommanderError } from 'commander';
import { BertletError } from '../src/index.ts';
import { addBench } from './bench.ts';
import { addConvert } from './convert.ts';
import { addEvaluate } from './evaluate.ts';
import { addExplain } from './explain.ts';
import { addQa } from './qa.ts';
import { VERSION } from './version.ts';

/** Commands made with `program.command()` inherit how errors are shown and where they end. */
const program = new Command('bertlet')
  .description('BERT question answering with dynamic int8 quantization, on the CPU and the GPU.')
  .version(VERSION)
  .showHelpAfterError()
  .exitOverride();
for (const add of [addQa, addEvaluate, addConvert, addBench, addExplain]) add(program);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCode(error);
}

/** Says on stderr what is wrong, in one line where it is known. */
function exitCode(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // it has printed its message
  const known = error instanceof BertletError || (error instanceof Error && 'syscall' in error);
  if (!known) throw error;
  console.error(`${error.name}${'code' in error ? ` (${error.code})` : ''}: ${error.message}`);
  return 1;
}
