// multiply by way of workgroup memory: each block of x and weight is fetched once for all 128 threads of the
// workgroup.
//
// for each block of 32 elements of k:
//   fetch x [32 rows][32 k] and weight [64 columns][32 k] in 4 x 4 pieces, each piece transposed
//   barrier
//   each thread: for each k of 32: sums[4 rows][4 columns] += x[rows][k] weight[columns][k]
//   barrier
//
// The two tiles in workgroup memory, one vec4 per cell, so that a thread needs one load for its 4 rows and one for its
// 4 columns: 16 multiply-adds for 2 loads.
//
//          xs: 8 cells per k                           ws: 16 cells per k
//   k = 0  rows 0-3 | rows 4-7 | ... | rows 28-31      columns 0-3 | columns 4-7 | ... | columns 60-63
//   k = 1  rows 0-3 | rows 4-7 | ...                   columns 0-3 | ...
//   ...    (up to k = 31; within a line, cell c is stored at c XOR k / 4)
//
// Why the XOR: eight threads side by side fetch the 128 bytes of one row, so they store to eight different k / 4, at
// the same cell. Without the XOR all eight stores would hit the same banks.

var<workgroup> xs: array<vec4<Element>, 256>; // [32 k][row / 4 ^ k / 4]
var<workgroup> ws: array<vec4<Element>, 512>;           // [32 k][column / 4 ^ k / 4]

fn multiply(t: u32, row: u32, column: u32, blocks: u32) {
  for (var block = 0u; block < blocks; block++) {
    // x has 8 x 8 pieces, so half of the threads fetch one each.
    if (t < 64u) {
      let k4 = t % 8u;
      let r = t / 8u;
      let a = loadX(startX(row + 4u * r), 4u * r, block * 8u + k4);
      let b = loadX(startX(row + 4u * r + 1u), 4u * r + 1u, block * 8u + k4);
      let c = loadX(startX(row + 4u * r + 2u), 4u * r + 2u, block * 8u + k4);
      let d = loadX(startX(row + 4u * r + 3u), 4u * r + 3u, block * 8u + k4);
      let to = 32u * k4 + (r ^ k4);
      xs[to] = vec4(a.x, b.x, c.x, d.x);
      xs[to + 8u] = vec4(a.y, b.y, c.y, d.y);
      xs[to + 16u] = vec4(a.z, b.z, c.z, d.z);
      xs[to + 24u] = vec4(a.w, b.w, c.w, d.w);
    }
    // The weight has 8 x 16 pieces, one for each thread.
    {
      let k4 = t % 8u;
      let n = t / 8u;
      let a = loadWeight(startWeight(column + 4u * n), block * 8u + k4);
      let b = loadWeight(startWeight(column + 4u * n + 1u), block * 8u + k4);
      let c = loadWeight(startWeight(column + 4u * n + 2u), block * 8u + k4);
      let d = loadWeight(startWeight(column + 4u * n + 3u), block * 8u + k4);
      let to = 64u * k4 + (n ^ k4);
      ws[to] = vec4(a.x, b.x, c.x, d.x);
      ws[to + 16u] = vec4(a.y, b.y, c.y, d.y);
      ws[to + 32u] = vec4(a.z, b.z, c.z, d.z);
      ws[to + 48u] = vec4(a.w, b.w, c.w, d.w);
    }
    workgroupBarrier();
    var partial = array<Partial, 4>(); // the explicit zeros matter: without them SwiftShader keeps the last block's
    for (var k = 0u; k < 32u; k++) {
      let w = ws[16u * k + ((t % 16u) ^ (k / 4u))];
      let v = xs[8u * k + ((t / 16u) ^ (k / 4u))];
      partial[0] += products(v.x, w);
      partial[1] += products(v.y, w);
      partial[2] += products(v.z, w);
      partial[3] += products(v.w, w);
    }
    // int8 weights: a block's sum is exact in Partial (linear.float.wgsl says why), and Sum adds the blocks in int32.
    for (var i = 0u; i < 4u; i++) {
      sums[i] += Sum(partial[i]);
    }
    // No thread may overwrite the tiles while another still reads them.
    workgroupBarrier();
  }
}
