/** The lines of `bertlet answer`: how they are read, what is answered to one, and how far an output file is. */
import { createReadStream } from 'node:fs';
import type { Pool } from '../bench/pool.ts';
import { BertletError, inputError, messageOf } from '../src/errors.ts';

/** A line of a stream, from 1. */
export interface Line {
  readonly number: number;
  /** Without its end. */
  readonly bytes: Buffer;
  /** Whether it has an end: the last may have none. */
  readonly whole: boolean;
}

/**
 * The lines of a stream, as bytes. Not Node's readline: it also ends lines at U+2028 and U+2029, which JSON's strings
 * may hold, and replaces bytes that are no UTF-8.
 */
export async function* linesOf(stream: AsyncIterable<Uint8Array | string>): AsyncGenerator<Line> {
  let number = 0;
  let parts: Buffer[] = []; // of a line that goes over several chunks
  const line = (whole: boolean): Line => ({ number: ++number, bytes: Buffer.concat(parts), whole });
  for await (const read of stream) {
    const chunk = Buffer.from(read as Uint8Array);
    let begin = 0;
    for (let end = chunk.indexOf('\n'); end >= 0; end = chunk.indexOf('\n', begin)) {
      parts.push(chunk.subarray(begin, end));
      yield line(true);
      parts = [];
      begin = end + 1;
    }
    if (begin < chunk.length) parts.push(chunk.subarray(begin));
  }
  if (parts.length > 0) yield line(false);
}

/** The lines that hold something: blank ones, of spaces and what Windows ends lines with, ask nothing. */
export async function* questionLines(stream: AsyncIterable<Uint8Array | string>): AsyncGenerator<Line> {
  const isSpace = (byte: number) => byte === 0x20 || byte === 0x09 || byte === 0x0d;
  for await (const line of linesOf(stream)) if (!line.bytes.every(isSpace)) yield line;
}

/** Question of a line. */
type Asked = { readonly question: string } & (
  | { readonly context: string; readonly contexts?: undefined }
  | { readonly contexts: readonly string[]; readonly context?: undefined }
);

const UTF8 = new TextDecoder('utf-8', { fatal: true });
/** ES2026, which TypeScript's library does not have: `source`, and what JSON.stringify writes as it stands. */
const { rawJSON } = JSON as unknown as { rawJSON: (text: string) => unknown };
/** A number as an id keeps its digits, which may be more than a float64 has. */
const keepDigits = (key: string, value: unknown, { source }: { source?: string } = {}) =>
  key === 'id' && typeof value === 'number' ? rawJSON(source!) : value;

/** The error for a line of a file. */
const wrong = (place: string, expected: string, got: string) =>
  new BertletError('file', `${place}: expected ${expected}, got ${got}.`);

/** @throws BertletError where the line, at this place, is no JSON object in UTF-8: `input`, or `file` of an output */
function objectOf(bytes: Buffer, place: string, refuse: typeof wrong = inputError): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(UTF8.decode(bytes), keepDigits);
  } catch (error) {
    throw refuse(place, 'JSON in UTF-8', messageOf(error));
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw refuse(place, 'a JSON object', Array.isArray(value) ? `an array of ${value.length}` : String(value));
}

/** @throws BertletError `input` where a field is missing or has another type; fields of other names are let pass */
function askedOf({ question, context, contexts }: Record<string, unknown>): Asked {
  const isText = (value: unknown): value is string => typeof value === 'string';
  const typeOf = (value: unknown) =>
    value === undefined ? 'nothing' : Array.isArray(value) ? `an array of ${value.length}` : typeof value;
  if (!isText(question)) throw inputError('question', 'a string', typeOf(question));
  if (contexts === undefined) {
    if (isText(context)) return { question, context };
    throw inputError('context', 'a string', typeOf(context), 'Or give `contexts`, an array of strings.');
  }
  if (context !== undefined) throw inputError('context', 'nothing beside `contexts`', typeOf(context));
  if (Array.isArray(contexts) && contexts.length > 0 && contexts.every(isText)) return { question, contexts };
  throw inputError('contexts', 'an array of strings, one or more', typeOf(contexts));
}

export interface AnswerOptions {
  readonly topK: number;
  readonly threshold: number;
}

/** An output line, without its end. `failed`: it has an error instead of answers. */
export interface Answered {
  readonly text: string;
  readonly failed: boolean;
}

/**
 * Answers a line. What is wrong with the line becomes a line of its own.
 * @throws what the model throws when the fault is not the line's
 */
export async function answerLine(pool: Pool, line: Line, { topK, threshold }: AnswerOptions): Promise<Answered> {
  let id: unknown = null;
  try {
    const fields = objectOf(line.bytes, 'line');
    id = fields.id ?? null;
    const asked = askedOf(fields);
    const answers = await pool.use((model) => model.answer({ ...asked, topK, nullThreshold: threshold }));
    return { text: JSON.stringify({ id, answers }), failed: false };
  } catch (error) {
    if (!(error instanceof BertletError && error.code === 'input')) throw error;
    return { text: JSON.stringify({ id, line: line.number, error: error.message }), failed: true };
  }
}

/** How far an output file is. */
export interface Written {
  /** Whole lines. */
  readonly lines: number;
  /** Lines with an error. */
  readonly failed: number;
  /** Length of the whole lines: what follows was torn when the process was killed. */
  readonly bytes: number;
  /** The last whole line. */
  readonly last: string | null;
}

export const NOTHING: Written = { lines: 0, failed: 0, bytes: 0, last: null };

/** @throws BertletError `file` where the file has a line that `answer` does not write; an error of the file system */
export async function writtenOf(path: string): Promise<Written> {
  let written = NOTHING;
  for await (const { bytes, number, whole } of linesOf(createReadStream(path))) {
    const place = `${path}: line ${number}`;
    if (!whole && '{"id":'.startsWith(bytes.toString('utf8', 0, 6))) break; // torn by the kill
    const fields = objectOf(bytes, place, wrong);
    if (!('answers' in fields || 'error' in fields)) throw wrong(place, 'an answer or an error', 'neither');
    const failed = written.failed + Number('error' in fields);
    written = { lines: number, failed, bytes: written.bytes + bytes.length + 1, last: bytes.toString() };
  }
  return written;
}
