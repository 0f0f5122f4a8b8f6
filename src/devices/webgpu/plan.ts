/**
 * What the GPU device dispatches for a program of ops: which kernels, on which tensors, in which grid. The kernel that
 * makes a tensor which an int8 linear quantizes also notes its range, so that no dispatch is spent on that.
 */
import { inputError } from '../../errors.ts';

/** The kernels' files. Literals, so that bundlers find them. */
export const FILES = {
  common: new URL('../../../kernels/common.wgsl', import.meta.url),
  float: new URL('../../../kernels/float.wgsl', import.meta.url),
  int8: new URL('../../../kernels/int8.wgsl', import.meta.url),
  linear: new URL('../../../kernels/linear.wgsl', import.meta.url),
  tiled: new URL('../../../kernels/linear.tiled.wgsl', import.meta.url),
  direct: new URL('../../../kernels/linear.direct.wgsl', import.meta.url),
  floatElements: new URL('../../../kernels/linear.float.wgsl', import.meta.url),
  packedElements: new URL('../../../kernels/linear.packed.wgsl', import.meta.url),
  fp32Weight: new URL('../../../kernels/weight.fp32.wgsl', import.meta.url),
  fp16Weight: new URL('../../../kernels/weight.fp16.wgsl', import.meta.url),
  int8Weight: new URL('../../../kernels/weight.int8.wgsl', import.meta.url),
  attention: new URL('../../../kernels/attention.wgsl', import.meta.url),
  layerNorm: new URL('../../../kernels/layerNorm.wgsl', import.meta.url),
  embedding: new URL('../../../kernels/embedding.wgsl', import.meta.url),
  range: new URL('../../../kernels/range.wgsl', import.meta.url),
};
export type File = keyof typeof FILES;

/** Which of the kernels the linears use; the same integers from all. */
export interface GpuChoice {
  /** tiled: by way of workgroup memory; direct: for adapters that compute on the CPU. */
  product: 'tiled' | 'direct';
  /** packed: dot4I8Packed; float: whole numbers in float32. */
  int8: 'packed' | 'float';
}

/** A tensor: what was uploaded has rows and a buffer; what an op makes has `tokens` rows, and its buffer from a plan. */
export interface Handle {
  readonly columns: number;
  readonly rows: number | null;
  buffer: GPUBuffer | null;
}
export interface Linear {
  readonly weight: GPUBuffer;
  /** float weights: bias; int8: for each output feature its weights' sum, scale and bias. */
  readonly constants: GPUBuffer;
  readonly features: number;
  readonly out: number;
  readonly format: 'fp32' | 'fp16' | 'int8';
  readonly scheme: 'torch' | 'accurate' | null;
}
/** A step of a program: what it reads, its linear, and the one number it is given: eps, heads, or 1 for GELU. */
export interface Node {
  readonly op: 'embedding' | 'layerNorm' | 'linear' | 'attention';
  readonly reads: readonly Handle[];
  readonly linear: Linear | null;
  readonly option: number;
  readonly y: Handle;
}

export interface Dispatch {
  readonly name: string;
  readonly files: readonly File[];
  /** WGSL's `override`s. */
  readonly constants: Record<string, number>;
  /** Bindings 4 to 8. */
  readonly reads: readonly (Handle | GPUBuffer | null)[];
  readonly y: Handle | null;
  /** common.wgsl's Step, but for its capacity. */
  readonly step: Partial<Record<'features' | 'out' | 'heads' | 'eps' | 'rangeOfX' | 'rangeOfY', number>>;
  readonly grid: (tokens: number) => [number, number?];
}

/** A workgroup for each token. */
const perToken = (tokens: number): [number] => [tokens];
/** Rows of a tile. */
const ROWS = 32;

export class Program {
  readonly dispatches: Dispatch[] = [];
  /** Number of tensors that are quantized. */
  readonly ranges: number;
  readonly #nodes: readonly Node[];
  readonly #choice: GpuChoice;
  readonly #scheme: Linear['scheme'];
  /** Of each tensor that a linear quantizes, where its range is. */
  readonly #slots = new Map<Handle, number>();

  constructor(nodes: readonly Node[], choice: GpuChoice) {
    this.#nodes = nodes;
    this.#choice = choice;
    const schemes = new Set(nodes.flatMap(({ linear }) => (linear ? [linear.scheme] : [])));
    if (schemes.size > 1) throw inputError('webgpu: linears', 'one dtype and scheme', [...schemes].join(', '));
    this.#scheme = [...schemes][0] ?? null;
    for (const { op, reads } of nodes) {
      const [x] = reads as [Handle];
      if (op === 'linear' && this.#scheme && !this.#slots.has(x)) this.#slots.set(x, this.#slots.size);
    }
    this.ranges = this.#slots.size;
    for (const node of nodes) this[node.op](node);
  }

  /** What all kernels with float.wgsl or int8.wgsl are given: whether y's range is noted, and where. */
  #noting(y: Handle) {
    const int8 = this.#scheme !== null;
    const accurate = Number(this.#scheme === 'accurate');
    return {
      arithmetic: int8 ? ('int8' as const) : ('float' as const),
      constants: int8 ? { ACCURATE: accurate, RANGE: Number(this.#slots.has(y)) } : {},
      rangeOfY: this.#slots.get(y) ?? 0,
    };
  }

  embedding({ reads: [word, position, type], y }: Node): void {
    const step = { out: y.columns };
    const reads = [word!, type!, position!];
    this.dispatches.push({ name: 'embedding', files: ['embedding'], constants: {}, reads, y, step, grid: perToken });
  }

  attention({ reads, option: heads, y }: Node): void {
    const { arithmetic, constants, rangeOfY } = this.#noting(y);
    const step = { out: y.columns, heads, rangeOfY };
    const grid = (tokens: number): [number, number] => [Math.ceil(tokens / 16), heads];
    this.dispatches.push({ name: 'attention', files: [arithmetic, 'attention'], constants, reads, y, step, grid });
  }

  layerNorm({ reads: [x, gamma, beta, residual], option: eps, y }: Node): void {
    const { arithmetic, constants, rangeOfY } = this.#noting(y);
    this.dispatches.push({
      name: 'layerNorm',
      files: [arithmetic, 'layerNorm'],
      constants: { ...constants, RESIDUAL: Number(residual !== undefined) },
      reads: [x!, residual ?? null, null, gamma!, beta!],
      y,
      step: { out: y.columns, eps, rangeOfY },
      grid: perToken,
    });
  }

  linear({ reads: [x], linear, option: gelu, y }: Node): void {
    const { weight, constants: kept, format, features, out } = linear!;
    const { arithmetic, constants, rangeOfY } = this.#noting(y);
    const rangeOfX = this.#slots.get(x!) ?? 0;
    const made = this.#nodes.some((node) => node.y === x && node.op !== 'embedding');
    if (this.#scheme && !made) this.#range(x!, features);
    const packed = format === 'int8' && this.#choice.int8 === 'packed';
    const elements: File[] = packed ? ['packedElements'] : ['floatElements', `${format}Weight`];
    this.dispatches.push({
      name: format === 'int8' ? 'linearInt8' : 'linear',
      files: [arithmetic, ...elements, this.#choice.product, 'linear'],
      constants: { ...constants, GELU: gelu },
      reads: [x!, weight, kept],
      y,
      step: { features, out, rangeOfX, rangeOfY },
      grid: (tokens) => [Math.ceil(out / 64), Math.ceil(tokens / ROWS)],
    });
  }

  /** A dispatch that only notes a tensor's range, where no kernel that could has made it. */
  #range(x: Handle, features: number): void {
    if (this.dispatches.some(({ name, reads }) => name === 'range' && reads[0] === x)) return;
    const { constants, rangeOfY } = this.#noting(x);
    const step = { features, rangeOfY };
    const files = ['int8', 'range'] as const;
    this.dispatches.push({ name: 'range', files, constants, reads: [x], y: null, step, grid: perToken });
  }
}
