// Finds the ranges of x for the quantizer (common.wgsl), where no kernel has done so: of a tensor that the host uploaded,
// or for a second linear that quantizes by another scheme. One workgroup of 64 threads per row.

@group(0) @binding(4) var<storage, read> x: array<vec4u>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) t: u32) {
  let stride = vectors(step.inColumns);
  for (var c = t; c < stride; c += 64u) {
    reduceRange(0u, x[at.x * stride + c]);
  }
  writeRanges(t, at.x, 1u);
}
