/**
 * transpose, and what matmul needs before it is a `linear` of zeros for a bias: its second factor in panels. Formulas, bounds,
 * cases: matmul.ts.
 */
import { share } from './math.wasm';

/**
 * Copies 64 bytes of each of `rows` rows, `stride` bytes apart, one after another: a panel of 16 columns. Returns the address
 * behind it.
 */
export function copyLines(x: usize, stride: usize, line: usize, rows: i32): usize {
  for (const end = line + (<usize>rows << 6); line < end; line += 64, x += stride) {
    const a = v128.load(x, 0), b = v128.load(x, 16), c = v128.load(x, 32), d = v128.load(x, 48);
    v128.store(line, d, 48);
    v128.store(line, c, 32);
    v128.store(line, b, 16);
    v128.store(line, a, 0);
  }
  return line;
}

/**
 * Packs a factor [k][n] into panels of 16 columns, [n/16][depth][16] (linear.wasm.ts). Command, 5 words:
 * from, to, k, depth (k padded to 16), stride (n padded to 16).
 */
export function packRows(command: usize, chunk: i32, chunks: i32, thread: i32): void {
  const from = load<usize>(command, 0), to = load<usize>(command, 4), k = load<i32>(command, 8);
  const depth = load<i32>(command, 12), panels = load<i32>(command, 16) >> 4, stride = <usize>panels << 6;
  const end = share(panels, chunk + 1, chunks);
  for (let panel = share(panels, chunk, chunks); panel < end; panel++) {
    const line = copyLines(from + (<usize>panel << 6), stride, to + <usize>(panel * depth << 6), k);
    memory.fill(line, 0, <usize>(depth - k << 6));
  }
}

/**
 * y[j][i] = x[i][j], in blocks of 4 x 4. Command, 6 words: x, y, rows and columns of x, stride of x, stride of y (in floats). A
 * chunk is a range of panels of 16 columns of x, a line of the cache, which are rows of y.
 */
export function transpose(command: usize, chunk: i32, chunks: i32, thread: i32): void {
  const x = load<usize>(command, 0), y = load<usize>(command, 4), rows = load<i32>(command, 8), columns = load<i32>(command, 12);
  const xStride = load<usize>(command, 16) << 2, yStride = load<usize>(command, 20) << 2, panels = columns + 15 >> 4;
  const end = share(panels, chunk + 1, chunks);
  for (let panel = share(panels, chunk, chunks); panel < end; panel++) {
    const last = min(16, columns - (panel << 4) + 3 & ~3); // y has room for a multiple of 4 rows
    const from = x + (<usize>panel << 6), to = y + <usize>(panel << 4) * yStride;
    for (let row = 0; row < rows; row += 4) {
      for (let j: usize = 0; j < <usize>last; j += 4) {
        transposeBlock(from + <usize>row * xStride + (j << 2), xStride, to + j * yStride + <usize>(row << 2), yStride);
      }
    }
    for (let j: usize = 0; j < <usize>last; j++) {
      const padding = to + j * yStride + (<usize>rows << 2); // the last block wrote rows there that x does not have
      memory.fill(padding, 0, yStride - (<usize>rows << 2));
    }
  }
}

/** 4 numbers of each of 4 rows to 4 rows of their columns. */
// @ts-ignore: decorator
@inline
export function transposeBlock(x: usize, xStride: usize, y: usize, yStride: usize): void {
  const a = v128.load(x), b = v128.load(x + xStride), c = v128.load(x + 2 * xStride), d = v128.load(x + 3 * xStride);
  const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5), cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
  const AB = v128.shuffle<i32>(a, b, 2, 6, 3, 7), CD = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
  v128.store(y, v128.shuffle<i64>(ab, cd, 0, 2));
  v128.store(y + yStride, v128.shuffle<i64>(ab, cd, 1, 3));
  v128.store(y + 2 * yStride, v128.shuffle<i64>(AB, CD, 0, 2));
  v128.store(y + 3 * yStride, v128.shuffle<i64>(AB, CD, 1, 3));
}
