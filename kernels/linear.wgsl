// linear: y = x weight^T + bias, then an activation if asked for. Formula, bound, cases: linear.ts and linearInt8.ts.
// x [rows][in] float32, weight [out][in] as in the checkpoint, in padded with zeros to 128.
//
// A workgroup of 128 threads makes 32 rows x 64 columns of y; a thread makes 4 x 4 of these: thread t has the rows
// 4 (t / 16) to 4 (t / 16) + 3 and the columns 4 (t % 16) to 4 (t % 16) + 3.
//   prepareRows: int8 only: scale and zero point of the 32 rows
//   for each block of 32 elements of k (an element is one k, for int8 four):
//     fetch x [32 rows][32 k] and weight [64 columns][32 k] in 4 x 4 pieces, each piece transposed
//     barrier
//     each thread: for each k of 32: sums[4 rows][4 columns] += x[rows][k] weight[columns][k]
//     barrier
//   finish: each sum to float32, with scales and bias; activation; store, with the range of y
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

@group(0) @binding(4) var<storage, read> x: array<vec4f>;
var<workgroup> xs: array<vec4<Element>, 256>; // [32 k][row / 4 ^ k / 4]
var<workgroup> ws: array<vec4<Element>, 512>; // [32 k][column / 4 ^ k / 4]

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) t: u32) {
  let firstRow = at.y * 32u;
  prepareRows(t, firstRow, 32u);
  // The thread's 4 x 4 sums: one vector of 4 columns for each row.
  var sums: array<Sum, 4>;
  for (var block = 0u; block < (step.inColumns + BLOCK - 1u) / BLOCK; block++) {
    fetch(t, firstRow, at.x * 64u, block);
    workgroupBarrier();
    // A sum for each block: sums of few products lose less. The zeros matter: without them SwiftShader keeps the last block's.
    var partial = array<Sum, 4>();
    for (var k = 0u; k < 32u; k++) {
      let w = ws[16u * k + ((t % 16u) ^ (k / 4u))];
      let v = xs[8u * k + ((t / 16u) ^ (k / 4u))];
      partial[0] += products(v.x, w);
      partial[1] += products(v.y, w);
      partial[2] += products(v.z, w);
      partial[3] += products(v.w, w);
    }
    for (var i = 0u; i < 4u; i++) {
      sums[i] += partial[i];
    }
    // No thread may overwrite the tiles while another still reads them.
    workgroupBarrier();
  }
  let column4 = at.x * 16u + t % 16u;
  for (var i = 0u; i < 4u; i++) {
    let local = t / 16u * 4u + i;
    put(firstRow, local, column4, activate(finish(sums[i], local, column4)));
  }
  writeRanges(t, firstRow, 32u);
}

// Fetches a block of k of 32 rows of x and of 64 columns' weights.
fn fetch(t: u32, firstRow: u32, firstColumn: u32, block: u32) {
  let k4 = t % 8u;
  let r = t / 8u;
  // x has 8 x 8 pieces, so half of the threads fetch one each.
  if (t < 64u) {
    let row = firstRow + 4u * r;
    let a = loadX(row, 4u * r, block * 8u + k4);
    let b = loadX(row + 1u, 4u * r + 1u, block * 8u + k4);
    let c = loadX(row + 2u, 4u * r + 2u, block * 8u + k4);
    let d = loadX(row + 3u, 4u * r + 3u, block * 8u + k4);
    let to = 32u * k4 + (r ^ k4);
    xs[to] = vec4(a.x, b.x, c.x, d.x);
    xs[to + 8u] = vec4(a.y, b.y, c.y, d.y);
    xs[to + 16u] = vec4(a.z, b.z, c.z, d.z);
    xs[to + 24u] = vec4(a.w, b.w, c.w, d.w);
  }
  // The weight has 8 x 16 pieces, one for each thread.
  let column = firstColumn + 4u * r;
  let a = loadWeight(column, block * 8u + k4);
  let b = loadWeight(column + 1u, block * 8u + k4);
  let c = loadWeight(column + 2u, block * 8u + k4);
  let d = loadWeight(column + 3u, block * 8u + k4);
  let to = 64u * k4 + (r ^ k4);
  ws[to] = vec4(a.x, b.x, c.x, d.x);
  ws[to + 16u] = vec4(a.y, b.y, c.y, d.y);
  ws[to + 32u] = vec4(a.z, b.z, c.z, d.z);
  ws[to + 48u] = vec4(a.w, b.w, c.w, d.w);
}
