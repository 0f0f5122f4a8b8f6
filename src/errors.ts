/** The only class of error that bertlet throws for causes that a caller can understand and change. */

/** `code` is for programs, the message for people: `<what>: expected <this>, got <that>. <what to do>`. */
export class BertletError extends Error {
  override readonly name = 'BertletError';
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
/**
 * input: an argument is wrong. file: a file cannot be read or written. safetensors, tokenizer, config, weights: the
 * content of a file is wrong. device: the device does not start or cannot run. disposed: used after `dispose()`.
 */
export type ErrorCode = 'input' | 'file' | 'safetensors' | 'tokenizer' | 'config' | 'weights' | 'device' | 'disposed';

/** Makes the error for a wrong argument. */
export const inputError = (what: string, expected: unknown, got: unknown, advice = ''): BertletError =>
  new BertletError('input', `${what}: expected ${expected}, got ${got}.${advice && ` ${advice}`}`);
