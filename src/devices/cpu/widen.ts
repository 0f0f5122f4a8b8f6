/**
 * V8's revectorizer joins pairs of 128-bit WebAssembly operations into 256-bit ones: the kernels are then up to twice as
 * fast. It works when a function is optimized, and is behind a flag of the whole process. So the flag is set only while
 * the kernels are tested and timed, and two more flags see to it that each kernel is optimized at once when it is called.
 * Then the flags are set back: what is optimized later is not widened. A module of another thread that is optimized in
 * these milliseconds gets 256-bit code, too; none of the three flags makes code depend on their values at another time.
 * (Compiling without V8's baseline compiler would be shorter. It ends the process when another thread, too, compiles.)
 */
import { inNode } from '../../platform.ts';

/** The Nodes whose V8 is known to take these flags; a test runs them. Node 22's revectorizer widens no kernel. */
const KNOWN = ['24', '26'];
const ON = ['--experimental-wasm-revectorize', '--wasm-sync-tier-up', '--wasm-tiering-budget=1'];
/** V8's defaults. */
const OFF = ['--no-experimental-wasm-revectorize', '--no-wasm-sync-tier-up', '--wasm-tiering-budget=13000000'];
/** An empty custom section, `w`. V8 shares compiled modules of equal bytes, so a module to be widened has others. */
const OTHER_BYTES = [0, 2, 1, 0x77];

/**
 * Runs `use` with the flags set. They are not touched where they are not known: in a page, in an engine other than Node,
 * and in a process that was started with WebAssembly flags of its own; nor if `wanted` is false.
 * @param use called with a function that gives a module the bytes to compile, or with null if the flags are not set
 */
export async function whileWidening<T>(
  wanted: boolean,
  use: (bytesOf: ((module: Uint8Array) => Uint8Array<ArrayBuffer>) | null) => Promise<T>,
): Promise<T> {
  if (!wanted || !inNode) return use(null);
  const { node = '', bun, deno, electron } = process.versions as Partial<Record<string, string>>;
  const own = process.execArgv.some((flag) => /wasm|liftoff/.test(flag));
  if (bun || deno || electron || own || !KNOWN.includes(node.split('.')[0]!)) return use(null);
  const { setFlagsFromString } = process.getBuiltinModule('node:v8');
  for (const flag of ON) setFlagsFromString(flag);
  try {
    return await use((module) => Uint8Array.from([...module, ...OTHER_BYTES]));
  } finally {
    for (const flag of OFF) setFlagsFromString(flag);
  }
}
