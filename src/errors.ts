/** The only class of error that bertlet throws for causes that a caller can understand and change. */

/** `code` is for programs, the message for people: `<what>: expected <this>, got <that>. <what to do>`. */
export class BertletError extends Error {
  override readonly name = 'BertletError';
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(printable(message), options);
    this.code = code;
  }
}

const LONGEST = 4000; // a message is for people; what a file holds may be of any length
/** Characters that would move a terminal's cursor, change its colours or turn the direction of the text, and those that show nothing. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** Names of files and tensors come from strangers: escapes what a terminal would act on, and cuts out the middle of a long text. */
export function printable(text: string): string {
  const short = text.length > LONGEST ? `${text.slice(0, LONGEST - 800)} ... ${text.slice(-700)}` : text;
  return short.replace(UNPRINTABLE, (char) => `\\u${char.codePointAt(0)!.toString(16).padStart(4, '0')}`);
}
/** file: a file cannot be read or written. The others: the content of a file is wrong. */
type FileCode = 'file' | 'safetensors' | 'tokenizer' | 'config' | 'weights';
/**
 * input: an argument is wrong. device: the device does not start or cannot run. busy: too many questions at once
 * (`maxQueue`). disposed: used after `dispose()`.
 */
export type ErrorCode = FileCode | 'input' | 'device' | 'busy' | 'disposed';

/** The parts of a message, `<what>: expected <expected>, got <got>. <advice>`, and another program's error behind it. */
type Parts = [what: string, expected: unknown, got: unknown, advice?: string, cause?: unknown];

/** Makes an error of one sentence and an advice. */
export function fault(code: ErrorCode, ...[what, expected, got, advice = '', cause]: Parts): BertletError {
  const message = `${what}: expected ${expected}, got ${got}.${advice && ` ${advice}`}`;
  return new BertletError(code, message, cause === undefined ? {} : { cause });
}

/** Makes the error for a wrong argument. */
export const inputError = (...parts: Parts): BertletError => fault('input', ...parts);

/** Message of another program's error, for a place within a sentence: without the full stop at its end. */
export const messageOf = (cause: unknown): string =>
  ((cause as Error | undefined)?.message ?? String(cause)).trim().replace(/\.+$/, '');
