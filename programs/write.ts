/** Files that programs write. */
import { chmodSync, lstatSync, mkdirSync, realpathSync, renameSync, rmSync, type Stats, writeFileSync } from 'node:fs';
import { access, constants, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { BertletError } from '../src/errors.ts';
import type { Io } from './io.ts';

/** Names of what is open already: opened anew, a file would be written from its beginning, over what else is printed there. */
const OPEN = /^\/(?:dev|proc\/self)\/(?:fd\/(\d+)|(stdout)|(stderr))$/;

/** Where a path leads: to what is open, to a file that is replaced or made, or to what is there and is no regular file. */
type Target = { descriptor: number } | { file: string; there: Stats | undefined };

function targetOf(path: string): Target {
  const [open, number, stdout] = OPEN.exec(path) ?? [];
  if (open) return { descriptor: number ? Number(number) : stdout ? 1 : 2 };
  try {
    const file = realpathSync(path); // a link stays one, and the file that it names is replaced
    return { file, there: lstatSync(file) };
  } catch {
    return { file: path, there: lstatSync(path, { throwIfNoEntry: false }) }; // a link to nothing is there
  }
}

/** Refuses what cannot be written, before the work and not after it. @throws BertletError `file` for a folder; an error of the file system */
export async function checkWritable(path: string): Promise<void> {
  const target = targetOf(path);
  if ('descriptor' in target) return;
  if (target.there?.isDirectory()) throw new BertletError('file', `${path}: expected a file, got a folder.`);
  if (!target.there || target.there.isFile()) await access(dirname(target.file), constants.W_OK);
  if (target.there) await access(path, constants.W_OK).catch(ignoreMissing);
}
const ignoreMissing = (error: NodeJS.ErrnoException) => {
  if (error.code !== 'ENOENT') throw error; // a link to nothing can be written
};

/**
 * Writes a text. A regular file appears with its folder, or is replaced, whole or not at all; what is none (a pipe, a device, what
 * is open already) is written into.
 */
export async function writeWhole(
  path: string,
  text: string,
  { stdout, stderr }: Pick<Io, 'stdout' | 'stderr'> = process,
) {
  const target = targetOf(path);
  if ('descriptor' in target) {
    const stream = [undefined, stdout, stderr][target.descriptor];
    if (stream) stream.write(text);
    else writeFileSync(target.descriptor, text);
    return;
  }
  const { file, there } = target;
  if (there && !there.isFile()) return writeFile(file, text); // it waits where a pipe waits for its reader
  mkdirSync(dirname(file), { recursive: true });
  const part = `${file}.${process.pid}.part`;
  try {
    writeFileSync(part, text); // at once: a signal comes before it or after it
    if (there) chmodSync(part, there.mode);
    renameSync(part, file);
  } catch (error) {
    rmSync(part, { force: true });
    throw error;
  }
}
