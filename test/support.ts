/** Paths, goldens and comparisons that the tests share. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Page, PageScreenshotOptions } from 'playwright-core';
import { expect } from 'vitest';
import { constant, type Float32Tensor, runOp, tensor, uniform } from '../kernels/op.ts';
import { main } from '../programs/main.ts';
import { readSafetensors, type StoredTensor } from '../src/checkpoint/safetensors.ts';
import { ReferenceDevice } from '../src/devices/reference.ts';
import { BertletError, type ErrorCode } from '../src/index.ts';
import { type Device, type HostTensor, type QuantizedTensor, Runtime } from '../src/runtime.ts';
import { TESTED_OPS, type TestedOp } from './opCases.ts';

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

export const ROOT = path('..');
export const CHECKPOINT = path('../weights/minilm-l6-qa');
export const GOLDEN = path('golden');
export const TINY = path('golden/tiny-bert');

export const goldenTensors = (name: string): Map<string, HostTensor> =>
  readSafetensors(readFileSync(`${GOLDEN}/${name}.safetensors`), name);

export const goldenJson = <T>(name: string): T => JSON.parse(readFileSync(`${GOLDEN}/${name}.json`, 'utf8')) as T;

/** Numbers in memory are compared byte by byte first: element by element `toEqual` takes seconds for a weight. */
expect.addEqualityTesters([
  (a, b) => {
    if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b) || a.constructor !== b.constructor) return undefined;
    const [left, right] = [a, b].map((each) => new Uint8Array(each.buffer, each.byteOffset, each.byteLength));
    return Buffer.compare(left!, right!) === 0 || undefined; // where they differ, `toEqual` says how
  },
]);

/** Tensors in memory, as a checkpoint has them in its files. */
export const storedTensors = (tensors: ReadonlyMap<string, HostTensor>): Map<string, StoredTensor> =>
  new Map(
    [...tensors].map(([name, { dtype, shape, data }]) => {
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      return [name, { dtype, shape, read: (target) => target.set(bytes) }];
    }),
  );

/** A safetensors file of tensors of any dtype, as another program may write it. */
export function rawSafetensors(
  tensors: ReadonlyMap<string, { dtype: string; shape: readonly number[]; data: ArrayBufferView }>,
): Uint8Array {
  let end = 0;
  const header: Record<string, unknown> = {};
  for (const [name, { dtype, shape, data }] of tensors) {
    const begin = end;
    end += data.byteLength;
    header[name] = { dtype, shape, data_offsets: [begin, end] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const parts = [...tensors.values()].map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  return Buffer.concat([length, json, ...parts]);
}

/** Tensors named `<group>/<case>/<tensor>`, as case -> tensor name -> tensor. */
export function goldenCases(tensors: Map<string, HostTensor>, group: string): Map<string, Record<string, HostTensor>> {
  const cases = new Map<string, Record<string, HostTensor>>();
  for (const [name, tensor] of tensors) {
    if (!name.startsWith(`${group}/`)) continue;
    const [, key, part] = name.split('/') as [string, string, string];
    cases.set(key, { ...cases.get(key), [part]: tensor });
  }
  expect(cases.size, `goldens of ${group}`).toBeGreaterThan(0);
  return cases;
}

export const float32 = (tensor: HostTensor | undefined): Float32Tensor => {
  expect(tensor?.dtype).toBe('F32');
  return tensor as Float32Tensor;
};

/** `Bert.forward`'s logits [tokens, 2], apart. */
export const splitLogits = (logits: Float32Array) => ({
  start: logits.filter((_, i) => i % 2 === 0),
  end: logits.filter((_, i) => i % 2 === 1),
});

/** Largest absolute difference; NaN where the lengths differ or either side has a NaN. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.NaN;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (Number.isNaN(difference)) return Number.NaN; // no later difference may take its place
    largest = Math.max(largest, difference);
  }
  return largest;
}

/** Largest `|a - b| / bound`, which must not exceed 1. A NaN on both sides is no difference. */
export function largestShare(a: ArrayLike<number>, b: ArrayLike<number>, bound: ArrayLike<number>): number {
  if (a.length !== b.length || a.length !== bound.length) return Number.NaN;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Object.is(a[i], b[i]) ? 0 : Math.abs(a[i]! - b[i]!);
    const share = difference === 0 ? 0 : difference / bound[i]!;
    if (Number.isNaN(share)) return Number.NaN;
    largest = Math.max(largest, share);
  }
  return largest;
}

/** Runs something that must fail with a BertletError of this code and message. */
export async function expectError(code: ErrorCode, message: RegExp, run: () => unknown): Promise<void> {
  let error: unknown;
  try {
    await run();
  } catch (caught) {
    error = caught;
  }
  expect(error, `expected an error like ${message}`).toBeInstanceOf(BertletError);
  expect((error as BertletError).message).toMatch(message);
  expect((error as BertletError).code).toBe(code);
}

/** Every op and case. */
export const OP_CASES = TESTED_OPS.flatMap((op) => Object.keys(op.cases).map((key) => [op.name, key, op] as const));

const reference = new Runtime(new ReferenceDevice());
const wanted = new Map<string, Promise<{ inputs: unknown; want: Float32Array; bound: Float64Array }>>();

/** Runs a case of an op on a device: its largest distance from the reference, as a share of the derived bound. */
export async function shareOfBound(device: Device, key: string, op: TestedOp<unknown>): Promise<number> {
  const id = `${op.name}, ${key}`;
  const expected = async () => {
    const inputs = op.cases[key]!();
    return { inputs, want: await runOp(reference, op, inputs), bound: op.bound(inputs) };
  };
  if (!wanted.has(id)) wanted.set(id, expected());
  const { inputs, want, bound } = await wanted.get(id)!;
  return largestShare(await runOp(new Runtime(device), op, inputs), want, bound);
}

/** Tokens, features and outputs that fill no tile. */
export const ACCUMULATOR_SIZES = [1, 3, 63, 64, 65, 255, 257].flatMap((k, i, all) => [
  [all[6 - i]!, k, 17] as const,
  [5, k, 1000 - k] as const,
]);

/** How many of an int8 product's accumulators are not the exact sums. Scales of 1 and no bias: the outputs are them. */
export async function wrongAccumulators(device: Device, tokens: number, features: number, out: number) {
  const runtime = new Runtime(device);
  const next = uniform(tokens + features);
  let wrong = 0;
  for (const zeroPoint of [0, 64]) {
    const x = Float32Array.from({ length: tokens * features }, () => Math.floor(next() * 128) - zeroPoint);
    x[0] = -zeroPoint; // the range that makes the scale 1 and this the zero point
    x[x.length - 1] = 127 - zeroPoint;
    if (x.length === 1) x[0] = 127;
    const data = Int8Array.from({ length: out * features }, () => Math.floor(next() * 256) - 128);
    const scale = new Float32Array(out).fill(1);
    const weight: QuantizedTensor = { dtype: 'I8', shape: [out, features], data, scale, scheme: 'torch' };
    const linear = runtime.linearLayer(weight, constant([out], 0));
    const y = await runtime.read(runtime.linear(runtime.tensor(tensor([tokens, features], x)), linear));
    for (let i = 0; i < tokens * out; i++) {
      let sum = 0; // below 2^24, and so exact in float32
      const [row, column] = [Math.floor(i / out), i % out];
      for (let k = 0; k < features; k++) sum += x[row * features + k]! * data[column * features + k]!;
      if (y[i] !== sum) wrong++;
    }
  }
  return wrong;
}

/** Runs lines of a program of its own that has `load`, `folder` (the embedded checkpoint's), `tiny` (that of a tiny model) and a question to `ask`. */
export function runScript(
  body: string,
  { env = {}, root = ROOT, flags = [] }: { env?: NodeJS.ProcessEnv; root?: string; flags?: string[] } = {},
) {
  const index = root === ROOT ? './src/index.ts' : './dist/src/index.js';
  const code = `import { load } from '${index}'; const folder = ${JSON.stringify(CHECKPOINT)};
    const tiny = ${JSON.stringify(TINY)}; const ask = { question: 'Who came yesterday?', context: 'Ada came yesterday.' }; ${body}`;
  return spawnSync(process.execPath, [...flags, '--input-type=module', '-e', code], {
    cwd: root,
    encoding: 'utf8',
    timeout: 120_000, // a hang ends as status null
    env: { ...process.env, ...env },
  });
}

/** Where it is so, V8's revectorizer must work. */
export const HAS_AVX2 = existsSync('/proc/cpuinfo') && / avx2 /.test(readFileSync('/proc/cpuinfo', 'utf8'));

/** As on a machine without a GPU. */
export const WITHOUT_GPU = { VK_DRIVER_FILES: '/nowhere', BERTLET_ADAPTER: '' };

const processListeners = () =>
  process.eventNames().map((name) => `${String(name)}: ${process.listenerCount(name as 'exit')}`);

/**
 * Runs `bertlet` in this process, in this environment and with this to read: its exit code and what it wrote. It must leave
 * the process as it was. An error that is none of ours is thrown.
 */
export async function runProgram(
  args: readonly string[],
  { env = {}, input = '' }: { env?: object; input?: string } = {},
) {
  const written = { out: '', error: '' };
  const into = (name: keyof typeof written) =>
    new Writable({
      decodeStrings: false,
      write: (text: string, _, done) => {
        written[name] += text;
        done();
      },
    });
  const [environment, listeners] = [{ ...process.env }, processListeners()];
  Object.assign(process.env, env);
  try {
    const io = { stdin: Readable.from([input]), stdout: into('out'), stderr: into('error') };
    const status = await main(args, io);
    return { status, ...written };
  } finally {
    for (const name of Object.keys(env)) {
      if (environment[name] === undefined) delete process.env[name];
      else process.env[name] = environment[name];
    }
    expect(processListeners(), 'listeners of the process').toEqual(listeners);
  }
}

/** Runs `bertlet` in a process of its own, with this to read: what a shell and a pipe see of it. */
export function spawnProgram(args: readonly string[], { input = '', program = 'programs/main.ts' } = {}) {
  const options = { cwd: ROOT, encoding: 'utf8', input } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], options);
  return { status, out: stdout, error: stderr };
}

/** A picture for people to look at. On a busy machine Chromium now and then cannot take one, and can at the next try. */
export async function picture(page: Page, options: PageScreenshotOptions): Promise<void> {
  await page.screenshot(options).catch(() => page.screenshot(options));
}
