// layerNorm: y = (v - mean) / sqrt(variance + eps) gamma + beta for each row v of x + residual. Formula, bound, cases:
// layerNorm.ts. Tensors as in common.wgsl.
//
// One workgroup of 64 threads per row. A thread keeps every 64th vec4 of the row in registers, 4 at most, so a row has
// at most 1024 columns and is read once:
//   v = x + residual; mean = total(v) / columns
//   v -= mean; variance = total(v^2) / columns
//   y = v / sqrt(variance + eps) * gamma + beta

@group(0) @binding(4) var<storage, read> x: array<vec4f>;
@group(0) @binding(5) var<storage, read> gamma: array<vec4f>;
@group(0) @binding(6) var<storage, read> beta: array<vec4f>;
@group(0) @binding(7) var<storage, read> residual: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) t: u32) {
  let row = at.x;
  let stride = vectors(step.outColumns);
  var v: array<vec4f, 4>;
  var sum = vec4f(0.0);
  for (var i = 0u; i < 4u; i++) {
    let c = t + 64u * i;
    if (c < stride) {
      v[i] = x[row * stride + c];
      if (step.second == 1u) {
        v[i] += residual[row * stride + c];
      }
      sum += v[i]; // padded columns are 0
    }
  }
  // Both totals are over the real columns only; the division is by their number.
  let columns = f32(step.outColumns);
  let mean = total(t, sum) / columns;
  var squares = vec4f(0.0);
  for (var i = 0u; i < 4u; i++) {
    // Without `inside` each padded column would add mean^2 to the variance.
    v[i] = select(vec4f(0.0), v[i] - mean, inside(t + 64u * i));
    squares += v[i] * v[i];
  }
  // Two passes over registers: the variance from the distances, so that no digits cancel.
  let deviation = sqrt(total(t, squares) / columns + step.eps);
  for (var i = 0u; i < 4u; i++) {
    let c = t + 64u * i;
    put(row, 0u, c, v[i] / deviation * gamma[c] + beta[c]);
  }
  writeRanges(t, row, 1u);
}
