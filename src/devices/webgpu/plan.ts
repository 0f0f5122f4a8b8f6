/**
 * Plans the dispatches of a program for the GPU device: which kernels run, on which tensors, in which grid.
 *
 * An int8 linear quantizes its input and needs the input's range for that. The kernel that makes the input records the
 * range as well, so a range costs no dispatch of its own, except for uploads and embeddings.
 */
import { WGSL } from '../../../wasm/assets.js';
import { inputError } from '../../errors.ts';

/** The texts of the kernel files. */
export const FILES = {
  common: WGSL.common,
  float: WGSL.float,
  int8: WGSL.int8,
  linear: WGSL.linear,
  tiled: WGSL['linear.tiled'],
  direct: WGSL['linear.direct'],
  floatElements: WGSL['linear.float'],
  packedElements: WGSL['linear.packed'],
  fp32Weight: WGSL['weight.fp32'],
  fp16Weight: WGSL['weight.fp16'],
  int8Weight: WGSL['weight.int8'],
  attention: WGSL.attention,
  layerNorm: WGSL.layerNorm,
  embedding: WGSL.embedding,
  range: WGSL.range,
};
export type File = keyof typeof FILES;

/** The kernels that linears use. All choices compute the same integers. */
export interface GpuChoice {
  /** tiled: tiles go through workgroup memory. direct: no workgroup memory, for adapters that compute on the CPU. */
  product: 'tiled' | 'direct';
  /** packed: dot4I8Packed. float: the integers are multiplied as float32. */
  int8: 'packed' | 'float';
}

/** A tensor on the GPU. An upload has rows and a buffer. For an activation `rows` is null; the plan sets the buffer. */
export interface Handle {
  /** Serial number among the device's uploads; of an activation -1 minus the index of its step. */
  readonly id: number;
  readonly columns: number;
  readonly rows: number | null;
  buffer: GPUBuffer | null;
}
/** A linear layer on the GPU. */
export interface Linear {
  /** Serial number among the device's uploads. */
  readonly id: number;
  readonly weight: GPUBuffer;
  /** float: the bias. int8: the weight sums, the scales and the biases of all output features. */
  readonly constants: GPUBuffer;
  readonly features: number;
  readonly out: number;
  readonly format: 'fp32' | 'fp16' | 'int8';
  readonly scheme: 'torch' | 'accurate' | null;
}
/** A step of a program, without its input. `option`: the number for its kernel, which is eps, heads, or 1 for GELU. */
export interface Node {
  readonly op: 'embedding' | 'layerNorm' | 'linear' | 'attention';
  readonly reads: readonly Handle[];
  readonly linear: Linear | null;
  readonly option: number;
  readonly y: Handle;
}

/** Of a batch: the rows of all sequences, and the blocks of 16 queries of one sequence that attention takes. */
export interface Size {
  readonly tokens: number;
  readonly blocks: number;
}

/** One dispatch of one kernel. */
export interface Dispatch {
  readonly name: string;
  /** The WGSL files that make up the kernel, after common.wgsl. */
  readonly files: readonly File[];
  /** Values of the kernel's `override` constants. */
  readonly constants: Record<string, number>;
  /** What the kernel reads, at bindings 4 to 8. */
  readonly reads: readonly (Handle | GPUBuffer | null)[];
  readonly y: Handle | null;
  /** Fields of the uniform `Step` (common.wgsl), except the capacity. */
  readonly step: Partial<Record<'features' | 'out' | 'heads' | 'eps' | 'rangeOfX' | 'rangeOfY' | 'perRow', number>>;
  /** Workgroups of the dispatch. */
  readonly grid: (size: Size) => [number, number?];
}

/** Instead of an index into `ranges`: the kernel records no range. */
const NO_SLOT = 0xffffffff;
/** The grid with one workgroup for each token. */
const perToken = ({ tokens }: Size): [number] => [tokens];
/** Rows of y that one workgroup of a linear computes. */
const ROWS = 32;

/** The dispatches of a program, in order. */
export class Program {
  readonly dispatches: Dispatch[] = [];
  /** Number of tensors that linears quantize, and whose range is recorded. */
  readonly ranges: number;
  readonly #nodes: readonly Node[];
  readonly #choice: GpuChoice;
  readonly #scheme: Linear['scheme'];
  /** Index of each quantized tensor's range in the buffer `ranges`. */
  readonly #slots = new Map<Handle, number>();

  constructor(nodes: readonly Node[], choice: GpuChoice) {
    this.#nodes = nodes;
    this.#choice = choice;
    const schemes = new Set(nodes.flatMap(({ linear }) => (linear ? [linear.scheme] : [])));
    if (schemes.size > 1) {
      const got = [...schemes].map((scheme) => (scheme ? `int8 ${scheme}` : 'float')).join(' and ');
      throw inputError('webgpu: program', 'linears of one arithmetic', got, 'Read them in programs of their own.');
    }
    this.#scheme = [...schemes][0] ?? null;
    for (const { op, reads } of nodes) {
      const [x] = reads as [Handle];
      if (op === 'linear' && this.#scheme && !this.#slots.has(x)) this.#slots.set(x, this.#slots.size);
    }
    this.ranges = this.#slots.size;
    for (const node of nodes) this[node.op](node);
  }

  /** Where and how the kernel that makes y records its range. */
  #noting(y: Handle) {
    return { rangeOfY: this.#slots.get(y) ?? NO_SLOT, perRow: Number(this.#scheme === 'accurate') };
  }

  embedding({ reads: [word, position, type], y }: Node): void {
    const step = { out: y.columns };
    const reads = [word!, type!, position!];
    this.dispatches.push({ name: 'embedding', files: ['embedding'], constants: {}, reads, y, step, grid: perToken });
  }

  attention({ reads, option: heads, y }: Node): void {
    const step = { out: y.columns, heads, ...this.#noting(y) };
    const grid = ({ blocks }: Size): [number, number] => [blocks, heads];
    this.dispatches.push({ name: 'attention', files: ['attention'], constants: {}, reads, y, step, grid });
  }

  layerNorm({ reads: [x, gamma, beta, residual], option: eps, y }: Node): void {
    this.dispatches.push({
      name: 'layerNorm',
      files: ['layerNorm'],
      constants: { RESIDUAL: Number(residual !== undefined) },
      reads: [x!, residual ?? null, null, gamma!, beta!],
      y,
      step: { out: y.columns, eps, ...this.#noting(y) },
      grid: perToken,
    });
  }

  linear({ reads: [x], linear, option: gelu, y }: Node): void {
    const { weight, constants: kept, format, features, out } = linear!;
    const rangeOfX = this.#slots.get(x!) ?? 0;
    const made = this.#nodes.some((node) => node.y === x && node.op !== 'embedding');
    if (this.#scheme && !made) this.#range(x!, features);
    const packed = format === 'int8' && this.#choice.int8 === 'packed';
    const elements: File[] = packed ? ['packedElements'] : ['floatElements', `${format}Weight`];
    this.dispatches.push({
      name: format === 'int8' ? 'linearInt8' : 'linear',
      files: [this.#scheme ? 'int8' : 'float', ...elements, this.#choice.product, 'linear'],
      constants: { GELU: gelu },
      reads: [x!, weight, kept],
      y,
      step: { features, out, rangeOfX, ...this.#noting(y) },
      grid: ({ tokens }) => [Math.ceil(out / 64), Math.ceil(tokens / ROWS)],
    });
  }

  /** Adds a dispatch that only records the range of x, unless there is one. For an x whose kernel records no range. */
  #range(x: Handle, features: number): void {
    if (this.dispatches.some(({ name, reads }) => name === 'range' && reads[0] === x)) return;
    const step = { features, ...this.#noting(x) };
    this.dispatches.push({ name: 'range', files: ['range'], constants: {}, reads: [x], y: null, step, grid: perToken });
  }
}
