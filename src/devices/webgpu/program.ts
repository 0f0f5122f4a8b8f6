/**
 * The dispatches of a program: which kernels run for its steps, on which tensors, in which grid.
 *
 * An int8 linear quantizes its input and needs the input's range for that. The kernel that makes the input records the
 * range as well, so a range costs no dispatch of its own, except for an upload, and for a second linear that quantizes
 * the same tensor by another scheme: these are copied by one more.
 */
import { WGSL } from '../../../wasm/assets.js';
import { inputError } from '../../errors.ts';
import type { Scheme, Step, Tensor } from '../../runtime.ts';

/** The WGSL files that make up each kernel, after common.wgsl. */
export const KERNELS = {
  rows: ['row', 'rows'],
  layerNorm: ['reduce', 'row', 'layerNorm'],
  attention: ['attention'],
  elementwise: ['activation', 'row', 'elementwise'],
  softmax: ['reduce', 'row', 'softmax'],
  mean: ['row', 'mean'],
  transpose: ['row', 'transpose'],
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
  table: 0,
  rangeOfX: 0,
  pairsOfX: 0,
  rangeOfY: NO_RANGE,
  pairsOfY: 0,
};
type Fields = typeof FIELDS;
/** Columns, rows and layers of the workgroups of a dispatch. */
type Grid = readonly [number, number?, number?];

/** One dispatch of one kernel. */
export interface Dispatch {
  readonly kernel: Kernel;
  /** Tensors that the kernel reads, at bindings 4 to 7. */
  readonly reads: readonly GpuTensor[];
  readonly y: GpuTensor;
  readonly step: Fields;
  readonly grid: Grid;
}

/** Where the tables of sequences begin. */
interface Sequences {
  /** [sequences + 1]: the first row of each sequence, and the number of rows. */
  readonly starts: number;
  /** [rows]: the first row of the sequence that a row belongs to; and the row itself. */
  readonly firsts: number;
  readonly each: number;
}
/** The range of a tensor, for linears of one scheme: its first pair, and the table of which pair is a row's. */
type Range = { readonly first: number; readonly pairs: number };

/** WebGPU's default limit, which every adapter has. */
const MAX_WORKGROUPS = 65535;
/** Numbers of the activations in activation.wgsl, and of add and mul in elementwise.wgsl. */
const HOW = { gelu: 1, relu: 2, tanh: 3, sigmoid: 4, add: 5, mul: 6 };

const bitsOf = (float: number): number => new Uint32Array(Float32Array.of(float).buffer)[0]!;
/** The workgroups of linear.wgsl. */
const tiles = ({ shape: [rows, columns] }: Tensor): Grid => [Math.ceil(columns / 64), Math.ceil(rows / 32)];

type StepOf<Op extends Step['op']> = Extract<Step, { op: Op }>;

/** A program for the GPU. */
export class Program {
  /** In the order in which they run. */
  readonly dispatches: Dispatch[] = [];
  /** Numbers that the kernels look up. */
  readonly tables: number[] = [];
  /** Pairs of numbers in `ranges`. */
  pairs = 0;
  readonly results: readonly GpuTensor[];
  /** Rows of the longest position table: tables and tensors of shorter inputs have room for as many. */
  readonly longest: number;
  /** The dispatches that make tensors; an upload has none. */
  readonly #makers = new Map<Tensor, Dispatch>();
  readonly #sequences = new Map<readonly number[], Sequences>();
  readonly #ranges = { torch: new Map<Tensor, Range>(), accurate: new Map<Tensor, Range>() };

  /** @throws BertletError `input` if a size is too large for a kernel */
  constructor(steps: readonly Step[], results: readonly Tensor[]) {
    this.longest = Math.max(0, ...steps.map((step) => (step.op === 'rows' ? (step.reads[2]?.shape[0] ?? 0) : 0)));
    for (const step of steps) this[step.op](step as never);
    this.results = results.map((x) => this.#tensorOf(x));
  }

  rows(step: StepOf<'rows'>): void {
    const [rows] = step.y.shape;
    const tables = step.indices.length;
    const indices = Array.from({ length: tables * rows }, (_, i) => step.indices[i % tables]![Math.floor(i / tables)]!);
    this.#add('rows', step, { table: this.#table(indices, tables), second: Number(tables > 1) }, [rows]);
  }

  elementwise(step: StepOf<'elementwise'>): void {
    const second = Number(step.reads[1]?.shape[0] === 1);
    this.#add('elementwise', step, { activation: HOW[step.how], second }, [step.y.shape[0]]);
  }

  softmax(step: StepOf<'softmax'>): void {
    this.#add('softmax', step, {}, [step.y.shape[0]]);
  }

  mean(step: StepOf<'mean'>): void {
    this.#add('mean', step, { table: this.#sequencesOf(step.reads[0]!).starts }, [step.y.shape[0]]);
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
    this.#dispatch('transpose', [this.#tensorOf(other)], weight, { inRows, inColumns }, [inColumns]);
    this.#add('linear', { ...step, reads: [x] }, { inColumns: inRows }, tiles(step.y), [weight]);
  }

  layerNorm(step: StepOf<'layerNorm'>): void {
    this.#add('layerNorm', step, { eps: bitsOf(step.eps), second: Number(step.reads.length > 3) }, [step.y.shape[0]]);
  }

  attention(step: StepOf<'attention'>): void {
    const { heads, y } = step;
    const headDim = y.shape[1] / heads;
    if (headDim % 4 !== 0) throw inputError('webgpu: attention', 'headDim a multiple of 4', headDim, 'Use `cpu`.');
    const blocks = Math.ceil(Math.max(...y.lengths) / 16);
    const slices = Math.ceil(headDim / 64);
    const fields = { heads, table: this.#sequencesOf(y).starts };
    this.#add('attention', step, fields, [blocks, heads * slices, y.lengths.length]);
  }

  linear(step: StepOf<'linear'>): void {
    const { kernel, weight, constants, scheme } = step.linear.buffer as GpuLinear;
    const activation = step.activation ? HOW[step.activation] : 0;
    const range = scheme && this.#rangeOf(step.reads[0]!, scheme);
    const ranges = range && { rangeOfX: range.first, pairsOfX: range.pairs };
    const fields = { inColumns: step.linear.features, activation, second: 1, ...ranges };
    this.#add(kernel, step, fields, tiles(step.y), [weight, constants]);
  }

  /** The range of x. The dispatch that makes x records it; that of an upload, or a second one, is recorded by a copy of x. */
  #rangeOf(x: Tensor, scheme: Scheme): Range {
    const known = this.#ranges[scheme].get(x);
    if (known) return known;
    const { firsts, each } = this.#sequencesOf(x);
    const range = { first: this.pairs, pairs: scheme === 'torch' ? firsts : each };
    const [rows, columns] = x.shape;
    this.#ranges[scheme].set(x, range);
    this.pairs += Math.max(this.longest, rows);
    let maker = this.#makers.get(x);
    if (maker?.step.rangeOfY !== NO_RANGE) {
      maker = this.#dispatch('elementwise', [this.#tensorOf(x)], { rows, columns, memory: null }, {}, [rows]);
    }
    Object.assign(maker.step, { rangeOfY: range.first, pairsOfY: range.pairs });
    return range;
  }

  #tensorOf(x: Tensor): GpuTensor {
    return this.#makers.get(x)?.y ?? (x.buffer as GpuTensor);
  }

  /** Adds the dispatch that makes the tensor of a step. */
  #add(kernel: Kernel, { y, reads }: Step, fields: Partial<Fields>, grid: Grid, weights: readonly GpuTensor[] = []) {
    const inputs = [...reads.map((x) => this.#tensorOf(x)), ...weights];
    const [rows, columns] = y.shape;
    this.#makers.set(y, this.#dispatch(kernel, inputs, { rows, columns, memory: null }, fields, grid));
  }

  #dispatch(kernel: Kernel, reads: readonly GpuTensor[], y: GpuTensor, fields: Partial<Fields>, grid: Grid): Dispatch {
    if (grid.some((size = 1) => size > MAX_WORKGROUPS)) {
      const expected = `at most ${MAX_WORKGROUPS} workgroups in each dimension`;
      throw inputError(`webgpu: ${kernel}`, expected, grid.join(' x '), 'Make batches smaller, or use `cpu`.');
    }
    const step = { ...FIELDS, rows: y.rows, outColumns: y.columns, ...fields };
    const dispatch = { kernel, reads, y, step, grid };
    this.dispatches.push(dispatch);
    return dispatch;
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

  /** Adds a table, with room for the longest input: for `each` numbers of a row. Returns where it begins. */
  #table(values: Iterable<number>, each = 1): number {
    const begin = this.tables.length;
    for (const value of values) this.tables.push(value);
    while (this.tables.length < begin + each * this.longest) this.tables.push(0);
    return begin;
  }
}
