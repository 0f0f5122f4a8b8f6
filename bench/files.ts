/** Files that people give: their text, in the encodings that people have, and the error for one with wrong content. */
import { BertletError } from '../src/errors.ts';

/** Makes the error for a file with wrong content. */
export const fileError = (what: string, expected: unknown, got: unknown, advice = ''): BertletError =>
  new BertletError('file', `${what}: expected ${expected}, got ${got}.${advice && ` ${advice}`}`);

/**
 * The text of a file without its byte order mark, so that offsets count from the first character: UTF-8, or what the mark
 * says, UTF-16. A zero is no text: a file without a mark that has one is UTF-16 or UTF-32, or none at all. For a page, too.
 * @param name of the file, for errors
 * @throws BertletError `file` for anything else, with the position of the first byte that is wrong
 */
export function decode(bytes: Uint8Array, name: string): string {
  const encoding = { '255,254': 'utf-16le', '254,255': 'utf-16be' }[bytes.subarray(0, 2).join()] ?? 'utf-8';
  const refuse = (at: number) => {
    const byte = `0x${bytes[at]!.toString(16).padStart(2, '0')} at byte ${at}`;
    return fileError(name, 'text in UTF-8, or in UTF-16 that begins with a byte order mark', byte, 'Save it as UTF-8.');
  };
  /** Without an end: half a character at the end is left out, and a wrong one throws. */
  const begin = (end: number) =>
    new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(bytes.subarray(0, end), { stream: true });
  const lengthOf = (text: string) => (encoding === 'utf-8' ? new TextEncoder().encode(text).length : text.length * 2);
  let text: string;
  try {
    text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    let [right, wrong] = [0, bytes.length + 1]; // bytes that can be decoded, and that cannot
    while (wrong - right > 1) {
      const middle = (right + wrong) >> 1;
      try {
        begin(middle);
        right = middle;
      } catch {
        wrong = middle;
      }
    }
    throw refuse(lengthOf(begin(right)));
  }
  const zero = text.indexOf('\0');
  if (zero >= 0) throw refuse(lengthOf(begin(bytes.length).split('\0', 1)[0]!));
  return text;
}
