/**
 * Chooses which lines of an int8 weight linearInt8Grouped.wasm.ts may add up in 16 bits: sets of 16, 8, 4 or 2 lines
 * whose sums fit 16 bits for any activations. For uploads: not a command, but called by the host.
 *
 * Accumulation in 16 bits is FBGEMM's idea (acc16; Khudia et al. 2021, section 3.2). FBGEMM splits off large weights so
 * that overflow is unlikely; the sets chosen here make overflow impossible.
 *
 *   a packed panel    | line 0 | line 1 | ... | line in/4 - 1 |
 *   a line, 64 bytes  | column 0: 4 features | column 1: 4 features | ... | column 15: 4 features |
 *   16-bit sums       |    sum 0 |     sum 1 |    sum 2 |     sum 3 | ... |    sum 30 |    sum 31 |   2 features each
 *
 * The kernel takes lines in pairs of neighbours, so sets are sets of pairs. A pair that does not fit is two single lines.
 * An activation is at most 128. So the positive weights in one sum may add up to 255 (255 x 128 = 32,640 < 2^15), and so
 * may the magnitudes of the negative ones (256 would fit as well).
 */

/** Bytes of a pair of lines, and of its sums: 32 of the positive weights, 32 of the magnitudes of the negative ones. */
const PAIR: usize = 128;
/** The bits of 16-bit sums above 255, splat to all lanes. */
const ABOVE: usize = memory.data<u16>([0xff00, 0xff00]);
/** Most unfinished sets that are kept open for further pairs. */
const OPEN: usize = 16;
/** Bytes of an unfinished set: its sums, the number of its pairs, and their numbers, at most 8. */
const SET: usize = PAIR + 64;

/** Whether a pair is still to be placed, is in a set, or is two single lines. One byte for each pair. */
const FREE: u8 = 0, PLACED: u8 = 1, SINGLE: u8 = 2;

/** Adds the sums of a line to `to`; a line's 16 bytes are 8 sums. */
// @ts-ignore: decorator
@inline
function addLine(line: usize, to: usize): void {
  const zero = i32x4.splat(0);
  for (const end = line + 64; line < end; line += 16, to += 16) {
    const w = v128.load(line);
    const positive = i16x8.extadd_pairwise_i8x16_s(i8x16.max_s(w, zero));
    const negative = i16x8.extadd_pairwise_i8x16_s(i8x16.min_s(w, zero));
    v128.store(to, i16x8.add(v128.load(to), positive));
    v128.store(to, i16x8.sub(v128.load(to, 64), negative), 64);
  }
}

/** Whether a pair may join a set. */
// @ts-ignore: decorator
@inline
function fits(pair: usize, set: usize): bool {
  const above = v128.load_splat<i32>(ABOVE);
  for (const end = pair + PAIR; pair < end; pair += 64, set += 64) {
    const a = v128.or(
      i16x8.add(v128.load(pair), v128.load(set)),
      i16x8.add(v128.load(pair, 16), v128.load(set, 16)),
    );
    const b = v128.or(
      i16x8.add(v128.load(pair, 32), v128.load(set, 32)),
      i16x8.add(v128.load(pair, 48), v128.load(set, 48)),
    );
    if (v128.any_true(v128.and(v128.or(a, b), above))) return false;
  }
  return true;
}

/** Moves a pair from the copy of the panel to its new place. */
// @ts-ignore: decorator
@inline
function move(from: usize, to: usize): void {
  for (const end = from + PAIR; from < end; from += 16, to += 16) v128.store(to, v128.load(from));
}

/**
 * Reorders the lines of a packed panel into sets, in place, and writes the panel's table, which the kernel's header
 * draws.
 * @param bytes of the panel, a multiple of 256
 * @param table 5 words and a word for each line at most
 * @param scratch 3 x `bytes` + 4 KB: the copy of the panel | sums of pairs | state of pairs | open sets
 */
export function groupPanel(panel: usize, bytes: usize, table: usize, scratch: usize): void {
  const copy = scratch, sums = copy + bytes, states = sums + bytes, open = states + bytes;
  const pairs = bytes / PAIR;
  memory.copy(copy, panel, bytes);
  memory.fill(sums, 0, 2 * bytes);
  memory.fill(open, 0, PAIR); // a set of nothing: what does not fit alone fits nowhere
  for (let pair: usize = 0; pair < pairs; pair++) {
    const at = pair * PAIR;
    addLine(copy + at, sums + at);
    addLine(copy + at + 64, sums + at);
    if (!fits(sums + at, open)) store<u8>(states + pair, SINGLE);
  }
  let next = table + 20;
  for (let size: usize = 8; size > 0; size >>= 1, table += 4) {
    // Each pair joins the first open set that has room for it, or opens a new one.
    let end = open;
    for (let pair: usize = 0; pair < pairs; pair++) {
      if (load<u8>(states + pair) != FREE) continue;
      const own = sums + pair * PAIR;
      let set = open;
      while (set < end && !fits(own, set)) set += SET;
      if (set == end) {
        if (set == open + OPEN * SET) {
          // Too many are open: the oldest is given up, and its pairs are left for smaller sets.
          memory.copy(open, open + SET, (OPEN - 1) * SET);
          set -= SET;
        }
        memory.fill(set, 0, SET);
        end = set + SET;
      }
      for (let at: usize = 0; at < PAIR; at += 16) {
        v128.store(set + at, i16x8.add(v128.load(set + at), v128.load(own + at)));
      }
      const count = load<usize>(set, PAIR);
      store<usize>(set + 4 * count, pair, PAIR + 4);
      store<usize>(set, count + 1, PAIR);
      if (count + 1 < size) continue;
      for (let i: usize = 0; i < size; i++, next += 4, panel += PAIR) {
        const one = load<usize>(set + 4 * i, PAIR + 4);
        store<u8>(states + one, PLACED);
        store<usize>(next, one * 8);
        move(copy + one * PAIR, panel);
      }
      end -= SET;
      memory.copy(set, set + SET, end - set);
    }
    store<usize>(table, next);
  }
  for (let pair: usize = 0; pair < pairs; pair++) {
    if (load<u8>(states + pair) != SINGLE) continue;
    store<usize>(next, pair * 8);
    store<usize>(next, pair * 8 + 4, 4);
    next += 8;
    move(copy + pair * PAIR, panel);
    panel += PAIR;
  }
  store<usize>(table, next);
}
