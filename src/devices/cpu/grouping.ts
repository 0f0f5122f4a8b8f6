/**
 * Which parts of an int8 weight kernels/linearInt8Grouped.wasm.ts may add up in 16 bits: those whose sums cannot leave
 * them, whatever the activations are. Accumulation in 16 bits is FBGEMM's idea (acc16; Khudia et al. 2021, section 3.2),
 * which splits large weights off so that overflow is unlikely; here small sets are chosen for which it is impossible.
 */

/** A row of a packed panel: 16 columns x 4 features. Each 2 features of a column are a sum of 16 bits. */
export const ROW = 64;
const SUMS = ROW / 2;
/** An activation is at most 128: positive weights may sum to 255 (x 128 = 32,640), negative ones to -256 (x 128 = -2^15). */
const [MOST, LEAST] = [255, -256];
/** How many unfinished sets a row is tried with. */
const OPEN = 16;

export interface Groups {
  /** Rows of the panel in the order to compute them in: the fours, the twos, then those that are in neither. */
  readonly order: readonly number[];
  readonly fours: number;
  readonly twos: number;
}

/** @param panel [in/4][16][4] int8 weights, in a multiple of 16 */
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

/** Whether 4 rows in sequence may be a set: mostly they may, and that is found out faster than by `firstFit`. */
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
    if (size + sum > 2 * MOST || sum - size < 2 * LEAST) return false; // (size + sum) / 2: of the positive ones
  }
  return true;
}

/** Puts each row into the first unfinished set that it fits. A row in none gives up the oldest set for its own. */
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
