/** Streams that a program reads and writes; `process` is one. */
import type { Readable } from 'node:stream';

export interface Io {
  readonly stdin: Readable;
  readonly stdout: Output;
  readonly stderr: Output;
}

export type Output = NodeJS.WritableStream & { readonly isTTY?: boolean };

/** Prints a line. */
export const printer = (stream: Output) => (text: string) => void stream.write(`${text}\n`);
