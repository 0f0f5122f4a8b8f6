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

/** Bytes of a pair of lines. */
const PAIR: usize = 128;
/** Bytes of the sums of a pair, 8 bits each: 32 of the positive weights, 32 of the magnitudes of the negative ones. */
const SUMS: usize = 64;
/** The bits of 16-bit sums above 255, splat to all lanes. */
const ABOVE: usize = memory.data<u16>([0xff00, 0xff00]);
/** Most unfinished sets that are kept open for further pairs. */
const OPEN: usize = 16;
/** Bytes of an unfinished set: what each of its sums lacks to 255, the number of its pairs, and their numbers, at most 8. */
const SET: usize = SUMS + 64;

/** Whether a pair is still to be placed, is in a set, or is two single lines. One byte for each pair. */
const FREE: u8 = 0, PLACED: u8 = 1, SINGLE: u8 = 2;

/** 8 sums of the positive weights of a pair: of 16 bytes of each of its lines. */
// @ts-ignore: decorator
@inline
function positive(at: usize, zero: v128): v128 {
  const a = i16x8.extadd_pairwise_i8x16_s(i8x16.max_s(v128.load(at), zero));
  return i16x8.add(a, i16x8.extadd_pairwise_i8x16_s(i8x16.max_s(v128.load(at + 64), zero)));
}
/** The same of the magnitudes of the negative weights. */
// @ts-ignore: decorator
@inline
function negative(at: usize, zero: v128): v128 {
  const a = i16x8.sub(zero, i16x8.extadd_pairwise_i8x16_s(i8x16.min_s(v128.load(at), zero)));
  return i16x8.sub(a, i16x8.extadd_pairwise_i8x16_s(i8x16.min_s(v128.load(at + 64), zero)));
}

/** Writes the sums of a pair. Returns whether each is at most 255. */
function addUp(pair: usize, to: usize): bool {
  const zero = i32x4.splat(0);
  let all = zero;
  for (const end = to + 32; to < end; to += 16, pair += 32) {
    const p0 = positive(pair, zero), p1 = positive(pair + 16, zero);
    const n0 = negative(pair, zero), n1 = negative(pair + 16, zero);
    v128.store(to, i8x16.narrow_i16x8_u(p0, p1));
    v128.store(to, i8x16.narrow_i16x8_u(n0, n1), 32);
    all = v128.or(all, v128.or(v128.or(p0, p1), v128.or(n0, n1)));
  }
  return !v128.any_true(v128.and(all, v128.load_splat<i32>(ABOVE)));
}

/** Whether a set has room for a pair whose sums are a to d. */
// @ts-ignore: decorator
@inline
function hasRoom(set: usize, a: v128, b: v128, c: v128, d: v128): bool {
  const over = v128.or(i8x16.sub_sat_u(a, v128.load(set)), i8x16.sub_sat_u(b, v128.load(set, 16)));
  const rest = v128.or(i8x16.sub_sat_u(c, v128.load(set, 32)), i8x16.sub_sat_u(d, v128.load(set, 48)));
  return !v128.any_true(v128.or(over, rest));
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
 * @param scratch 2 x `bytes` + 4 KB: the copy of the panel | sums of pairs | state of pairs | open sets
 */
export function groupPanel(panel: usize, bytes: usize, table: usize, scratch: usize): void {
  const pairs = bytes / PAIR;
  const copy = scratch, sums = copy + bytes, states = sums + pairs * SUMS, open = states + ((pairs + 63) & ~63);
  memory.copy(copy, panel, bytes);
  for (let pair: usize = 0; pair < pairs; pair++) {
    store<u8>(states + pair, addUp(copy + pair * PAIR, sums + pair * SUMS) ? FREE : SINGLE);
  }
  let next = table + 20;
  for (let size: usize = 8; size > 0; size >>= 1, table += 4) {
    // Each pair joins the first open set that has room for it, or opens a new one.
    let end = open;
    for (let pair: usize = 0; pair < pairs; pair++) {
      if (load<u8>(states + pair) != FREE) continue;
      const own = sums + pair * SUMS;
      const a = v128.load(own), b = v128.load(own, 16), c = v128.load(own, 32), d = v128.load(own, 48);
      let set = open;
      while (set < end && !hasRoom(set, a, b, c, d)) set += SET;
      if (set == end) {
        if (set == open + OPEN * SET) {
          // Too many are open: the oldest is given up, and its pairs are left for smaller sets.
          memory.copy(open, open + SET, (OPEN - 1) * SET);
          set -= SET;
        }
        memory.fill(set, 0xff, SUMS);
        store<usize>(set, 0, SUMS);
        end = set + SET;
      }
      v128.store(set, i8x16.sub(v128.load(set), a));
      v128.store(set, i8x16.sub(v128.load(set, 16), b), 16);
      v128.store(set, i8x16.sub(v128.load(set, 32), c), 32);
      v128.store(set, i8x16.sub(v128.load(set, 48), d), 48);
      const count = load<usize>(set, SUMS);
      store<usize>(set + 4 * count, pair, SUMS + 4);
      store<usize>(set, count + 1, SUMS);
      if (count + 1 < size) continue;
      for (let i: usize = 0; i < size; i++, next += 4, panel += PAIR) {
        const one = load<usize>(set + 4 * i, SUMS + 4);
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
