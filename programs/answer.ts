/**
 * Answers a file of questions: a filter of lines, which a shell, GNU parallel or Spark can drive (docs/scale.md).
 * `bertlet answer --help`
 */
import { createReadStream, statSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Pool } from '../bench/pool.ts';
import { BertletError, inputError } from '../src/errors.ts';
import type { DeviceName, Dtype, Scheme } from '../src/index.ts';
import type { Io } from './io.ts';
import { answerLine, type Line, NOTHING, questionLines, writtenOf } from './lines.ts';
import { rateBar, showLoad } from './progress.ts';

interface Options {
  out?: string;
  resume?: boolean;
  model: string;
  device: DeviceName | 'auto';
  dtype: Dtype;
  scheme?: Scheme;
  workers?: number;
  threads: number;
  topK: number;
  threshold: number;
  allowFailed?: boolean;
}

const KNOWN = '{bar} {percentage} %, {count} lines, {rate}/s, {eta_formatted} left';
const UNKNOWN = '{count} lines, {rate}/s'; // a pipe does not say how much is to come

/** Runs `bertlet answer`. */
export async function run(path: string | undefined, options: Options, io: Io): Promise<void> {
  const { out, resume, model, device, dtype, scheme, workers, threads } = options;
  if (resume && out === undefined) throw inputError('--resume', 'a file to go on with', 'none', 'Give --out.');
  const file = path === '-' ? undefined : path;
  const total = file === undefined ? 0 : (await stat(file)).size; // throws where there is none, before the model is loaded
  const there = out === undefined ? undefined : statSync(out, { throwIfNoEntry: false });
  if (there?.size && !resume) {
    throw new BertletError('file', `${out}: expected no file, got one. Go on with it by --resume, or remove it.`);
  }
  const before = there ? await writtenOf(out!) : NOTHING;

  const how = { device, dtype, scheme, workers, threads };
  const pool = await showLoad(io, (onProgress) => Pool.load(model, { ...how, onProgress }));
  const bar = rateBar(io, total > 0 ? KNOWN : UNKNOWN, total);
  let { lines, failed } = before;

  async function* answers(): AsyncGenerator<string> {
    const questions = questionLines(file === undefined ? io.stdin : createReadStream(file));
    let skipped = 0;
    for (let i = 1; i < before.lines; i++) skipped += sizeOf((await questions.next()).value);
    bar.start(skipped);
    const answer = async (line: Line) => ({ line, ...(await answerLine(pool, line, options)) });
    let { last } = before; // is answered again: what decides it must be the same for a run to go on
    for await (const answered of Readable.from(questions).map(answer, { concurrency: pool.models.length })) {
      bar.step(sizeOf(answered.line));
      if (last !== null) {
        if (last !== answered.text) throw otherLine(out!, before.lines);
        last = null;
        continue;
      }
      lines++;
      failed += Number(answered.failed);
      yield `${answered.text}\n`;
    }
    if (last !== null) throw otherLine(out!, before.lines);
  }
  try {
    const output = out === undefined ? io.stdout : await behind(out, before.bytes);
    await pipeline(answers, output, { end: out !== undefined });
  } catch (error) {
    const enough = out === undefined && (error as NodeJS.ErrnoException).code === 'EPIPE'; // who reads, as `head`
    if (!enough) throw error;
  } finally {
    bar.stop();
    await pool.dispose();
  }
  if (failed === 0 || options.allowFailed) return;
  const message = `lines: expected ${lines} that can be answered, got ${failed} that cannot`;
  throw new BertletError('file', `${message}. Each has its "error" in the output.`);
}

const sizeOf = (line: Line | undefined) => (line ? line.bytes.length + 1 : 0);
const otherLine = (path: string, line: number) => {
  const advice = 'Go on with the same questions, model and options, or give another --out.';
  return new BertletError(
    'file',
    `${path}: line ${line}: expected the answer that this call gives, got another. ${advice}`,
  );
};

/** Writes to a file behind so many bytes. */
async function behind(path: string, bytes: number): Promise<Writable> {
  const file = await open(path, 'a');
  await file.truncate(bytes);
  return file.createWriteStream();
}
