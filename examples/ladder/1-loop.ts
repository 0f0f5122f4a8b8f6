/**
 * Step 1: the formula as a loop in TypeScript.
 *
 *   y[row][column] = sum over k of (x[row][k] - zeroPoint) * w[column][k]
 *
 *            x [tokens][features], u8         w [out][features], i8          y [tokens][out], int32
 *   row 0    | x0 x1 x2 ... |        column 0 | w0 w1 w2 ... |        row 0  | column 0 | column 1 | ...
 *   row 1    | x0 x1 x2 ... |        column 1 | w0 w1 w2 ... |        row 1  | ...
 *
 * Every step has this function, with these arguments in this order, and makes the same integers.
 */
export function multiply(
  x: Uint8Array,
  w: Int8Array,
  y: Int32Array,
  tokens: number,
  features: number,
  out: number,
  zeroPoint: number,
): void {
  for (let row = 0; row < tokens; row++) {
    for (let column = 0; column < out; column++) {
      let sum = 0;
      for (let k = 0; k < features; k++) {
        sum += (x[row * features + k]! - zeroPoint) * w[column * features + k]!;
      }
      y[row * out + column] = sum;
    }
  }
}
