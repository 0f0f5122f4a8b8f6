/**
 * Chooses which lines of an int8 weight kernels/linearInt8Grouped.wasm.ts may add up in 16 bits: sets of 16, 8, 4 or 2
 * lines whose sums fit 16 bits for any activations.
 *
 * Accumulation in 16 bits is FBGEMM's idea (acc16; Khudia et al. 2021, section 3.2). FBGEMM splits off large weights so
 * that overflow is unlikely; the sets chosen here make overflow impossible.
 *
 *   a packed panel    | line 0 | line 1 | ... | line in/4 - 1 |
 *   a line, 64 bytes  | column 0: 4 features | column 1: 4 features | ... | column 15: 4 features |
 *   16-bit sums       |    sum 0 |     sum 1 |    sum 2 |     sum 3 | ... |    sum 30 |    sum 31 |   2 features each
 *
 * The kernel takes lines in pairs of neighbours, so sets are sets of pairs. A pair that does not fit is two single lines.
 */

/** Bytes of a line of a packed panel: 16 columns x 4 features. */
export const LINE = 64;
/** 16-bit sums of a line: the instruction adds 2 neighbouring features of a column. */
const SUMS = LINE / 2;
/**
 * Limit of the weights in one 16-bit sum. An activation is at most 128, so the positive weights may add up to 255
 * (255 x 128 = 32,640 < 2^15), and so may the magnitudes of the negative ones (256 would fit as well).
 */
const MOST = 255;
/** Both sums share a word: positive in the low half, negative magnitudes in the high half. These bits are above 255. */
const ABOVE = ~(MOST | (MOST << 16));
/** Most unfinished sets that are kept open for further pairs. */
const OPEN = 16;
/** Pairs of a set, in the order in which the kernel takes them. */
export const SIZES = [8, 4, 2, 1] as const;

export interface Groups {
  /** Number of sets of each size of `SIZES`. */
  readonly sets: readonly number[];
  /** The pairs of all sets, in order. Pair i is the lines 2 i and 2 i + 1. */
  readonly pairs: readonly number[];
  /** Lines that are added alone. */
  readonly singles: readonly number[];
}

/**
 * Divides the lines of a panel into sets.
 * @param panel int8 weights [in/4][16][4], where `in` is a multiple of 16
 */
export function groupLines(panel: Int8Array): Groups {
  const sums = pairSums(panel);
  const pairs: number[] = [];
  const singles: number[] = [];
  const sets: number[] = [];
  let rest: number[] = [];
  for (let pair = 0; pair < panel.length / (2 * LINE); pair++) {
    if (fits(sums, pair, ZEROS, 0)) rest.push(pair);
    else singles.push(2 * pair, 2 * pair + 1);
  }
  for (const size of SIZES) {
    const found = firstFit(sums, rest, size);
    sets.push(found.sets.length / size);
    pairs.push(...found.sets);
    rest = found.rest;
  }
  return { sets, pairs, singles };
}

/** What each pair adds to each 16-bit sum: [pairs][32] words, as `ABOVE` says. */
function pairSums(panel: Int8Array): Int32Array {
  const sums = new Int32Array(panel.length / 4);
  for (let pair = 0; pair < sums.length; pair += SUMS) {
    for (let i = 0, at = 4 * pair; i < SUMS; i++, at += 2) {
      const [a, b, c, d] = [panel[at]!, panel[at + 1]!, panel[at + LINE]!, panel[at + LINE + 1]!];
      // The negative part of w is w & (w >> 31).
      const negative = (a & (a >> 31)) + (b & (b >> 31)) + (c & (c >> 31)) + (d & (d >> 31));
      sums[pair + i] = (a + b + c + d - negative) | (-negative << 16);
    }
  }
  return sums;
}

const ZEROS = new Int32Array(SUMS);
/** Whether a pair may join the set whose sums begin at `set` of `open`. */
function fits(sums: Int32Array, pair: number, open: Int32Array, set: number): boolean {
  for (let i = set, at = pair * SUMS; i < set + SUMS; i++, at++) if ((open[i]! + sums[at]!) & ABOVE) return false;
  return true;
}

/**
 * Puts each pair into the first open set that has room for it, or opens a new set. If too many sets are open, the oldest
 * one is given up and its pairs go to `rest`.
 * @param size pairs of a finished set
 */
function firstFit(sums: Int32Array, pairs: readonly number[], size: number) {
  const [sets, rest]: [number[], number[]] = [[], []];
  const open: number[][] = []; // the pairs of each open set; its sums are at the same place in `openSums`
  const openSums = new Int32Array((OPEN + 1) * SUMS);
  const close = (set: number) => {
    openSums.copyWithin(set * SUMS, (set + 1) * SUMS, open.length * SUMS);
    return open.splice(set, 1)[0]!;
  };
  for (const pair of pairs) {
    let set = 0;
    while (set < open.length && !fits(sums, pair, openSums, set * SUMS)) set++;
    if (set === open.length) {
      if (set === OPEN) {
        rest.push(...close(0));
        set--;
      }
      open.push([]);
      openSums.fill(0, set * SUMS, (set + 1) * SUMS);
    }
    for (let i = set * SUMS, at = pair * SUMS; at < (pair + 1) * SUMS; i++, at++) openSums[i]! += sums[at]!;
    if (open[set]!.push(pair) === size) sets.push(...close(set));
  }
  return { sets, rest: [...rest, ...open.flat()].sort((a, b) => a - b) };
}

/** Bytes of the table of a panel with `depth` features: the ends, and a word for each line at most. */
export const tableBytes = (depth: number) => 4 * (SIZES.length + 1) + depth;

/**
 * Reorders the lines of a packed panel into sets, in place, and writes the panel's table, which the kernel's header
 * draws.
 * @param table a view of the memory at the address `at`
 */
export function groupPanel(panel: Int8Array, table: Int32Array, at: number): void {
  const { sets, pairs, singles } = groupLines(panel);
  let end = at + 4 * (SIZES.length + 1);
  const ends = SIZES.map((size, i) => (end += sets[i]! * size * 4));
  const places = [...pairs.map((pair) => pair * 8), ...singles.map((line) => line * 4)];
  table.set([...ends, end + singles.length * 4, ...places]);
  const before = panel.slice();
  const lines = [...pairs.flatMap((pair) => [2 * pair, 2 * pair + 1]), ...singles];
  for (let to = 0, next = 1; to < lines.length; to = next++) {
    while (lines[next] === lines[next - 1]! + 1) next++; // one copy for consecutive lines
    panel.set(before.subarray(lines[to]! * LINE, (lines[next - 1]! + 1) * LINE), to * LINE);
  }
}
