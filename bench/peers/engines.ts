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

/** A program, its arguments, and what to call it until it tells its name. */
export interface Program {
  readonly name: string;
  readonly start: () => Promise<Running>;
}

const OWN = ['int8 accurate', 'int8 torch', 'fp32'];
const PEER = ['int8', 'fp32'];
const AVX2 = { ATEN_CPU_CAPABILITY: 'avx2', FBGEMM_ENABLE_INSTRUCTIONS: 'AVX2', ONEDNN_MAX_CPU_ISA: 'AVX2' };

export function programsOf(what: What, { dir, threads, tokens, model, checkout, only, avx2 }: Options): Program[] {
  const asked = [`${threads}`, QUESTION, TEXT];
  const folder = dir === undefined ? '' : resolve(dir);
  const of = (name: string, dtypes: string[], file: string, argsOf: (dtype: string) => string[], place?: string) =>
    dtypes.map((dtype): Program => {
      const python = file.endsWith('.py');
      const command = python ? join(folder, 'venv/bin/python') : process.execPath;
      const env = python && avx2 ? { ...process.env, ...AVX2 } : process.env;
      const label = [name, dtype, place].filter(Boolean).join(' ');
      const start = async () => {
        const child = startChild(label, command, [join(import.meta.dirname, file), ...argsOf(dtype)], env);
        const hello = await child.next<Hello>();
        const where = place ?? (python && avx2 ? 'AVX2 only' : undefined);
        return { child, hello: where ? { place: where, ...hello } : hello };
      };
      return { name: label, start };
    });
  const forward = (dtype: string) => [`${tokens}`, dtype, `${threads}`];
  const page = ['isolated', 'plain'].flatMap((kind) => [
    ...of('bertlet', OWN, 'page.ts', (dtype) => [folder, dtype, ...asked, 'bertlet', kind]),
    ...of('transformers.js', PEER, 'page.ts', (dtype) => [folder, dtype, ...asked, 'transformers.js', kind]),
  ]);
  const peers = {
    answers: [
      ...of('transformers.js', PEER, 'transformersjs.mjs', (dtype) => [folder, dtype, ...asked]),
      ...of('PyTorch', PEER, 'pytorch.py', (dtype) => [MODEL, dtype, ...asked]),
    ],
    forward: [
      ...of('PyTorch', ['int8 fbgemm', 'int8 x86', 'int8 onednn', 'fp32'], 'forward_pytorch.py', forward),
      ...['node', 'web'].flatMap((kind) =>
        of(`onnxruntime-${kind}`, PEER, 'forward_ort.mjs', (dtype) => [...forward(dtype), folder, kind]),
      ),
    ],
    page,
  };
  const own = {
    answers: [ROOT, ...checkout].flatMap((root, i) =>
      of(
        'bertlet',
        OWN,
        'bertlet.ts',
        (dtype) => [model, dtype, ...asked, resolve(root)],
        i ? `checkout ${i}` : undefined,
      ),
    ),
    forward: of('bertlet', OWN, 'forward.ts', forward),
    page: [],
  };
  const all = [...own[what], ...(dir === undefined ? [] : peers[what])];
  return all.filter(({ name }) => !only || only.split(',').some((part) => name.includes(part)));
}
