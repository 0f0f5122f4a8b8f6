/**
 * Chooses which rows of an int8 weight kernels/linearInt8Grouped.wasm.ts may add up in 16 bits: sets of 4 or 2 rows
 * whose sums fit 16 bits for any activations.
 *
 * Accumulation in 16 bits is FBGEMM's idea (acc16; Khudia et al. 2021, section 3.2). FBGEMM splits off large weights so
 * that overflow is unlikely; the sets chosen here make overflow impossible.
 *
 *   a packed panel   | row 0 | row 1 | ... | row in/4 - 1 |
 *   a row, 64 bytes  | column 0: 4 features | column 1: 4 features | ... | column 15: 4 features |
 *   16-bit sums      |    sum 0 |     sum 1 |    sum 2 |     sum 3 | ... |    sum 30 |    sum 31 |   2 features each
 */

/** Bytes of a row of a packed panel: 16 columns x 4 features. */
export const ROW = 64;
/** 16-bit sums of a row: the instruction adds 2 neighbouring features of a column. */
const SUMS = ROW / 2;
/**
 * Limits of the weights in one 16-bit sum. An activation is at most 128, so positive weights may add up to 255
 * (255 x 128 = 32,640 < 2^15) and negative weights to -256 (-256 x 128 = -2^15).
 */
const [MOST, LEAST] = [255, -256];
/** Most unfinished sets that are kept open for further rows. */
const OPEN = 16;

export interface Groups {
  /** Rows of the panel in the order of computation: sets of four, then sets of two, then single rows. */
  readonly order: readonly number[];
  /** Number of sets of four rows. */
  readonly fours: number;
  /** Number of sets of two rows. */
  readonly twos: number;
}

/**
 * Divides the rows of a panel into sets.
 * @param panel int8 weights [in/4][16][4], where `in` is a multiple of 16
 */
export function groupRows(panel: Int8Array): Groups {
  const fours: number[] = [];
  const others: number[] = [];
  for (let row = 0; row < panel.length / ROW; row += 4) {
    (neighboursFit(panel, row * ROW) ? fours : others).push(row, row + 1, row + 2, row + 3);
  }
  const more = firstFit(panel, others, 4);
  const twos = firstFit(panel, more.rest, 2);
  const order = [...fours, ...more.sets, ...twos.sets, ...twos.rest];
  return { order, fours: (fours.length + more.sets.length) / 4, twos: twos.sets.length / 2 };
}

/** Whether 4 consecutive rows fit 16 bits. Most do, and this check is faster than `firstFit`. */
function neighboursFit(panel: Int8Array, begin: number): boolean {
  for (let at = begin; at < begin + ROW; at += 2) {
    let sum = 0;
    let size = 0;
    for (let i = at; i < at + 4 * ROW; i += ROW) {
      const a = panel[i]!;
      const b = panel[i + 1]!;
      sum += a + b;
      size += Math.abs(a) + Math.abs(b);
    }
    // The positive weights add up to (sum + size) / 2, the negative weights to (sum - size) / 2.
    if (size + sum > 2 * MOST || sum - size < 2 * LEAST) return false;
  }
  return true;
}

/**
 * Puts each row into the first open set that has room for it, or opens a new set. If too many sets are open, the oldest
 * one is given up and its rows go to `rest`.
 * @param size rows of a finished set
 */
function firstFit(panel: Int8Array, rows: readonly number[], size: number) {
  const [sets, rest]: [number[], number[]] = [[], []];
  const open: { rows: number[]; positive: Int16Array; negative: Int16Array }[] = [];
  const [positive, negative] = [new Int16Array(SUMS), new Int16Array(SUMS)];
  for (const row of rows) {
    for (let i = 0, at = row * ROW; i < SUMS; i++, at += 2) {
      positive[i] = Math.max(panel[at]!, 0) + Math.max(panel[at + 1]!, 0);
      negative[i] = Math.min(panel[at]!, 0) + Math.min(panel[at + 1]!, 0);
    }
    const index = open.findIndex((set) => {
      for (let i = 0; i < SUMS; i++) {
        if (set.positive[i]! + positive[i]! > MOST || set.negative[i]! + negative[i]! < LEAST) return false;
      }
      return true;
    });
    if (index < 0) {
      if (open.length === OPEN) rest.push(...open.shift()!.rows);
      open.push({ rows: [row], positive: positive.slice(), negative: negative.slice() });
      continue;
    }
    const set = open[index]!;
    set.rows.push(row);
    for (let i = 0; i < SUMS; i++) {
      set.positive[i]! += positive[i]!;
      set.negative[i]! += negative[i]!;
    }
    if (set.rows.length === size) sets.push(...open.splice(index, 1)[0]!.rows);
  }
  return { sets, rest: [...rest, ...open.flatMap((set) => set.rows)] };
}
