/**
 * The dispatches of a program: which kernels run for its steps, on which tensors, in which grid.
 *
 * An int8 linear quantizes its input and needs the input's range for that. The kernel that makes the input records the
 * range as well, so a range costs no dispatch of its own, except for an upload, and for a second linear that quantizes
 * the same tensor by another scheme.
 */
import { WGSL } from '../../../wasm/assets.js';
import { inputError } from '../../errors.ts';
import type { Scheme, Step, Tensor } from '../../runtime.ts';

/** The WGSL files that make up each kernel, after common.wgsl. */
export const KERNELS = {
  rows: ['rows'],
  layerNorm: ['total', 'layerNorm'],
  attention: ['attention'],
  range: ['range'],
  elementwise: ['activation', 'elementwise'],
  softmax: ['total', 'softmax'],
  mean: ['mean'],
  transpose: ['transpose'],
  linear: ['activation', 'linear.float', 'weight.fp32', 'linear'],
  linearFp16: ['activation', 'linear.float', 'weight.fp16', 'linear'],
  linearInt8: ['activation', 'quantizer', 'linear.int8', 'linear'],
} as const satisfies Record<string, readonly (keyof typeof WGSL)[]>;
export type Kernel = keyof typeof KERNELS;

/** The text of a kernel. */
export const sourceOf = (kernel: Kernel): string =>
  ['common' as const, ...KERNELS[kernel]].map((file) => WGSL[file]).join('\n');

/** A buffer, and its number among the device's, by which bind groups are found again. */
export interface GpuMemory {
  readonly id: number;
  readonly bytes: number;
  readonly usage: number;
  readonly buffer: GPUBuffer;
}
/** A tensor on the GPU: an upload; or what a step makes, which gets its memory when the program runs. */
export interface GpuTensor {
  readonly rows: number;
  readonly columns: number;
  memory: GpuMemory | null;
}
/** A linear layer on the GPU. */
export interface GpuLinear {
  readonly kernel: 'linear' | 'linearFp16' | 'linearInt8';
  readonly weight: GpuTensor;
  /** float: the biases. int8: the weight sums, the scales and the biases of all output features. */
  readonly constants: GpuTensor;
  /** How activations are quantized; null for a float weight. */
  readonly scheme: Scheme | null;
}

/** Instead of a place in `ranges`: the kernel records no range. */
const NO_RANGE = 0xffffffff;
/** The fields of Step (common.wgsl), in their order there; eps by its bits. */
const FIELDS = {
  rows: 0,
  inRows: 0,
  inColumns: 0,
  outColumns: 0,
  heads: 0,
  activation: 0,
  second: 0,
  eps: 0,
  indicesA: 0,
  indicesB: 0,
  indicesC: 0,
  starts: 0,
  firsts: 0,
  rangeOfX: 0,
  pairsOfX: 0,
  rangeOfY: NO_RANGE,
  pairsOfY: 0,
};
type Fields = Partial<typeof FIELDS>;
/** Columns, rows and layers of the workgroups of a dispatch. */
type Grid = readonly [number, number?, number?];

/** One dispatch of one kernel. */
export interface Dispatch {
  readonly kernel: Kernel;
  /** Tensors that the kernel reads, at bindings 4 to 7. */
  readonly reads: readonly GpuTensor[];
  readonly y: GpuTensor;
  /** The values of FIELDS. */
  readonly step: readonly number[];
  readonly grid: Grid;
}

/** Where the tables of sequences are: Step in common.wgsl. `each`: every row is its own. */
type Sequences = { readonly starts: number; readonly firsts: number; readonly each: number };
/** The range of a tensor, for linears of one scheme. `recorded`: a dispatch does so already. */
interface Range {
  readonly scheme: Scheme;
  readonly first: number;
  readonly pairs: number;
  recorded: boolean;
}

/** WebGPU's default limit, which every adapter has. */
const MAX_WORKGROUPS = 65535;
/** Numbers of the activations in activation.wgsl, and of add and mul in elementwise.wgsl. */
const HOW = { gelu: 1, relu: 2, tanh: 3, sigmoid: 4, add: 5, mul: 6 };

const bitsOf = (float: number): number => new Uint32Array(Float32Array.of(float).buffer)[0]!;

type StepOf<Op extends Step['op']> = Extract<Step, { op: Op }>;

/** A program for the GPU. */
export class Program {
  /** In the order in which they run. */
  readonly dispatches: Dispatch[] = [];
  /** Numbers that the kernels look up. */
  readonly tables: number[] = [];
  /** Pairs of numbers in `ranges`. */
  pairs = 0;
  /** Rows of the longest position table: tables and tensors of shorter inputs have room for as many. */
  readonly longest: number;
  readonly #made = new Map<Tensor, GpuTensor>();
  readonly #sequences = new Map<readonly number[], Sequences>();
  readonly #ranges = new Map<Tensor, Range[]>();

  /** @throws BertletError `input` if a size is too large for a kernel */
  constructor(steps: readonly Step[]) {
    this.longest = Math.max(0, ...steps.map((step) => (step.op === 'rows' ? (step.reads[2]?.shape[0] ?? 0) : 0)));
    for (const step of steps) if (step.op === 'linear') this.#wantRange(step);
    for (const step of steps) this[step.op](step as never);
  }

  tensorOf(x: Tensor): GpuTensor {
    return this.#made.get(x) ?? (x.buffer as GpuTensor);
  }

  rows(step: StepOf<'rows'>): void {
    const [a, b = a, c = a] = step.indices.map((indices) => this.#table(indices)) as [number, number?, number?];
    const fields = { indicesA: a, indicesB: b, indicesC: c, second: Number(step.reads.length > 1) };
    this.#add('rows', step, fields, [step.y.shape[0]]);
  }

  elementwise(step: StepOf<'elementwise'>): void {
    const second = Number(step.reads[1]?.shape[0] === 1);
    this.#add('elementwise', step, { activation: HOW[step.how], second }, [step.y.shape[0]]);
  }

  softmax(step: StepOf<'softmax'>): void {
    this.#add('softmax', step, {}, [step.y.shape[0]]);
  }

  mean(step: StepOf<'mean'>): void {
    this.#add('mean', step, { starts: this.#sequencesOf(step.reads[0]!).starts }, [step.y.shape[0]]);
  }

  transpose(step: StepOf<'transpose'>): void {
    const [inRows, inColumns] = step.reads[0]!.shape;
    this.#add('transpose', step, { inRows, inColumns }, [inColumns]);
  }

  /** The second factor becomes a weight, [n][k padded to 128], and the product a linear without bias. */
  matmul(step: StepOf<'matmul'>): void {
    const [x, other] = step.reads as readonly [Tensor, Tensor];
    const [inRows, inColumns] = other.shape;
    const weight: GpuTensor = { rows: inColumns, columns: Math.ceil(inRows / 128) * 128, memory: null };
    const fields = { rows: weight.rows, inRows, inColumns, outColumns: weight.columns };
    this.#dispatch({ kernel: 'transpose', reads: [this.tensorOf(other)], y: weight, grid: [inColumns] }, fields);
    const grid = [Math.ceil(inColumns / 64), Math.ceil(step.y.shape[0] / 32)] as const;
    this.#add('linear', { ...step, reads: [x] }, { inColumns: inRows }, grid, [weight]);
  }

  layerNorm(step: StepOf<'layerNorm'>): void {
    const [rows, columns] = step.y.shape;
    if (columns > 1024) throw inputError('webgpu: layerNorm', 'at most 1024 columns', columns, 'Use `cpu`.');
    this.#add('layerNorm', step, { eps: bitsOf(step.eps), second: Number(step.reads.length > 3) }, [rows]);
  }

  attention(step: StepOf<'attention'>): void {
    const { heads, y } = step;
    const headDim = y.shape[1] / heads;
    if (headDim % 4 !== 0) throw inputError('webgpu: attention', 'headDim a multiple of 4', headDim, 'Use `cpu`.');
    const blocks = Math.ceil(Math.max(...y.lengths) / 16);
    const slices = Math.ceil(headDim / 64);
    this.#add('attention', step, { heads }, [blocks, heads * slices, y.lengths.length]);
  }

  linear(step: StepOf<'linear'>): void {
    const { out, features, buffer } = step.linear;
    const { kernel, weight, constants, scheme } = buffer as GpuLinear;
    const activation = step.activation ? HOW[step.activation] : 0;
    const range = scheme && this.#rangeOf(step.reads[0]!, scheme);
    const ranges = { rangeOfX: range?.first ?? 0, pairsOfX: range?.pairs ?? 0 };
    const fields = { inColumns: features, activation, second: 1, ...ranges };
    this.#add(kernel, step, fields, [Math.ceil(out / 64), Math.ceil(step.y.shape[0] / 32)], [weight, constants]);
  }

  /** Reserves the range of what an int8 linear reads. */
  #wantRange({ reads: [x], linear }: StepOf<'linear'>): void {
    const { scheme } = linear.buffer as GpuLinear;
    const ranges = this.#ranges.get(x!) ?? [];
    this.#ranges.set(x!, ranges);
    if (!scheme || ranges.some((range) => range.scheme === scheme)) return;
    const { firsts, each } = this.#sequencesOf(x!);
    ranges.push({ scheme, first: this.pairs, pairs: scheme === 'torch' ? firsts : each, recorded: false });
    this.pairs += Math.max(this.longest, x!.shape[0]);
  }

  /** The range of x. Adds a dispatch that records it, where the kernel that made x has not. */
  #rangeOf(x: Tensor, scheme: Scheme): Range {
    const range = this.#ranges.get(x)!.find((each) => each.scheme === scheme)!;
    if (!range.recorded) {
      const [rows, inColumns] = x.shape;
      const step = { rows, inColumns, rangeOfY: range.first, pairsOfY: range.pairs };
      const none = { rows: 1, columns: 1, memory: null }; // it makes no tensor, but every kernel has a y
      this.#dispatch({ kernel: 'range', reads: [this.tensorOf(x)], y: none, grid: [rows] }, step);
      range.recorded = true;
    }
    return range;
  }

  /** Adds the dispatch that makes the tensor of a step, and records its range if a linear wants it. */
  #add(kernel: Kernel, { y, reads }: Step, fields: Fields, grid: Grid, weights: readonly GpuTensor[] = []): void {
    const [rows, columns] = y.shape;
    const made: GpuTensor = { rows, columns, memory: null };
    const inputs = [...reads.map((x) => this.tensorOf(x)), ...weights];
    this.#made.set(y, made);
    const { starts, firsts } = this.#sequencesOf(y);
    const [range] = this.#ranges.get(y) ?? [];
    if (range) range.recorded = true;
    const step = { rows, outColumns: columns, starts, firsts, ...fields };
    const recorded = range && { rangeOfY: range.first, pairsOfY: range.pairs };
    this.#dispatch({ kernel, reads: inputs, y: made, grid }, { ...step, ...recorded });
  }

  #dispatch(dispatch: Omit<Dispatch, 'step'>, fields: Fields): void {
    const { kernel, grid } = dispatch;
    if (grid.some((size = 1) => size > MAX_WORKGROUPS)) {
      const expected = `at most ${MAX_WORKGROUPS} workgroups in each dimension`;
      throw inputError(`webgpu: ${kernel}`, expected, grid.join(' x '), 'Make batches smaller, or use `cpu`.');
    }
    this.dispatches.push({ ...dispatch, step: Object.values({ ...FIELDS, ...fields }) });
  }

  /** The tables of a tensor's sequences. */
  #sequencesOf({ lengths, sequences, shape: [rows] }: Tensor): Sequences {
    const known = this.#sequences.get(lengths);
    if (known) return known;
    const starts = [...sequences.map(({ first }) => first), rows];
    const firsts = sequences.flatMap(({ first, tokens }) => Array<number>(tokens).fill(first));
    const tables = { starts: this.#table(starts), firsts: this.#table(firsts), each: this.#table(firsts.keys()) };
    this.#sequences.set(lengths, tables);
    return tables;
  }

  /** Adds a table, with room for the longest input. Returns where it begins. */
  #table(values: Iterable<number>): number {
    const begin = this.tables.length;
    for (const value of values) this.tables.push(value);
    while (this.tables.length < begin + this.longest) this.tables.push(0);
    return begin;
  }
}
