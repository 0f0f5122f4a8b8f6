// @unit
/**
 * The float ops on `cpu` are at least as exact as PyTorch's own: both are compared with float64 on the inputs of the
 * goldens. Rounding errors of float ops flip quantized values, and so move the logits of an int8 model.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { OPS } from '../kernels/index.ts';
import { constant, type Op, runOp, tensor, U } from '../kernels/op.ts';
import { CpuDevice } from '../src/devices/cpu/device.ts';
import { startCpu } from '../src/devices/cpu/start.ts';
import { erf } from '../src/devices/reference.ts';
import { type HostTensor, Runtime } from '../src/runtime.ts';
import { float32, goldenCases, goldenTensors, ROOT } from './support.ts';

type Tensors = Record<string, HostTensor>;
const numbers = (t: HostTensor | undefined) => Array.from(float32(t).data);
const rowsOf = (values: readonly number[], columns: number) =>
  Array.from({ length: values.length / columns }, (_, i) => values.slice(i * columns, (i + 1) * columns));
const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

function linear64({ x, weight, bias }: Tensors): number[] {
  const b = numbers(bias);
  const columns = rowsOf(numbers(weight), weight!.shape[1]!);
  return rowsOf(numbers(x), x!.shape[1]!).flatMap((row) => columns.map((column, n) => dot(row, column) + b[n]!));
}
const gelu64 = (x: number) => (x * (1 + erf(x / Math.SQRT2))) / 2;

function layerNorm64({ x, residual, gamma, beta }: Tensors): number[] {
  const [g, b, r] = [numbers(gamma), numbers(beta), residual ? numbers(residual) : []];
  const sums = numbers(x).map((value, i) => value + (r[i] ?? 0));
  return rowsOf(sums, g.length).flatMap((row) => {
    const mean = row.reduce((sum, value) => sum + value, 0) / row.length;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / row.length;
    return row.map((value, i) => ((value - mean) / Math.sqrt(variance + 1e-12)) * g[i]! + b[i]!);
  });
}

function attention64({ qkv }: Tensors, heads: number): number[] {
  const rows = rowsOf(numbers(qkv), qkv!.shape[1]!);
  const size = qkv!.shape[1]! / 3 / heads;
  const part = (row: number[], which: number, head: number) => {
    const begin = (which * heads + head) * size;
    return row.slice(begin, begin + size);
  };
  return rows.flatMap((row) =>
    Array.from({ length: heads }, (_, head) => {
      const scores = rows.map((other) => dot(part(row, 0, head), part(other, 1, head)) / Math.sqrt(size));
      const most = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - most));
      const total = weights.reduce((sum, value) => sum + value, 0);
      return part(row, 2, head).map(
        (_, i) => rows.reduce((sum, other, j) => sum + weights[j]! * part(other, 2, head)[i]!, 0) / total,
      );
    }).flat(),
  );
}

describe.each([['relaxed'], ['baseline']])('GELU, %s SIMD', (name) => {
  const module = new WebAssembly.Module(readFileSync(join(ROOT, 'wasm', `${name}.wasm`)));
  const choice = { int8: 'int16', tile: '6x16' } as const;
  const runtime = new Runtime(new CpuDevice(module, new WebAssembly.Memory({ initial: 8, maximum: 65536 }), choice, 1));
  /** GELU by a linear whose one weight is 1. */
  const gelu = (x: Float32Array) => {
    const one = runtime.linearLayer(constant([1, 1], 1), constant([1], 0));
    return runtime.read(runtime.linear(runtime.tensor(tensor([x.length, 1], x)), one, 'gelu'));
  };
  test('100,000 numbers from -7 to 7, and small ones: error < 4 U |x|', async () => {
    const x = Float32Array.from({ length: 100_000 }, (_, i) => (i - 50_000) / (i % 7 === 0 ? 1e7 : 7142.9));
    const y = await gelu(x);
    const share = x.reduce(
      (most, value, i) => Math.max(most, Math.abs(y[i]! - gelu64(value)) / Math.abs(value || 1)),
      0,
    );
    console.log(`GELU, ${name} SIMD: largest error ${(share / U).toFixed(2)} U |x|`);
    expect(share).toBeLessThan(4 * U);
  });
  test('far out it is 0 or x', async () => {
    const x = Float32Array.of(-6.01, -7, -20, -1e4, -3e38, 6.01, 20, 3e38, 0);
    expect(await gelu(x)).toEqual(x.map((value) => Math.max(value, 0)));
  });
});

describe('errors against float64, ours and PyTorch’s', () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = new Runtime((await startCpu({ threads: 1 })).device);
  });
  afterAll(() => runtime.dispose());
  const goldens = goldenTensors('ops');
  const linearInputs = ({ x, weight, bias }: Tensors) => ({
    x: float32(x),
    weight: float32(weight),
    bias: float32(bias),
  });
  const eachOp: Record<
    string,
    [op: Op<never>, inputs: (t: Tensors, name: string) => unknown, exact: (t: Tensors, name: string) => number[]]
  > = {
    linear: [OPS.linear as Op<never>, linearInputs, linear64],
    linearGelu: [
      OPS.linear as Op<never>,
      (t) => ({ ...linearInputs(t), activation: 'gelu' }),
      (t) => linear64(t).map(gelu64),
    ],
    layerNorm: [
      OPS.layerNorm as Op<never>,
      ({ x, residual, gamma, beta }) => ({
        x: float32(x),
        residual: residual ? float32(residual) : null,
        gamma: float32(gamma),
        beta: float32(beta),
        eps: 1e-12,
      }),
      layerNorm64,
    ],
    attention: [
      OPS.attention as Op<never>,
      ({ qkv }, name) => ({ qkv: float32(qkv), heads: Number(/-h(\d+)$/.exec(name)![1]) }),
      (t, name) => attention64(t, Number(/-h(\d+)$/.exec(name)![1])),
    ],
  };
  /** Root mean square of the errors in units of U times the largest number of the case. */
  const errorOf = (got: ArrayLike<number>, want: readonly number[]) => {
    const size = Math.max(...want.map(Math.abs)) || 1;
    return Math.sqrt(want.reduce((sum, value, i) => sum + ((got[i]! - value) / size) ** 2, 0) / want.length) / U;
  };
  for (const [name, [op, inputs, exact]] of Object.entries(eachOp)) {
    test(name, async () => {
      const rows: { case: string; ours: number; torch: number }[] = [];
      for (const [key, tensors] of goldenCases(goldens, name)) {
        const want = exact(tensors, key);
        const got = await runOp(runtime, op as Op<unknown>, inputs(tensors, key));
        rows.push({ case: key, ours: errorOf(got, want), torch: errorOf(numbers(tensors.y), want) });
      }
      console.log(
        `${name}: error in U, root mean square\n${rows.map((row) => `  ${row.case}: ours ${row.ours.toFixed(3)}, PyTorch ${row.torch.toFixed(3)}`).join('\n')}`,
      );
      const mean = (which: 'ours' | 'torch') => rows.reduce((sum, row) => sum + row[which], 0) / rows.length;
      expect(mean('ours')).toBeLessThanOrEqual(1.05 * mean('torch'));
    });
  }
});
