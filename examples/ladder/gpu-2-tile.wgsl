// GPU, step 2: a tile. The 64 threads of a workgroup fetch a block of x and of w together into workgroup memory, once,
// and each computes 4 x 4 results from it.
//
//   workgroup: 32 rows x 32 columns of y            thread: 4 x 4 of them
//                 w: 32 columns                        w: 4
//                 | 16 of k |                          --------
//   x: 32 rows    |  32x32  |                     x: 4 | 4x4  |    16 products for 8 reads of workgroup memory;
//   of 16 of k    | results |                          --------    of memory itself a thread reads a 16th of step 1
//
//   for each 16 of k: fetch 32 x 16 of x and of w | barrier | 16 x 16 products | barrier
struct Sizes {
  tokens: u32,
  features: u32,
  out: u32,
  zeroPoint: i32,
}
@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> x: array<u32>;    // [tokens][features / 4], u8 each
@group(0) @binding(2) var<storage, read> w: array<u32>;    // [out][features / 4], i8 each
@group(0) @binding(3) var<storage, read> sums: array<i32>; // [out]
@group(0) @binding(4) var<storage, read_write> y: array<i32>; // [tokens][out]

var<workgroup> xs: array<vec4i, 128>; // [16 of k][32 rows / 4]: one read is a k of a thread's 4 rows
var<workgroup> ws: array<vec4i, 128>; // [16 of k][32 columns / 4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let words = sizes.features / 4u;
  let row = group.y * 32u;
  let column = group.x * 32u;
  var c = array<vec4i, 4>(); // [4 rows], 4 columns each
  for (var block = 0u; block < words; block += 4u) {
    // Thread t fetches word t % 4, 4 of k, of row t / 4 and of row t / 4 + 16.
    for (var r = t / 4u; r < 32u; r += 16u) {
      let a = x[(row + r) * words + block + t % 4u];
      let b = bitcast<i32>(w[(column + r) * words + block + t % 4u]);
      for (var byte = 0u; byte < 4u; byte++) {
        let to = (4u * (t % 4u) + byte) * 8u + r / 4u;
        xs[to][r % 4u] = i32(extractBits(a, 8u * byte, 8u));
        ws[to][r % 4u] = extractBits(b, 8u * byte, 8u);
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < 16u; k++) {
      let a = xs[8u * k + t / 8u];
      let b = ws[8u * k + t % 8u];
      c[0] += a.x * b;
      c[1] += a.y * b;
      c[2] += a.z * b;
      c[3] += a.w * b;
    }
    workgroupBarrier();
  }
  for (var i = 0u; i < 16u; i++) {
    let n = column + 4u * (t % 8u) + i % 4u;
    y[(row + 4u * (t / 8u) + i / 4u) * sizes.out + n] = c[i / 4u][i % 4u] - sizes.zeroPoint * sums[n];
  }
}
