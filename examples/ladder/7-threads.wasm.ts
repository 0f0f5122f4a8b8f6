/**
 * Step 7: threads over one shared memory. Each claims a panel by adding 1 to a counter, computes it, and comes back for
 * another. Nobody divides the work beforehand, so a thread that the system lets wait holds nobody up.
 *
 *   counter    0 -> 1 -> 2 -> 3 -> 4 -> 5 -> ...
 *   thread 0   | panel 0    | panel 2 | panel 4    | ...
 *   thread 1   | panel 1 |  panel 3       |  panel 5 | ...
 *
 *   w  | the counter, alone in 64 bytes | w of step 6 |
 */
import { multiplyPanel, pack as packGrouped } from './6-grouped.wasm';

export function pack(from: usize, to: usize, features: i32, out: i32): void {
  packGrouped(from, to + 64, features, out);
}

/** Called once before the threads call `multiply`, each of them. */
export function open(w: usize): void {
  atomic.store<i32>(w, 0);
}

export function multiply(x: usize, w: usize, y: usize, tokens: i32, features: i32, out: i32, zeroPoint: i32): void {
  for (let panel = atomic.add<i32>(w, 1); panel < out >> 4; panel = atomic.add<i32>(w, 1)) {
    multiplyPanel(x, w + 64, y, tokens, features, out, zeroPoint, panel);
  }
}
