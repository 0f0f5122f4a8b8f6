// layerNorm: y = (v - mean) / sqrt(variance + eps) gamma + beta for each row v of x + residual. Formula, bound, cases:
// layerNorm.ts. Rows of any length: the mean, the variance and y are a pass over x and residual each. The variance is that
// of the distances to the mean, so that no digits cancel.

@group(0) @binding(4) var<storage, read> x: array<vec4f>;
@group(0) @binding(5) var<storage, read> gamma: array<vec4f>;
@group(0) @binding(6) var<storage, read> beta: array<vec4f>;
@group(0) @binding(7) var<storage, read> residual: array<vec4f>;
var<private> mean: f32;
var<private> deviation: f32;

// Both totals are over the real columns only; the division is by their number.
fn prepareRow(t: u32, row: u32) {
  let columns = f32(step.outColumns);
  var sum = vec4f(0.0);
  for (var i = t; i < vectors(step.outColumns); i += 64u) {
    sum += inputOf(row, i); // padded columns are 0
  }
  mean = total(t, sum) / columns;
  var squares = vec4f(0.0);
  for (var i = t; i < vectors(step.outColumns); i += 64u) {
    // Without `inside` each padded column would add mean^2 to the variance.
    let distance = select(vec4f(0.0), inputOf(row, i) - mean, inside(i));
    squares += distance * distance;
  }
  deviation = sqrt(total(t, squares) / columns + step.eps);
}

fn inputOf(row: u32, i: u32) -> vec4f {
  let at = row * vectors(step.outColumns) + i;
  return x[at] + select(vec4f(0.0), residual[at], step.second == 1u);
}
fn valueOf(row: u32, i: u32) -> vec4f {
  return (inputOf(row, i) - mean) / deviation * gamma[i] + beta[i];
}
