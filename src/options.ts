/** Checks of what a caller hands over: an option that nobody knows is a mistake, and is refused with the nearest name. */
import { BertletError, inputError } from './errors.ts';

/** How an error shows a value: short, printable, and with strings in quotes. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value);
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'object' && value !== null) return `an object (${value.constructor?.name ?? 'no class'})`;
  return String(value);
}

/** Options as they are read: none of them is undefined while being there. */
export type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/**
 * The options that were given, without those that are undefined.
 * @param what whose options they are, for the message: `load`, `answer`
 * @param given what the caller handed over
 * @param known the names of all options
 * @throws BertletError `input` where `given` is not an object, or has an option that is not known
 */
export function optionsOf<T extends object>(what: string, given: T, known: readonly (keyof T & string)[]): Given<T> {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw inputError(`${what}: options`, 'an object', shown(given));
  }
  const options: Given<T> = {};
  for (const name of Object.keys(given) as (keyof T & string)[]) {
    if (!known.includes(name)) {
      const near = nearest(name, known);
      const advice = near ? `Did you mean \`${near}\`?` : `The options are ${known.join(', ')}.`;
      throw new BertletError('input', `${what}: expected options that it knows, got ${shown(name)}. ${advice}`);
    }
    const value = given[name];
    if (value !== undefined) options[name] = value as Given<T>[typeof name];
  }
  return options;
}

/** @throws BertletError `input` where a value that is there is not of this type. */
export function checkType(option: string, value: unknown, type: 'boolean' | 'string' | 'function'): void {
  if (value === undefined || typeof value === type) return;
  throw inputError(option, `a ${type}`, shown(value));
}

/** @throws BertletError `input` where a value that is there is not one of the allowed. */
export function checkOneOf(option: string, value: unknown, allowed: readonly string[], where = ''): void {
  if (value === undefined || allowed.includes(value as string)) return;
  throw inputError(option, `${allowed.join(', ')}${where && ` ${where}`}`, shown(value));
}

/** The name that was probably meant: the same letters in another spelling (`top_k`), or at most two edits away. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replace(/[^a-z0-9]/g, '');
  const distances = known.map((other) => [editDistance(plain(name), plain(other)), other] as const);
  const [distance, best] = distances.reduce((a, b) => (b[0] < a[0] ? b : a));
  return distance <= 2 && distance < plain(best).length ? best : undefined;
}

/** Insertions, deletions and replacements from one word to another (Levenshtein 1966; Wagner & Fischer 1974). */
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
