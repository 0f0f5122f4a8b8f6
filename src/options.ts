/** Checks of a caller's options. An unknown option is refused, and the error suggests the nearest known name. */
import { BertletError, inputError } from './errors.ts';

/** Formats a value for an error message: short, printable, strings in quotes. */
export function preview(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value);
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'object' && value !== null) return `an object (${value.constructor?.name ?? 'no class'})`;
  return String(value);
}

/** Options without values of `undefined`: a missing option has no key. */
export type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/**
 * Copies the given options, without those that are undefined.
 * @param what the function that takes the options, for the error message: `load`, `answer`
 * @param given the options of the caller
 * @param known the names of all options
 * @throws BertletError `input` if `given` is not an object or has an unknown option
 */
export function optionsOf<T extends object>(what: string, given: T, known: readonly (keyof T & string)[]): Given<T> {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw inputError(`${what}: options`, 'an object', preview(given));
  }
  const options: Given<T> = {};
  for (const name of Object.keys(given) as (keyof T & string)[]) {
    if (!known.includes(name)) {
      const near = nearest(name, known);
      const advice = near ? `Did you mean \`${near}\`?` : `The options are ${known.join(', ')}.`;
      throw new BertletError('input', `${what}: expected options that it knows, got ${preview(name)}. ${advice}`);
    }
    const value = given[name];
    if (value !== undefined) options[name] = value as Given<T>[typeof name];
  }
  return options;
}

/** @throws BertletError `input` if a value is given and has another type */
export function checkType(option: string, value: unknown, type: 'boolean' | 'string' | 'function'): void {
  if (value === undefined || typeof value === type) return;
  throw inputError(option, `a ${type}`, preview(value));
}

/** @throws BertletError `input` unless the option is not set or an integer of at least `least` */
export function checkInteger(option: string, value: unknown, least: number): void {
  if (value === undefined || (Number.isSafeInteger(value) && (value as number) >= least)) return;
  throw inputError(option, `an integer of at least ${least}`, preview(value));
}

/**
 * Returns the signal, as long as it has not aborted.
 * @throws BertletError `input` if it is given and none; its reason if it has aborted
 */
export function checkSignal(signal: AbortSignal | undefined): AbortSignal | undefined {
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw inputError('signal', 'an AbortSignal', preview(signal));
  signal?.throwIfAborted();
  return signal;
}

/** @throws BertletError `input` if a value is given and is not one of `allowed` */
export function checkOneOf(option: string, value: unknown, allowed: readonly string[], where = ''): void {
  if (value === undefined || allowed.includes(value as string)) return;
  throw inputError(option, `${allowed.join(', ')}${where && ` ${where}`}`, preview(value));
}

/**
 * The known name that was probably meant: the same letters in another spelling (`top_k`), or at most two edits away.
 */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replace(/[^a-z0-9]/g, '');
  const distances = known.map((other) => [editDistance(plain(name), plain(other)), other] as const);
  const [distance, best] = distances.reduce((a, b) => (b[0] < a[0] ? b : a));
  return distance <= 2 && distance < plain(best).length ? best : undefined;
}

/** Fewest insertions, deletions and replacements between two words (Levenshtein 1966; Wagner & Fischer 1974). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + Number(a[i - 1] !== b[j - 1]);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
