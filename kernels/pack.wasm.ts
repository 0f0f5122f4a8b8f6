/**
 * Weights into the order in which the linears read them: not a command, but called by the host while a model is loaded.
 *
 *   rows    row 0  | unit 0 | unit 1 | ...        a row is an output feature
 *           row 1  | unit 0 | unit 1 | ...
 *   panel   line 0 | unit 0 of row 0 | unit 0 of row 1 | ... | unit 0 of row 15 |
 *           line 1 | unit 1 of row 0 | unit 1 of row 1 | ... | unit 1 of row 15 |
 *
 * A unit is what one lane of a product's operand has: a float32 (linear.wasm.ts), 4 int8 (linearInt8.wasm.ts), or 2 int8
 * (linearInt16.wasm.ts).
 */

/** Packs `rows` rows, a multiple of 16, of `bytes` bytes each. `unit`: 4 or 2 bytes. */
export function pack(from: usize, to: usize, rows: i32, bytes: usize, unit: i32): void {
  for (let row = 0; row < rows; row++) {
    const end = from + bytes;
    let at = to + <usize>((row & 15) * unit);
    if (unit == 4) for (; from < end; from += 4, at += 64) store<u32>(at, load<u32>(from));
    else for (; from < end; from += 2, at += 32) store<u16>(at, load<u16>(from));
    if ((row & 15) == 15) to += bytes << 4;
  }
}

/** The sum of `count` int8, a multiple of 16: `rowSums` in src/quantize.ts, for one row. */
export function rowSum(from: usize, count: usize): i32 {
  let sum = i32x4.splat(0);
  for (const end = from + count; from < end; from += 16) {
    sum = i32x4.add(sum, i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(v128.load(from))));
  }
  const pairs = i32x4.add(sum, i32x4.shuffle(sum, sum, 2, 3, 0, 1));
  return i32x4.extract_lane(pairs, 0) + i32x4.extract_lane(pairs, 1);
}
