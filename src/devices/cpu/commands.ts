/**
 * Compiles a program to commands: calls of kernels (kernels/*.wasm.ts) over blocks of memory.
 *
 * A tensor is a block of float32 rows; of float16 rows, if it was uploaded so and only `rows` reads it. Columns are
 * padded with zeros to a multiple of 16 (the stride). Activations, the tensors that steps make, also have their rows
 * padded to a multiple of 12, so a tile may reach past the last row:
 *
 *            columns      stride
 *   row 0    | x x x x x | 0 0 |
 *   row 1    | x x x x x | 0 0 |
 *   padding  | ? ? ? ? ? | ? ? |   kernels may write these rows; nobody reads them as a result
 *
 * In a batch the rows of the sequences follow each other. What looks at more than a row (attention, a range) is a
 * command for each sequence, in their order: rows that one writes beyond its own belong to the next, whose
 * command comes later. Everything else is one command for all rows.
 */
import { inputError } from '../../errors.ts';
import { ACTIVATIONS, type Activation, type Scheme, type Step, type Tensor } from '../../runtime.ts';
import { COMMAND_WORDS, KERNELS, type KernelName, MAX_CHUNKS, MAX_COMMANDS } from './threads.ts';

/** The inner products of int8 linears, which all give the same integers (linearInt8.wasm.ts). Commands have their index. */
export const PRODUCTS = ['relaxed', 'signed', 'grouped', 'int16'] as const;
/**
 * Tiles of float32 products, and of `relaxed` and `signed`: rows x columns of the result that are computed at once. 6x16
 * needs registers of 256 bits (V8's revectorizer on x64), or 32 of 128 (ARM). The other products have a tile of their own.
 * Commands have their index.
 */
export const TILES = ['6x16', '6x8'] as const;
/** The kernels that a device computes with. */
export interface KernelChoice {
  readonly int8: (typeof PRODUCTS)[number];
  readonly tile: (typeof TILES)[number];
}

/** Memory of a tensor, or scratch. */
export interface Block {
  /** Address: fixed for an upload, otherwise chosen by each `run`; -1 until then. */
  at: number;
  /** The last command that names the block, while a program is compiled. */
  last: number;
  readonly bytes: number;
  /** Elements of a row, with its padding. */
  readonly stride: number;
  /** Only of an upload: whether its elements are float16. */
  isHalf?: boolean;
  /** Contents of the block before the program runs. */
  readonly data?: Int32Array | undefined;
}
/** A packed linear. `weight`, `constants` and `offsets` are addresses; layouts: linear.wasm.ts, linearInt8.wasm.ts. */
export interface PackedLinear {
  readonly weight: number;
  /** float32: the biases. int8: for each 16-column panel 16 column sums, 16 scales and 16 biases. */
  readonly constants: number;
  /** Only for `grouped`: the tables with the place of each line's features (linearInt8Grouped.wasm.ts). 0 otherwise. */
  readonly offsets: number;
  readonly scheme: Scheme | null;
}
/** An argument of a kernel: a number, the address of a block, or one so many bytes behind it. */
type Argument = number | Block | { readonly block: Block; readonly behind: number };
/** One call of one kernel, divided into chunks. The next command starts when all of them are done. */
interface Command {
  readonly kernel: KernelName;
  readonly chunks: number;
  /** The kernel's arguments, at most 14. A block is alive from the first command that names it to the last. */
  readonly args: readonly Argument[];
}
/** Settings that commands depend on besides their step. */
interface Settings {
  readonly threads: number;
  readonly choice: KernelChoice;
}

export const pad = (n: number, to: number): number => Math.ceil(n / to) * to;
const scratch = (bytes: number, stride = 0, data?: Int32Array): Block => ({ at: -1, last: 0, bytes, stride, data });
const filled = (data: Int32Array): Block => scratch(data.byteLength, 0, data);
/** The block of a tensor that a step makes. */
function roomFor([rows, columns]: readonly [number, number]): Block {
  const stride = pad(columns, 16);
  return scratch(pad(rows, 12) * stride * 4, stride);
}
const at = (block: Block, behind: number): Argument => ({ block, behind });
/** The address of a row of float32. */
const rowOf = (block: Block, row: number): Argument => at(block, row * block.stride * 4);

/** A row of zeros as long as those of a block. */
const zerosOf = (block: Block): Block => filled(new Int32Array(block.stride));

/** Chunks of `items` items with so much work in all: each has about `min` of it, and at least one item. */
const chunksOf = (items: number, work: number, min: number) =>
  Math.max(1, Math.min(items, Math.floor(work / min), MAX_CHUNKS));
/** Chunks of a command that reads and writes rows: about 5 µs each. */
const rowChunks = (rows: number, columns: number) => chunksOf(rows, rows * columns, 8192);
/** Chunks of an attention: whole heads, because each chunk packs the keys and values of its heads; parts of long ones. */
function attentionChunks(tokens: number, heads: number, headDim: number): number {
  const products = 2 * tokens * tokens * headDim; // of one head
  if (products < 2 ** 18) return chunksOf(heads, heads * products, 2 ** 18);
  return Math.min(heads * Math.max(1, tokens >> 8), MAX_CHUNKS);
}
const NUMBER = new DataView(new ArrayBuffer(4));
function floatBits(value: number): number {
  NUMBER.setFloat32(0, value);
  return NUMBER.getInt32(0);
}

/**
 * The commands of a step. `reads`: the blocks of the tensors that the step reads, in its order; `y`: the block of its result.
 */
type Make<O extends Step['op']> = (
  step: Extract<Step, { op: O }>,
  reads: readonly Block[],
  y: Block,
  settings: Settings,
) => Command[];

/** The activations by the numbers that kernels know them by (math.wasm.ts). */
const CODES: readonly (Activation | undefined)[] = [undefined, ...ACTIVATIONS];
const HOW = ['add', 'mul', ...ACTIVATIONS];

/** How each op is computed. */
const OPS: { readonly [O in Step['op']]: Make<O> } = {
  rows({ indices }, tables, y, { threads }) {
    const inputs = tables.flatMap((table, i) => [filled(indices[i]!), table, Number(table.isHalf ?? false)]);
    const rows = indices[0]!.length;
    const args = [y, rows, y.stride, scratch(threads * y.stride * 12), tables.length, ...inputs];
    return [{ kernel: 'rows', chunks: rowChunks(rows, y.stride), args }];
  },

  layerNorm({ eps, y: made }, reads, y, { threads }) {
    const [x, gamma, beta, residual] = reads as [Block, Block, Block, Block?];
    const [rows, columns] = made.shape;
    const sizes = [rows, columns, floatBits(eps), scratch(threads * 64), residual?.stride ?? 0, y.stride];
    const args = [x, residual ?? zerosOf(y), gamma, beta, y, ...sizes];
    return [{ kernel: 'layerNorm', chunks: rowChunks(rows, columns), args }];
  },

  elementwise({ how, reads: [, second], y: made }, reads, y) {
    const [x, other = x] = reads as [Block, Block?];
    const [rows, columns] = made.shape;
    const args = [x, other, y, rows, columns, second?.shape[0] === 1 ? 0 : other.stride, HOW.indexOf(how)];
    return [{ kernel: 'elementwise', chunks: rowChunks(rows, columns), args }];
  },

  softmax({ y: made }, reads, y, { threads }) {
    const [rows, columns] = made.shape;
    const args = [reads[0]!, y, rows, columns, scratch(threads * 64)];
    return [{ kernel: 'softmax', chunks: rowChunks(rows, columns), args }];
  },

  mean({ reads: [x] }, reads, y) {
    const { sequences, shape } = x!;
    const firsts = filled(Int32Array.from([...sequences.map(({ first }) => first), shape[0]]));
    const blocks = Math.ceil(y.stride / 1024);
    const chunks = chunksOf(sequences.length * blocks, shape[0] * y.stride, 8192);
    return [{ kernel: 'mean', chunks, args: [reads[0]!, y, firsts, sequences.length, y.stride, blocks] }];
  },

  transpose({ reads: [x] }, reads, y) {
    const [rows, columns] = x!.shape;
    const chunks = chunksOf(Math.ceil(columns / 16), rows * columns, 8192);
    return [{ kernel: 'transpose', chunks, args: [reads[0]!, y, rows, columns, reads[0]!.stride, y.stride] }];
  },

  matmul({ reads: [x] }, reads, y, { choice }) {
    const [left, right] = reads as [Block, Block];
    const [rows, features] = x!.shape;
    const packed = scratch(left.stride * y.stride * 4);
    const sizes = [rows, left.stride, y.stride, 0, TILES.indexOf(choice.tile)];
    const chunks = chunksOf(y.stride / 16, left.stride * y.stride, 8192);
    return [
      { kernel: 'packRows', chunks, args: [right, packed, features, left.stride, y.stride] },
      { kernel: 'linear', chunks: panelChunks(rows, left, y, 2 ** 18), args: [left, packed, zerosOf(y), y, ...sizes] },
    ];
  },

  attention({ heads, y: made }, reads, y, { threads, choice }) {
    const [qkv] = reads as [Block];
    const headDim = made.shape[1] / heads;
    const most = made.lengths.reduce((a, b) => Math.max(a, b));
    const [longest, width] = [pad(most, 16), pad(headDim, 16)];
    const each = (longest * headDim + longest * width + 6 * longest + 6 * width) * 4 + 64; // bytes of a thread
    const rest = [heads, headDim, qkv.stride, y.stride, scratch(each * threads), each, TILES.indexOf(choice.tile)];
    return made.sequences.map(({ first, tokens }) => ({
      kernel: 'attention',
      chunks: attentionChunks(tokens, heads, headDim),
      args: [rowOf(qkv, first), rowOf(y, first), tokens, ...rest],
    }));
  },

  linear(step, reads, y, settings) {
    const { weight, constants, scheme } = step.linear.buffer as PackedLinear;
    if (scheme) return int8Linear(step, reads, y, settings);
    const [x] = reads as [Block];
    const [rows] = step.y.shape;
    const sizes = [rows, x.stride, y.stride, CODES.indexOf(step.activation), TILES.indexOf(settings.choice.tile)];
    return [{ kernel: 'linear', chunks: panelChunks(rows, x, y, 2 ** 18), args: [x, weight, constants, y, ...sizes] }];
  },
};

/** Chunks of a product: panels of 16 columns, as many as have about `min` multiplications. */
const panelChunks = (rows: number, x: Block, y: Block, min: number) =>
  chunksOf(y.stride / 16, rows * x.stride * y.stride, min);

/**
 * First x is quantized, then `linearInt8` multiplies the integers. The `torch` scheme has one range for all rows of a
 * sequence, so a `range` command comes before, for each sequence.
 */
const int8Linear: Make<'linear'> = ({ linear, activation, y: made }, reads, y, { threads, choice }) => {
  const { weight, constants, offsets, scheme } = linear.buffer as PackedLinear;
  const [x] = reads as [Block];
  const [rows] = made.shape;
  const product = PRODUCTS.indexOf(choice.int8);
  const stride = x.stride * (choice.int8 === 'int16' ? 2 : 1); // bytes of a row of xq
  const room = pad(rows, 12);
  const [xq, scales, zeroPoints] = [scratch(room * stride), scratch(room * 4), scratch(room * 4)];
  const torch = scheme === 'torch';
  const commands: Command[] = [];
  for (const { first, tokens } of torch ? made.sequences : [{ first: 0, tokens: rows }]) {
    const chunks = rowChunks(tokens, x.stride);
    const parts = torch ? chunks : 0; // ranges, one for each chunk of `range`
    const ranges = scratch((parts + threads) * 64);
    const input = [rowOf(x, first), ranges, tokens, x.stride];
    const outputs = [at(xq, first * stride), at(scales, first * 4), at(zeroPoints, first * 4)];
    if (torch) commands.push({ kernel: 'range', chunks, args: input });
    commands.push({ kernel: 'quantize', chunks, args: [...input, ...outputs, product, Number(!torch), parts] });
  }
  const sizes = [rows, x.stride, y.stride, CODES.indexOf(activation), product, TILES.indexOf(choice.tile)];
  const sums = scratch(offsets ? threads * 512 : 0);
  const args = [xq, weight, constants, y, ...sizes, scales, zeroPoints, offsets, sums];
  commands.push({ kernel: 'linearInt8', chunks: panelChunks(rows, x, y, 2 ** 20), args });
  return commands;
};

/**
 * Compiles steps to commands, and places their blocks in an arena that begins at `from`.
 * @returns `calls`, the words of all commands; `inputs`, the blocks that their data must fill before; the `blocks` of the
 * results; and the arena's `end`
 * @throws BertletError `input` if there are more commands than fit
 */
export function compile(steps: readonly Step[], results: readonly Tensor[], settings: Settings, from: number) {
  const made = new Map<Tensor, Block>();
  const blockOf = (x: Tensor) => made.get(x) ?? (x.buffer as Block);
  const commands: Command[] = [];
  for (const step of steps) {
    const y = roomFor(step.y.shape);
    commands.push(...(OPS[step.op] as Make<Step['op']>)(step, step.reads.map(blockOf), y, settings));
    made.set(step.y, y);
  }
  if (commands.length > MAX_COMMANDS) {
    const advice = 'Read a tensor between, or fewer sequences at once.';
    throw inputError('read', `a program of at most ${MAX_COMMANDS} calls of kernels`, commands.length, advice);
  }
  const blocks = results.map(blockOf);
  const { inputs, end } = place(commands, blocks, from);
  const calls = new Int32Array(commands.length * COMMAND_WORDS);
  for (const [i, { kernel, chunks, args }] of commands.entries()) {
    let word = i * COMMAND_WORDS;
    calls[word++] = KERNELS.indexOf(kernel);
    calls[word++] = chunks;
    for (const arg of args) {
      calls[word++] = typeof arg === 'number' ? arg : 'block' in arg ? arg.block.at + arg.behind : arg.at;
    }
  }
  return { calls, inputs, blocks, end };
}

/**
 * Places blocks from an address on. A block is alive from the first command that names it to the last one, and gets the lowest
 * gap between those alive then.
 * @param results blocks that are read in the end
 * @returns the inputs, which are alive from the beginning, and the address behind all blocks
 */
function place(commands: readonly Command[], results: readonly Block[], from: number) {
  const inputs: Block[] = [];
  const named = [inputs]; // the blocks of each command, and before them those that are filled before the first
  for (const { args } of commands) {
    const blocks: Block[] = [];
    for (const arg of args) {
      if (typeof arg === 'number') continue;
      const block = 'block' in arg ? arg.block : arg;
      block.last = named.length;
      blocks.push(block);
      if (block.data) inputs.push(block);
    }
    named.push(blocks);
  }
  for (const block of results) block.last = named.length;
  const alive: Block[] = []; // sorted by address
  let end = from;
  for (const [i, blocks] of named.entries()) {
    for (const block of blocks) {
      if (block.at >= 0) continue; // an upload, or a block that has its place
      block.at = from;
      let index = 0;
      for (; index < alive.length && block.at + block.bytes > alive[index]!.at; index++) {
        block.at = Math.max(block.at, pad(alive[index]!.at + alive[index]!.bytes, 64));
      }
      alive.splice(index, 0, block);
      end = Math.max(end, block.at + block.bytes);
    }
    for (let k = alive.length - 1; k >= 0; k--) if (alive[k]!.last <= i) alive.splice(k, 1);
  }
  return { inputs, end: pad(end, 64) };
}
