/**
 * softmax of each row. Formula, bound, cases: softmax.ts. x, y [rows][stride], columns padded to 16 by zeros.
 *   for each row of this chunk: p = exp(x - max), x's padding taken as -Infinity; y = p / sum p (softmaxRow)
 */
import { softmaxRow } from './attention.wasm';
import { scaleRow, share } from './math.wasm';

/** Command, 5 words: x, y, rows, columns, scratch [threads][64 bytes]. */
export function softmax(command: usize, chunk: i32, chunks: i32, thread: i32): void {
  const rows = load<i32>(command, 8), columns = load<i32>(command, 12), padded = (columns + 15) & ~15;
  const t = load<usize>(command, 16) + <usize>(thread << 6), stride = <usize>padded << 2, end = share(rows, chunk + 1, chunks);
  for (let row = share(rows, chunk, chunks); row < end; row++) {
    const x = load<usize>(command, 0) + <usize>row * stride, y = load<usize>(command, 4) + <usize>row * stride;
    const padding = y + (<usize>columns << 2), isWhole = padded == columns;
    if (!isWhole) {
      memory.copy(y, x, stride);
      for (let at = padding; at < y + stride; at += 4) store<f32>(at, -f32.MAX_VALUE * 2);
    }
    scaleRow(y, stride, softmaxRow(isWhole ? x : y, y, padded, 1, t));
    memory.fill(padding, 0, stride - (<usize>columns << 2));
  }
}
