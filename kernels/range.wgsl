// Notes the range of x for the quantizer (int8.wgsl), where no kernel that notes ranges has made x: a tensor that the
// host uploaded, or embedding's. One workgroup of 64 threads per row.

@group(0) @binding(4) var<storage, read> x: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) t: u32) {
  let stride = vectors(step.features);
  for (var c = t; c < stride; c += 64u) {
    // The workgroup has one row, so its number in the workgroup is 0.
    note(at.x, 0u, x[at.x * stride + c]);
  }
  publish(t, at.x, 1u);
}
