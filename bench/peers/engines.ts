/** The engines that run.ts and squad.ts compare, each with its dtype in a process of its own. */
import { join, resolve } from 'node:path';
import { QUESTION, TEXT } from '../article.ts';
import { type Child, startChild } from '../turns.ts';

export const ROOT = join(import.meta.dirname, '../..');
export const MODEL = join(ROOT, 'weights/minilm-l6-qa');
export type What = 'answers' | 'page' | 'forward';

export interface Options {
  /** Folder that setup.sh made; without it bertlet is alone. */
  readonly dir?: string | undefined;
  readonly threads: number;
  readonly tokens: number;
  readonly model: string;
  /** Other checkouts of bertlet. */
  readonly checkout: readonly string[];
  readonly only?: string | undefined;
  readonly avx2?: boolean | undefined;
}

/** An engine to be: the argument of its program, in JSON. */
export interface Job extends Pick<Options, 'threads' | 'tokens' | 'model'> {
  readonly what: What;
  readonly engine: string;
  readonly dtype: string;
  readonly dir: string;
  /** Where bertlet is. */
  readonly checkout: string;
  /** With the headers that a page needs for threads. */
  readonly isolated?: boolean;
  readonly question: string;
  readonly context: string;
}

/** Facts that an engine tells once it has given its first answer. */
export interface Hello {
  readonly engine: string;
  readonly version: string;
  readonly dtype: string;
  readonly kernels?: string;
  /** Where it runs, if not in Node or Python. */
  readonly place?: string;
  /** From import to the first answer: wall and CPU time, and the most memory (MB of 2^20 bytes). */
  readonly start: { readonly milliseconds: number; readonly cpu: number; readonly megabytes: number };
  /** Milliseconds of a second load and first answer in the same process. */
  readonly again?: number;
}

export interface Running {
  readonly hello: Hello;
  readonly child: Child;
}

/** A program, and what to call it until it tells its name. */
export interface Program {
  readonly name: string;
  readonly start: () => Promise<Running>;
}

const OWN = ['int8 accurate', 'int8 torch', 'fp32'];
const PEER = ['int8', 'fp32'];
/** The peers of each comparison, and their dtypes; of a page's engines bertlet is one. */
const PEERS: Record<What, [engine: string, dtypes: string[], more?: Partial<Job>][]> = {
  answers: [
    ['transformers.js', PEER],
    ['PyTorch', PEER],
  ],
  page: [true, false].flatMap((isolated) => [
    ['bertlet', OWN, { isolated }],
    ['transformers.js', PEER, { isolated }],
  ]),
  forward: [
    ['PyTorch', ['int8 fbgemm', 'int8 x86', 'int8 onednn', 'fp32']],
    ['onnxruntime-node', PEER],
    ['onnxruntime-web', PEER],
  ],
};
const AVX2 = { ATEN_CPU_CAPABILITY: 'avx2', FBGEMM_ENABLE_INSTRUCTIONS: 'AVX2', ONEDNN_MAX_CPU_ISA: 'AVX2' };

export function programsOf(what: What, { dir = '', threads, tokens, checkout, only, ...options }: Options): Program[] {
  const program = (engine: string, dtype: string, more: Partial<Job>, place?: string): Program => {
    const [model, asked] = [MODEL, { question: QUESTION, context: TEXT }];
    const job: Job = {
      what,
      engine,
      dtype,
      threads,
      tokens,
      model,
      dir: resolve(dir),
      checkout: ROOT,
      ...asked,
      ...more,
    };
    const name = [engine, dtype, place].filter(Boolean).join(' ');
    const isPython = engine === 'PyTorch';
    const isHeld = isPython && options.avx2;
    const file = isPython ? 'pytorch.py' : what === 'page' ? 'page.ts' : 'engine.ts';
    const start = async () => {
      const command = isPython ? join(job.dir, 'venv/bin/python') : process.execPath;
      const env = isHeld ? { ...process.env, ...AVX2 } : process.env;
      const child = startChild(name, command, [join(import.meta.dirname, file), JSON.stringify(job)], env);
      const hello = await child.next<Hello>();
      const where = place ?? (isHeld ? 'AVX2 only' : undefined);
      return { child, hello: where ? { place: where, ...hello } : hello };
    };
    return { name, start };
  };
  const { model } = options;
  const own = [ROOT, ...(what === 'answers' ? checkout : [])].flatMap((root, i) =>
    OWN.map((dtype) => program('bertlet', dtype, { model, checkout: resolve(root) }, i ? `checkout ${i}` : undefined)),
  );
  const peers = PEERS[what].flatMap(([engine, dtypes, more = {}]) =>
    dtypes.map((dtype) => program(engine, dtype, more)),
  );
  const all = [...(what === 'page' ? [] : own), ...(dir ? peers : [])];
  return all.filter(({ name }) => !only || only.split(',').some((part) => name.includes(part)));
}
