// The product straight from memory, for adapters that compute on the CPU: barriers cost them more than loads. GROUPS 1.

fn multiply(t: u32, row: u32, column: u32, begin: u32, end: u32) {
  let local = t / 16u * 4u;
  let n = column + t % 16u * 4u;
  for (var k4 = begin * 8u; k4 < end * 8u; k4++) {
    let a = loadWeight(n, k4);
    let b = loadWeight(n + 1u, k4);
    let c = loadWeight(n + 2u, k4);
    let d = loadWeight(n + 3u, k4);
    for (var i = 0u; i < 4u; i++) {
      let v = loadX(row + local + i, local + i, k4);
      sums[i] += Sum(Partial(inner(v, a), inner(v, b), inner(v, c), inner(v, d)));
    }
  }
}
