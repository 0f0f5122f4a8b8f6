/**
 * Predictions as they are made, so that a run that was stopped goes on where it was: JSON Lines, only ever appended to.
 * The first line says what the predictions are of; each other line is one answer of one variant.
 */
import { closeSync, fsyncSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { fileError } from '../files.ts';
import type { Prediction } from './metric.ts';

/** An answer, and what it took. */
export interface Answered extends Prediction {
  /** Windows that the passage was cut into. */
  readonly windows: number;
  /** From the strings to the answer, or from the answer before where several are made at the same time. */
  readonly milliseconds: number;
  /** Why the question has no answer of the model: it is empty, or longer than a window. */
  readonly reason?: string | undefined;
}

/** Facts that the predictions depend on; all must be the same for a run to go on. */
export interface Header {
  readonly version: 1;
  readonly dataset: { readonly name: string; readonly sha256: string };
  readonly model: { readonly name: string; readonly sha256: string };
  readonly options: Readonly<Record<string, unknown>>;
}

/** The part of a header that decides: no names, nor the number of threads (older files have it), as all give the same answers. */
const identity = ({ version, dataset, model, options: { threads: _, ...options } }: Header) =>
  ({ version, dataset: dataset.sha256, model: model.sha256, ...options }) as Record<string, unknown>;

export class Predictions {
  readonly #answers = new Map<string, Answered>();
  #file: number | undefined;
  #release = () => {};

  /**
   * Reads what a file has, and appends to it; without a path they are only remembered.
   * @throws BertletError `file` where the file is of something else, no file of predictions, or another run's at this time
   */
  constructor(path: string | undefined, header: Header) {
    if (path === undefined) return;
    this.#release = take(path);
    try {
      this.#open(path, header);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #open(path: string, header: Header): void {
    this.#file = openSync(path, 'a');
    const text = readFileSync(path, 'utf8');
    const whole = text.slice(0, text.lastIndexOf('\n') + 1); // a line that a crash has torn has no end
    if (whole.length < text.length) truncateSync(path, Buffer.byteLength(whole));
    const [first, ...lines] = whole
      .split('\n')
      .slice(0, -1)
      .map((line, i) => parsed(line, `${path}: line ${i + 1}`));
    if (first === undefined) this.#write(header);
    else checkHeader(first, header, path);
    for (const [i, line] of lines.entries()) {
      const { variant, id, ...answered } = Object(line) as { variant: string; id: string } & Answered;
      const { text, noAnswerScore, windows, milliseconds } = answered;
      const strings = [variant, id, text].every((value) => typeof value === 'string');
      if (!strings || ![noAnswerScore, windows, milliseconds].every(Number.isFinite)) {
        throw fileError(`${path}: line ${i + 2}`, 'a prediction with its numbers', JSON.stringify(line).slice(0, 200));
      }
      this.#answers.set(key(variant, id), answered);
    }
  }

  get(variant: string, id: string): Answered | undefined {
    return this.#answers.get(key(variant, id));
  }

  add(variant: string, id: string, { text, noAnswerScore, windows, milliseconds, reason }: Answered): void {
    const answered = { text, noAnswerScore, windows, milliseconds, ...(reason !== undefined && { reason }) };
    this.#answers.set(key(variant, id), answered);
    this.#write({ variant, id, ...answered });
  }

  close(): void {
    if (this.#file !== undefined) {
      fsyncSync(this.#file);
      closeSync(this.#file);
    }
    this.#release();
  }

  /** In one call, and with the operating system when it returns: killed after it, nothing is lost. */
  #write(line: object): void {
    if (this.#file !== undefined) writeFileSync(this.#file, `${JSON.stringify(line)}\n`);
  }
}

/** Takes a file for this process: a second run would answer all questions again. Returns what gives it back. */
function take(path: string): () => void {
  const lock = `${path}.lock`;
  const create = () => writeFileSync(lock, `${process.pid}`, { flag: 'wx' });
  try {
    create();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    const owner = Number(readFileSync(lock, 'utf8'));
    if (isRunning(owner)) {
      const advice = `Wait for its end, or give another file. Where there is no such run, remove ${lock}.`;
      throw fileError(path, 'predictions that no other run writes', `those of process ${owner}`, advice);
    }
    rmSync(lock, { force: true }); // it was killed
    create();
  }
  const release = () => {
    process.off('exit', release);
    rmSync(lock, { force: true });
  };
  process.once('exit', release);
  return release;
}

/** Also where the process is another user's. */
function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

const key = (variant: string, id: string) => `${variant}\n${id}`;

function parsed(line: string, place: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw fileError(
      place,
      'JSON',
      JSON.stringify(line.slice(0, 40)),
      'Give a file of predictions, or one that is not there yet.',
    );
  }
}

function checkHeader(found: unknown, header: Header, path: string): void {
  const { version, dataset, model } = Object(found) as Partial<Header>;
  if (version !== 1 || !dataset || !model) {
    throw fileError(`${path}: line 1`, 'the header of a file of predictions', JSON.stringify(found).slice(0, 40));
  }
  const [wanted, there] = [identity(header), identity(found as Header)];
  for (const name of Object.keys({ ...there, ...wanted })) {
    if (isDeepStrictEqual(wanted[name], there[name])) continue;
    throw fileError(path, `predictions of ${name} ${wanted[name]}`, there[name], 'Give another file for these.');
  }
}
