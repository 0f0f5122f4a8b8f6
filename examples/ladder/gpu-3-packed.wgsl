// GPU, step 3: packed. dot4I8Packed multiplies the four bytes of two u32 and adds up: a GPU has one instruction for it
// (DP4A). The bytes stay together, so a read of workgroup memory brings four times as much, and a block is 64 of k.
//
//   a            | x0 | x1 | x2 | x3 |
//   b            | w0 | w1 | w2 | w3 |        sum += x0 w0 + x1 w1 + x2 w2 + x3 w3
//
// Both must be i8, and x is u8: with its highest bit turned over a byte is 128 less. So the zero point is 128 less, too.
requires packed_4x8_integer_dot_product;
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

var<workgroup> xs: array<vec4u, 128>; // [16 words of k][32 rows / 4]
var<workgroup> ws: array<vec4u, 128>; // [16 words of k][32 columns / 4]

fn dots(a: u32, b: vec4u) -> vec4i {
  return vec4i(dot4I8Packed(a, b.x), dot4I8Packed(a, b.y), dot4I8Packed(a, b.z), dot4I8Packed(a, b.w));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) t: u32) {
  let words = sizes.features / 4u;
  let row = group.y * 32u;
  let column = group.x * 32u;
  var c = array<vec4i, 4>(); // [4 rows], 4 columns each
  for (var block = 0u; block < words; block += 16u) {
    // Thread t fetches word t % 16 of every fourth row from t / 16 on.
    for (var r = t / 16u; r < 32u; r += 4u) {
      let to = t % 16u * 8u + r / 4u;
      xs[to][r % 4u] = x[(row + r) * words + block + t % 16u] ^ 0x80808080u;
      ws[to][r % 4u] = w[(column + r) * words + block + t % 16u];
    }
    workgroupBarrier();
    for (var k = 0u; k < 16u; k++) {
      let a = xs[8u * k + t / 8u];
      let b = ws[8u * k + t % 8u];
      c[0] += dots(a.x, b);
      c[1] += dots(a.y, b);
      c[2] += dots(a.z, b);
      c[3] += dots(a.w, b);
    }
    workgroupBarrier();
  }
  for (var i = 0u; i < 16u; i++) {
    let n = column + 4u * (t % 8u) + i % 4u;
    y[(row + 4u * (t / 8u) + i / 4u) * sizes.out + n] = c[i / 4u][i % 4u] - (sizes.zeroPoint - 128) * sums[n];
  }
}
