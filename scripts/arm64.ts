/**
 * The parts of scripts/arm64.sh: what runs on this machine, and what runs under emulation and is compared with that.
 *   logits          prints the logits of the goldens' first questions, in both schemes, as JSON
 *   start FILE      the same with the kernels that the library chooses here: equal to FILE's to the last bit?
 *   plain FILE      the same without shared memory, as in a page without its two headers
 *   cases           every op and case of the op table on every choice of kernels, against the reference
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { QUESTION, TEXT } from '../bench/article.ts';
import { runOp } from '../kernels/op.ts';
import type { KernelChoice } from '../src/devices/cpu/commands.ts';
import { CpuDevice } from '../src/devices/cpu/device.ts';
import { ReferenceDevice } from '../src/devices/reference.ts';
import { load, type Scheme } from '../src/index.ts';
import { Runtime } from '../src/runtime.ts';
import { TESTED_OPS } from '../test/opCases.ts';

const ROOT = join(import.meta.dirname, '..');
const CHECKPOINT = join(ROOT, 'weights', 'minilm-l6-qa');
const SCHEMES: readonly Scheme[] = ['torch', 'accurate'];
const QUESTIONS = 20;
const moduleOf = (set: string) => new WebAssembly.Module(readFileSync(join(ROOT, 'wasm', `${set}.wasm`)));

type Item = { inputIds: number[]; typeIds: number[] };
const { items } = JSON.parse(readFileSync(join(ROOT, 'test', 'golden', 'minilm-questions.json'), 'utf8')) as {
  items: Item[];
};

/** The bits of all logits, by scheme and question; `tell` is told what answers, and what. */
async function logits(tell: (line: string) => void): Promise<Record<string, number[]>> {
  const bits: Record<string, number[]> = {};
  for (const scheme of SCHEMES) {
    const qa = await load(CHECKPOINT, { scheme, threads: 1 });
    const [{ text, score }] = await qa.answer({ question: QUESTION, context: TEXT });
    tell(
      `${process.arch}, ${scheme}: ${qa.info.kernels}; ${text} (${score.toFixed(3)}); ${qa.info.reason ?? 'no reason'}`,
    );
    for (const [i, { inputIds, typeIds }] of items.slice(0, QUESTIONS).entries()) {
      const { start, end } = await qa.logits({ inputIds, tokenTypeIds: typeIds });
      bits[`${scheme} ${i}`] = [...new Int32Array(Float32Array.of(...start, ...end).buffer)];
    }
    await qa.dispose();
  }
  return bits;
}

async function compare(file: string): Promise<void> {
  const want = JSON.parse(readFileSync(file, 'utf8')) as Record<string, number[]>;
  const got = await logits(console.log);
  const equal = Object.keys(want).filter((name) => `${want[name]}` === `${got[name]}`);
  console.log(
    `logits of ${QUESTIONS} questions in ${SCHEMES.length} schemes: ${equal.length} of ${Object.keys(want).length} equal to x64's`,
  );
  if (equal.length < Object.keys(want).length) process.exitCode = 1;
}

/** The largest error of a result as a share of its bound. NaN is NaN, and infinity itself. */
function worstOf(got: Float32Array, want: Float32Array, bound: ArrayLike<number>): number {
  const shares = Array.from(got, (value, i) => {
    return Object.is(value, want[i]) || value === want[i] ? 0 : Math.abs(value - want[i]!) / bound[i]!;
  });
  return Math.max(...shares.map((share) => (Number.isNaN(share) ? Infinity : share)));
}

async function cases(): Promise<void> {
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 4096 }); // one for all: an emulator keeps tables for each
  const reference = new Runtime(new ReferenceDevice());
  const choices = [
    ...['relaxed', 'signed', 'grouped', 'int16'].map((int8) => ['relaxed', int8]),
    ['baseline', 'int16'],
  ] as [string, KernelChoice['int8']][];
  for (const [set, int8] of choices) {
    const module = moduleOf(set);
    for (const tile of ['6x16', '6x8'] as const) {
      const wrong: string[] = [];
      let [count, worst] = [0, 0];
      for (const op of TESTED_OPS) {
        for (const [name, make] of Object.entries(op.cases)) {
          const inputs = make();
          const want = await runOp(reference, op, inputs);
          const runtime = new Runtime(new CpuDevice(module, memory, { int8, tile }, 1));
          const share = worstOf(await runOp(runtime, op, inputs), want, op.bound(inputs));
          count++;
          if (share <= 1) worst = Math.max(worst, share);
          else wrong.push(`${op.name}, ${name}`);
        }
      }
      console.log(
        `${process.arch}, ${set} SIMD, ${int8}, ${tile}: ${count} cases, ${wrong.length} wrong, ` +
          `worst of the others ${worst.toFixed(2)} of its bound${wrong.length > 0 ? `: ${wrong.join('; ')}` : ''}`,
      );
    }
  }
}

const [part, file] = process.argv.slice(2);
if (part === 'plain') (globalThis as { SharedArrayBuffer?: unknown }).SharedArrayBuffer = undefined;
if (part === 'logits') console.log(JSON.stringify(await logits(() => {})));
else if (part === 'cases') await cases();
else await compare(file!);
