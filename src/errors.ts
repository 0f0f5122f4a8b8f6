/** The one kind of error that bertlet throws for what a caller can understand and change. */

/** What went wrong: `code` for programs, the message (`<what>: expected <this>, got <that>. <what to do>`) for people. */
export class BertletError extends Error {
  override readonly name = 'BertletError';
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
/** input: an argument; file: cannot be read; safetensors, tokenizer, config, weights: its content; device: cannot run. */
export type ErrorCode = 'input' | 'file' | 'safetensors' | 'tokenizer' | 'config' | 'weights' | 'device' | 'disposed';

/** An argument that is not what it should be. */
export const inputError = (what: string, expected: unknown, got: unknown, advice = ''): BertletError =>
  new BertletError('input', `${what}: expected ${expected}, got ${got}.${advice && ` ${advice}`}`);
