/**
 * Step 2: WebAssembly, and the zero point out of the loop. AssemblyScript: `load<u8>(address)` reads a byte.
 *
 *   sum (x - zeroPoint) * w  =  sum x * w  -  zeroPoint * sum w        the last sum is known before any x is
 *
 * so the loop multiplies bytes as they are. From here on `pack` prepares a weight, once:
 *
 *   w  | sum of each row of the weight: [out] int32 | the weight: [out][features] int8 |
 */
export function pack(from: usize, to: usize, features: i32, out: i32): void {
  memory.copy(to + <usize>(out << 2), from, <usize>(out * features));
  for (let column = 0; column < out; column++, to += 4) {
    let sum = 0;
    for (let k = 0; k < features; k++, from++) sum += load<i8>(from);
    store<i32>(to, sum);
  }
}

export function multiply(x: usize, w: usize, y: usize, tokens: i32, features: i32, out: i32, zeroPoint: i32): void {
  for (let row = 0; row < tokens; row++, x += features) {
    let weights = w + <usize>(out << 2);
    for (let column = 0; column < out; column++, y += 4, weights += features) {
      let sum = 0;
      for (let k: usize = 0; k < <usize>features; k++) sum += <i32>load<u8>(x + k) * <i32>load<i8>(weights + k);
      store<i32>(y, sum - zeroPoint * load<i32>(w + <usize>(column << 2)));
    }
  }
}
