// multiply straight from memory, without a tile in workgroup memory. For adapters that compute on the CPU: a barrier
// costs them more than repeated loads. Arrays cost them more, too, so every row and column has a variable of its own.
// No GPU uses this file.
//   for each 4 elements of k: load 4 of each of 4 columns and 4 rows; add the 16 inner products

fn multiply(t: u32, row: u32, column: u32, blocks: u32) {
  // The thread's first row within the workgroup, and its first column: as in linear.wgsl.
  let local = t / 16u * 4u;
  let n = column + t % 16u * 4u;
  let atA = startWeight(n);
  let atB = startWeight(n + 1u);
  let atC = startWeight(n + 2u);
  let atD = startWeight(n + 3u);
  let at0 = startX(row + local);
  let at1 = startX(row + local + 1u);
  let at2 = startX(row + local + 2u);
  let at3 = startX(row + local + 3u);
  var sum0 = Sum();
  var sum1 = Sum();
  var sum2 = Sum();
  var sum3 = Sum();
  // A block is 32 elements of k: 8 times 4. Beyond `in` the weight is padded with zeros.
  for (var k4 = 0u; k4 < blocks * 8u; k4++) {
    let a = loadWeight(atA, k4);
    let b = loadWeight(atB, k4);
    let c = loadWeight(atC, k4);
    let d = loadWeight(atD, k4);
    let v0 = loadX(at0, local, k4);
    let v1 = loadX(at1, local + 1u, k4);
    let v2 = loadX(at2, local + 2u, k4);
    let v3 = loadX(at3, local + 3u, k4);
    // Partial is the type of 4 columns' products, Sum that of the accumulator: int32 for int8 weights.
    sum0 += Sum(Partial(inner(v0, a), inner(v0, b), inner(v0, c), inner(v0, d)));
    sum1 += Sum(Partial(inner(v1, a), inner(v1, b), inner(v1, c), inner(v1, d)));
    sum2 += Sum(Partial(inner(v2, a), inner(v2, b), inner(v2, c), inner(v2, d)));
    sum3 += Sum(Partial(inner(v3, a), inner(v3, b), inner(v3, c), inner(v3, d)));
  }
  // sums is the array that linear.wgsl finishes and stores.
  sums[0] = sum0;
  sums[1] = sum1;
  sums[2] = sum2;
  sums[3] = sum3;
}
