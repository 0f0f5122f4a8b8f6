// transpose: y[j][i] = x[i][j], and 0 where x has no row i: y may be padded, as the weight that matmul's second factor becomes.
// Formula, bound, cases: matmul.ts. One workgroup of 64 threads per row of y; a thread gathers four rows of x at a time.

@group(0) @binding(4) var<storage, read> x: array<f32>;

fn element(row: u32, column: u32) -> f32 {
  return select(0.0, x[row * 4u * vectors(step.inColumns) + column], row < step.inRows);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) t: u32) {
  let j = at.x;
  for (var i = t; i < vectors(step.outColumns); i += 64u) {
    let row = 4u * i;
    put(j, 0u, i, vec4f(element(row, j), element(row + 1u, j), element(row + 2u, j), element(row + 3u, j)));
  }
  writeRanges(t, j, 1u);
}
