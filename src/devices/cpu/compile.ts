/**
 * Compiles a WebAssembly module with V8's revectorizer, which joins pairs of 128-bit operations into 256-bit ones: the
 * kernels are then up to twice as fast. The revectorizer is behind a flag of the whole process, so the flags are set
 * for one synchronous compilation and set back: no other module of this thread is compiled with them. Another thread
 * that compiles in these milliseconds gets code that is as right as ever.
 */
import { inNode } from '../../platform.ts';

/**
 * The flags, in the order in which they are set; they are set back in reverse order. The compilation is eager and
 * optimizes at once, since later ones would not see the flags. Inlining needs counts that only the baseline compiler
 * gathers (V8 ends the process without them), so inlining is off while that compiler is off.
 */
const FLAGS = ['experimental-wasm-revectorize', 'wasm-inlining', 'liftoff', 'wasm-lazy-compilation'] as const;
/**
 * The Nodes whose V8 is known to take these flags. A test runs them all: a flag too few may end the process. Node 22's
 * revectorizer widens none of the kernels.
 */
const KNOWN = ['24', '26'];
/** An empty custom section, `w`. V8 keeps compiled modules by their bytes, so a module that shall be widened has others. */
const OTHER_BYTES = [0, 2, 1, 0x77];

/**
 * Compiles a module with the revectorizer.
 * @returns null where the flags are not known or must not be touched: in a page, in an engine other than Node, and in a
 * process that was started with WebAssembly flags of its own
 */
export async function compileWide(bytes: Uint8Array): Promise<WebAssembly.Module | null> {
  if (!inNode) return null;
  const { node = '', bun, deno, electron } = process.versions as Partial<Record<string, string>>;
  if (bun || deno || electron || !KNOWN.includes(node.split('.')[0]!)) return null;
  if (process.execArgv.some((flag) => /wasm|liftoff/.test(flag))) return null;
  const { setFlagsFromString } = await import('node:v8');
  const set = (on: boolean, flag: string) => setFlagsFromString(`--${on ? '' : 'no-'}${flag}`);
  const module = Uint8Array.from([...bytes, ...OTHER_BYTES]);
  const compile = () => {
    for (const flag of FLAGS) set(flag === 'experimental-wasm-revectorize', flag);
    try {
      return new WebAssembly.Module(module);
    } catch {
      return null; // an engine without the module's instructions; the caller tries others
    } finally {
      for (const flag of FLAGS.toReversed()) set(flag !== 'experimental-wasm-revectorize', flag);
    }
  };
  return navigator.locks.request('bertlet: the flags of V8', compile); // two threads must not change them at once
}
