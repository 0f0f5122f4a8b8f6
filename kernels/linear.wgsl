// linear: y = x weight^T + bias, and GELU of it where asked for; x [tokens, in], weight [out, in] as the checkpoint has it.
//
// A workgroup of 128 threads makes 32 rows x 64 columns, a thread 4 x 4 of them. `multiply` (in linear.tiled.wgsl or
// linear.direct.wgsl) adds up the products of blocks of k, of elements that linear.float.wgsl or linear.packed.wgsl loads;
// `finish` (float.wgsl, int8.wgsl) makes numbers of the sums.

override GELU: bool = false;

@group(0) @binding(4) var<storage, read> x: array<vec4f>;
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
      if (row + local < forward.tokens) {
        note(local, value);
      }
    }
  }
  publish(t, row, 32u);
}
