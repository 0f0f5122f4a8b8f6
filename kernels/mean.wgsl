// mean: the mean of the rows of each sequence of x. Formula, bound, cases: mean.ts. One workgroup of 64 threads per sequence; thread t
// adds every 64th vec4 from t on.

@group(0) @binding(4) var<storage, read> x: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) t: u32) {
  let stride = vectors(step.outColumns);
  let first = tables[step.starts + at.x]; // x's sequences
  let end = tables[step.starts + at.x + 1u];
  for (var i = t; i < stride; i += 64u) {
    var sum = vec4f(0.0);
    for (var row = first; row < end; row++) {
      sum += x[row * stride + i];
    }
    put(at.x, 0u, i, sum / f32(end - first));
  }
  writeRanges(t, at.x, 1u);
}
