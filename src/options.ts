/** A caller's options. A table says what each may be; a name that the table lacks is refused. */
import { inputError } from './errors.ts';

/** Formats a value for an error message: short, printable, strings in quotes. */
export function preview(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value);
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'object' && value !== null) return `an object (${value.constructor?.name ?? 'no class'})`;
  return String(value);
}

/** Description of a value, in words and as a test. `otherwise` counts where the caller gives none. */
export interface Option<V> {
  readonly expected: string;
  readonly allows: (value: unknown) => boolean;
  readonly otherwise?: V;
  /** The caller must give a value. */
  readonly required?: true;
}
/** The value of each option of a table; undefined where an option has no default and the caller gives none. */
export type ValuesOf<T> = { [K in keyof T]: T[K] extends Option<infer V> ? V : never };
type RequiredOf<T> = { [K in keyof T]: T[K] extends { required: true } ? K : never }[keyof T];
/** Options as a caller gives them: the required options of a table, and some of the others. */
export type GivenOf<T> = { [K in RequiredOf<T>]: ValuesOf<T>[K] } & {
  [K in Exclude<keyof T, RequiredOf<T>>]?: ValuesOf<T>[K] | undefined;
};
export const rule = <V>(expected: string, allows: (value: unknown) => boolean): Option<V | undefined> => ({
  expected,
  allows,
});
const ofType = <V>(type: string) => rule<V>(`a ${type}`, (value) => typeof value === type);
export const string = ofType<string>('string');
export const boolean = ofType<boolean>('boolean');
export const callback = <F>() => ofType<F>('function');
export const array = rule<readonly unknown[]>('an array', Array.isArray);
export const finite = rule<number>('a finite number', Number.isFinite);
export const integer = (least: number, most = Infinity) =>
  rule<number>(
    most < Infinity ? `an integer from ${least} to ${most}` : `an integer of at least ${least}`,
    (value) => Number.isSafeInteger(value) && Number(value) >= least && Number(value) <= most,
  );
export const strings = rule<readonly string[]>(
  'an array of strings, one or more',
  (value) => Array.isArray(value) && value.length > 0 && value.every(string.allows),
);
/** @param where for the words: `on cpu` */
export const oneOf = <V>(names: readonly V[], where = '') =>
  rule<V>(`${names.join(', ').replace(/^,/, 'none,')}${where && ` ${where}`}`, (value) => names.includes(value as V));
/** Name of a value's class. By it, and not by `instanceof`: another realm, such as that of a test runner, has classes of its own. */
export const classOf = (value: unknown): string => Object.prototype.toString.call(value).slice('[object '.length, -1);
export const isObject = (value: unknown): value is Record<string, unknown> => classOf(value) === 'Object';
export const object = rule<object>('an object', isObject);
export const abortSignal = rule<AbortSignal>('an AbortSignal', (value) => classOf(value) === 'AbortSignal');
/** Rule for a value that is checked elsewhere. */
export const anything = <V>() => rule<V>('anything', () => true);
export const required = <V>(option: Option<V | undefined>) =>
  ({ ...option, required: true }) as Option<V> & { required: true };
export const byDefault = <V>(otherwise: NoInfer<V>, option: Option<V | undefined>) =>
  ({ ...option, otherwise }) as Option<V>;

/** @throws BertletError `input` if the value is not what the option may be */
export function check(name: string, value: unknown, { expected, allows }: Option<unknown>): void {
  if (!allows(value)) throw inputError(name, expected, preview(value));
}

/**
 * Returns the value of each option of a table.
 * @param what the function that takes the options, for the error message: `load`, `answer`
 * @throws BertletError `input` if `given` is not an object, or has an option that is unknown or of a wrong value
 */
export function optionsOf<T extends object>(what: string, given: unknown, table: T): ValuesOf<T> {
  check(`${what}: options`, given, object);
  const known = Object.keys(table);
  const unknown = Object.keys(given as object).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw inputError(what, 'options that it knows', preview(unknown), `The options are ${known.join(', ')}.`);
  }
  const values: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(table) as [string, Option<unknown>][]) {
    const value = (given as typeof values)[name];
    if (value !== undefined || option.required) check(name, value, option);
    values[name] = value === undefined ? option.otherwise : value;
  }
  return values as ValuesOf<T>;
}

/** A promise's value; or the reason of `signal` if it aborts first. */
export async function unlessAborted<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort);
  try {
    signal.throwIfAborted();
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

const SLICE = 8; // milliseconds that work keeps the thread before events have their turn

/**
 * Passes steps of work on, and lets events have their turn now and then.
 * @param told called before events have theirs
 * @throws the reason of `signal` if it aborts
 */
export async function* inSlices<T>(steps: Iterable<T>, told: () => void, signal?: AbortSignal): AsyncGenerator<T> {
  let begin = performance.now(); // of a slice
  for (const step of steps) {
    if (performance.now() - begin > SLICE) {
      told();
      await new Promise((resolve) => setTimeout(resolve));
      signal?.throwIfAborted();
      begin = performance.now();
    }
    yield step;
  }
}
