// softmax: y = exp(x - max x) / sum exp(x - max x) of each row. Formula, bound, cases: softmax.ts. Rows of any length: the
// maximum, the sum and the quotient are a pass over x each. A NaN, or an infinite maximum, makes the sum NaN and so the row.

@group(0) @binding(4) var<storage, read> x: array<vec4f>;
var<private> largest: f32;
var<private> sum: f32;

fn prepareRow(t: u32, row: u32) {
  let stride = vectors(step.outColumns);
  var most = vec4f(x[row * stride].x);
  for (var i = t; i < stride; i += 64u) {
    most = max(most, select(most, x[row * stride + i], inside(i)));
  }
  largest = reduce(t, max(max(most.x, most.y), max(most.z, most.w)), true);
  var weights = vec4f(0.0);
  for (var i = t; i < stride; i += 64u) {
    weights += weightOf(row, i);
  }
  sum = total(t, weights);
}

// exp of a row's distances to its maximum; 0 for padding.
fn weightOf(row: u32, i: u32) -> vec4f {
  let distance = x[row * vectors(step.outColumns) + i] - largest;
  let weight = select(exp(max(distance, vec4f(-104.0))), distance, isNaN(distance));
  return select(vec4f(0.0), weight, inside(i));
}
fn valueOf(row: u32, i: u32) -> vec4f {
  return weightOf(row, i) / sum;
}
