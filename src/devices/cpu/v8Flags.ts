/**
 * V8's revectorizer joins pairs of 128-bit WebAssembly operations into 256-bit ones: on x64 the kernels are then up to
 * twice as fast. It works when a function is optimized, and is behind a flag of the whole process. So the flag is set only
 * while the kernels are tested and timed, and two more flags see to it that each kernel is optimized at once when it is
 * called. Then the flags are set back: what is optimized later is as it was. A module of another thread that is optimized
 * in these milliseconds gets 256-bit code, too; none of the three flags makes code depend on their values at another time.
 * (Compiling without V8's baseline compiler would be shorter. It ends the process when another thread, too, compiles.)
 */
import { inNode, variables } from '../../platform.ts';

/** The Nodes and the architectures whose V8 is known to take these flags; a test runs them. */
const KNOWN = { nodes: ['24', '26'], architectures: ['x64', 'arm64'] };
/** Only on x64; Node 22's widens no kernel. The values, and V8's defaults. */
const REVECTORIZE = ['--experimental-wasm-revectorize', '--no-experimental-wasm-revectorize'];
const TIER_UP = [
  ['--wasm-sync-tier-up', '--no-wasm-sync-tier-up'],
  ['--wasm-tiering-budget=1', '--wasm-tiering-budget=13000000'],
];
/** An empty custom section, `w`. V8 shares compiled modules of equal bytes, so a module compiled so has others. */
const OTHER_BYTES = [0, 2, 1, 0x77];

/** How modules are compiled now. */
export interface Compilation {
  /** Each kernel is optimized when it is first called; else V8 replaces its first, slow code in the background. */
  readonly eager: boolean;
  /** Pairs of 128-bit operations become 256-bit ones. */
  readonly revectorized: boolean;
  /** Gives a module the bytes to compile. */
  readonly bytesOf: (module: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>;
}
const AS_IT_IS: Compilation = { eager: false, revectorized: false, bytesOf: (module) => module };

/** Whether this process was started with WebAssembly flags of its own, which may be the ones that would be set back. */
function hasOwnFlags(): boolean {
  const given = [...process.execArgv, ...(variables.NODE_OPTIONS ?? '').split(/\s/)]; // a program's text may be one of them
  return given.some((flag) => /^-\S*(wasm|liftoff)\S*$/.test(flag));
}

/** A value that differs where V8's flags do: V8 writes it into its cache of a script's code. */
const stateOfFlags = (): string =>
  new (process.getBuiltinModule('node:vm').Script)('').createCachedData().toString('hex', 0, 24);

/**
 * Runs `use` with the flags set. They are not touched where they are not known: in a page, in an engine other than Node,
 * and in a process that was started with WebAssembly flags of its own; nor if `wanted` is false. A flag that the program
 * has switched on itself stays on.
 */
export async function withV8Flags<T>(wanted: boolean, use: (compilation: Compilation) => Promise<T>): Promise<T> {
  if (!wanted || !inNode) return use(AS_IT_IS);
  const { node = '', bun, deno, electron } = process.versions as Partial<Record<string, string>>;
  const known = KNOWN.nodes.includes(node.split('.')[0]!) && KNOWN.architectures.includes(process.arch);
  if (bun || deno || electron || !known || hasOwnFlags()) return use(AS_IT_IS);
  const { setFlagsFromString } = process.getBuiltinModule('node:v8');
  const revectorized = process.arch === 'x64';
  const flags = revectorized ? [REVECTORIZE, ...TIER_UP] : TIER_UP;
  const changed = flags.filter(([on]) => {
    const before = stateOfFlags();
    setFlagsFromString(on!);
    return stateOfFlags() !== before;
  });
  try {
    return await use({ eager: true, revectorized, bytesOf: (module) => Uint8Array.from([...module, ...OTHER_BYTES]) });
  } finally {
    for (const [, off] of changed.length > 0 ? changed : flags) setFlagsFromString(off!);
  }
}
