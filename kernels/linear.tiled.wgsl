// The product by way of workgroup memory: a block of x and of the weight is fetched once for all 128 threads.
//
// for each block of 32 elements of k:
//   fetch x [32 rows][32] and weight [64 columns][32] in 4 x 4 pieces, transposed, to [32][rows], [32][columns]
//   each thread: for k of 32: sums [4 rows][4 columns] += x[k] weight[k]
//
// 16 FMA for 2 loads of workgroup memory. Eight threads side by side fetch the 128 bytes of a row and store to eight
// different k, 1 KB apart: the XOR spreads these over the banks.

var<workgroup> xs: array<vec4<Element>, 256>; // [k][row / 4 ^ k / 4]
var<workgroup> ws: array<vec4<Element>, 512>;           // [k][column / 4 ^ k / 4]

fn multiply(t: u32, row: u32, column: u32, blocks: u32) {
  for (var block = 0u; block < blocks; block++) {
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
    var partial = array<Partial, 4>(); // written out: without, SwiftShader starts from the last block's
    for (var k = 0u; k < 32u; k++) {
      let w = ws[16u * k + ((t % 16u) ^ (k / 4u))];
      let v = xs[8u * k + ((t / 16u) ^ (k / 4u))];
      partial[0] += products(v.x, w);
      partial[1] += products(v.y, w);
      partial[2] += products(v.z, w);
      partial[3] += products(v.w, w);
    }
    for (var i = 0u; i < 4u; i++) {
      sums[i] += Sum(partial[i]);
    }
    workgroupBarrier();
  }
}
