// transpose: y[j][i] = x[i][j], and 0 where x has no row i: y may be padded, as the weight that matmul's second factor becomes.
// Formula, bound, cases: matmul.ts. A thread gathers four rows of x at a time.

@group(0) @binding(4) var<storage, read> x: array<f32>;

fn prepareRow(thread: u32, row: u32) {}

fn element(row: u32, column: u32) -> f32 {
  return select(0.0, x[row * 4u * vectors(step.inColumns) + column], row < step.inRows);
}
fn valueOf(j: u32, i: u32) -> vec4f {
  let row = 4u * i;
  return vec4f(element(row, j), element(row + 1u, j), element(row + 2u, j), element(row + 3u, j));
}
