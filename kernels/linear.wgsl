// linear: y = x weight^T + bias, then GELU where GELU is set. Formula, bound, cases: linear.ts and linearInt8.ts.
// x [tokens][in] float32, weight [out][in] as in the checkpoint, in padded to 128.
//
// A workgroup of 128 threads makes 32 rows x 64 columns of y; a thread makes 4 x 4 of these: thread t has the rows
// 4 (t / 16) to 4 (t / 16) + 3 and the columns 4 (t % 16) to 4 (t % 16) + 3.
//   prepareRows: int8 only: scale and zero point of the 32 rows
//   multiply:    sums[4 rows][4 columns] = sum over k of x weight, in blocks of 32 elements of k
//   finish:      each sum to float32, with scales and bias; GELU; store; note the range of y
// The host joins one file of each kind to this text: multiply is in linear.tiled.wgsl or linear.direct.wgsl, the
// loading of elements in linear.float.wgsl or linear.packed.wgsl, the rest in float.wgsl or int8.wgsl.

override GELU: bool = false;

@group(0) @binding(4) var<storage, read> x: array<vec4f>;
// The thread's 4 x 4 sums: one vector of 4 columns for each row.
var<private> sums: array<Sum, 4>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) t: u32) {
  let row = at.y * 32u;
  let column4 = at.x * 16u + t % 16u;
  prepareRows(t, row, 32u);

  multiply(t, row, at.x * 64u, (step.features + BLOCK - 1u) / BLOCK);

  let stride = vectors(step.out);
  if (column4 < stride) {
    for (var i = 0u; i < 4u; i++) {
      let local = t / 16u * 4u + i;
      var value = finish(sums[i], local, column4);
      if (GELU) {
        value = gelu(value);
      }
      y[(row + local) * stride + column4] = bitcast<vec4u>(value);
      // Rows beyond `tokens` must not widen the range.
      if (row + local < forward.tokens) {
        note(row, local, value);
      }
    }
  }
  // Outside the condition: publish has a barrier, which all threads must reach.
  publish(t, row, 32u);
}
