/**
 * Predictions as they are made, so that a run that was stopped goes on where it was: JSON Lines, only ever appended to.
 * The first line says what the predictions are of; each other line is one answer of one variant.
 */
import { closeSync, fsyncSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { inputError } from '../../src/errors.ts';
import type { Prediction } from './metric.ts';

/** An answer, and what it took. */
export interface Answered extends Prediction {
  /** Windows that the passage was cut into. */
  readonly windows: number;
  /** From the strings to the answer, or from the answer before where several are made at the same time. */
  readonly milliseconds: number;
}

/** What the predictions depend on; all must be the same for a run to go on. */
export interface Header {
  readonly version: 1;
  readonly dataset: { readonly name: string; readonly sha256: string };
  readonly model: { readonly name: string; readonly sha256: string };
  readonly options: Readonly<Record<string, unknown>>;
}

/** Parts of a header that name it and do not decide. */
const identity = ({ version, dataset, model, options }: Header) =>
  ({ version, dataset: dataset.sha256, model: model.sha256, ...options }) as Record<string, unknown>;

export class Predictions {
  readonly #answers = new Map<string, Answered>();
  readonly #file: number | undefined;

  /**
   * Reads what a file has, and appends to it; without a path they are only remembered.
   * @throws BertletError `input` where the file is of something else, or no file of predictions.
   */
  constructor(path: string | undefined, header: Header) {
    if (path === undefined) return;
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
      if (typeof variant !== 'string' || typeof id !== 'string' || typeof answered.text !== 'string') {
        throw inputError(`${path}: line ${i + 2}`, 'a prediction', JSON.stringify(line).slice(0, 40));
      }
      this.#answers.set(key(variant, id), answered);
    }
  }

  get(variant: string, id: string): Answered | undefined {
    return this.#answers.get(key(variant, id));
  }

  add(variant: string, id: string, { text, noAnswerScore, windows, milliseconds }: Answered): void {
    this.#answers.set(key(variant, id), { text, noAnswerScore, windows, milliseconds });
    this.#write({ variant, id, text, noAnswerScore, windows, milliseconds });
  }

  close(): void {
    if (this.#file === undefined) return;
    fsyncSync(this.#file);
    closeSync(this.#file);
  }

  /** In one call, and with the operating system when it returns: killed after it, nothing is lost. */
  #write(line: object): void {
    if (this.#file !== undefined) writeSync(this.#file, `${JSON.stringify(line)}\n`);
  }
}

const key = (variant: string, id: string) => `${variant}\n${id}`;

function parsed(line: string, place: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw inputError(place, 'JSON', JSON.stringify(line.slice(0, 40)), 'Is it a file of predictions?');
  }
}

function checkHeader(found: unknown, header: Header, path: string): void {
  const { version, dataset, model } = Object(found) as Partial<Header>;
  if (version !== 1 || !dataset || !model) {
    throw inputError(`${path}: line 1`, 'the header of a file of predictions', JSON.stringify(found).slice(0, 40));
  }
  const [wanted, there] = [identity(header), identity(found as Header)];
  for (const name of Object.keys({ ...there, ...wanted })) {
    if (isDeepStrictEqual(wanted[name], there[name])) continue;
    throw inputError(`${path}: ${name}`, wanted[name], there[name], 'Give another file for these predictions.');
  }
}
