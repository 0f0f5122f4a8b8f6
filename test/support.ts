/** Paths, goldens and comparisons that the tests share. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import type { Float32Tensor } from '../kernels/op.ts';
import type { Tensor } from '../src/backend.ts';
import { readSafetensors } from '../src/checkpoint/safetensors.ts';
import { BertletError, type ErrorCode } from '../src/index.ts';

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

export const ROOT = path('..');
export const CHECKPOINT = path('../weights/minilm-l6-qa');
export const GOLDEN = path('golden');
export const TINY = path('golden/tiny-bert');

export const goldenTensors = (name: string): Map<string, Tensor> =>
  readSafetensors(readFileSync(`${GOLDEN}/${name}.safetensors`), name);

export const goldenJson = <T>(name: string): T => JSON.parse(readFileSync(`${GOLDEN}/${name}.json`, 'utf8')) as T;

/** Tensors named `<group>/<case>/<tensor>`, as case -> tensor name -> tensor. */
export function goldenCases(tensors: Map<string, Tensor>, group: string): Map<string, Record<string, Tensor>> {
  const cases = new Map<string, Record<string, Tensor>>();
  for (const [name, tensor] of tensors) {
    if (!name.startsWith(`${group}/`)) continue;
    const [, key, part] = name.split('/') as [string, string, string];
    cases.set(key, { ...cases.get(key), [part]: tensor });
  }
  expect(cases.size, `goldens of ${group}`).toBeGreaterThan(0);
  return cases;
}

export const float32 = (tensor: Tensor | undefined): Float32Tensor => {
  expect(tensor?.dtype).toBe('F32');
  return tensor as Float32Tensor;
};

/** Largest absolute difference; NaN where the lengths differ or either side has a NaN. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.NaN;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

/** Largest `|a - b| / bound`, which must not exceed 1. */
export function largestShare(a: ArrayLike<number>, b: ArrayLike<number>, bound: ArrayLike<number>): number {
  if (a.length !== b.length || a.length !== bound.length) return Number.NaN;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    const share = difference === 0 ? 0 : difference / bound[i]!;
    if (!(share <= largest)) largest = share;
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
