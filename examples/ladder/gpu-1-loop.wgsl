// GPU, step 1: a thread for each result, and the loop over k in it. 8 x 8 threads are a workgroup.
//
//   y[row][column] = sum over k of x[row][k] * w[column][k]  -  zeroPoint * sums[column]
//
//   x, w   | byte 0 | byte 1 | byte 2 | byte 3 |   four of k in a u32: WGSL has no bytes
//
// Every step has these bindings and makes the same integers. Here each thread reads a row of x and a row of w from
// memory, although its 63 neighbours read the same rows.
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

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let row = at.y;
  let column = at.x;
  var sum = 0;
  for (var k = 0u; k < sizes.features / 4u; k++) {
    let a = x[row * sizes.features / 4u + k];
    let b = bitcast<i32>(w[column * sizes.features / 4u + k]);
    for (var byte = 0u; byte < 32u; byte += 8u) {
      sum += i32(extractBits(a, byte, 8u)) * extractBits(b, byte, 8u); // of an i32 it extends the sign
    }
  }
  y[row * sizes.out + column] = sum - sizes.zeroPoint * sums[column];
}
