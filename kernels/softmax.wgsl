// softmax: y = exp(x - max x) / sum exp(x - max x) of each row. Formula, bound, cases: softmax.ts. One workgroup of 64 threads per
// row, of any length: the maximum, the sum and the quotient are a pass over x each. A NaN, or an infinite maximum, makes
// the sum NaN and so the row.

@group(0) @binding(4) var<storage, read> x: array<vec4f>;

// exp of a row's distances to its maximum; 0 for padding.
fn weights(row: u32, i: u32, most: f32) -> vec4f {
  let distance = x[row * vectors(step.outColumns) + i] - most;
  let weight = select(exp(max(distance, vec4f(-104.0))), distance, isNaN(distance));
  return select(vec4f(0.0), weight, inside(i));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) t: u32) {
  let row = at.x;
  let stride = vectors(step.outColumns);
  var most = vec4f(x[row * stride].x);
  for (var i = t; i < stride; i += 64u) {
    most = max(most, select(most, x[row * stride + i], inside(i)));
  }
  tree[t] = max(max(most.x, most.y), max(most.z, most.w));
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (t < half) {
      tree[t] = max(tree[t], tree[t + half]);
    }
    workgroupBarrier();
  }
  let largest = tree[0];
  workgroupBarrier(); // the sums overwrite the tree now
  var sum = vec4f(0.0);
  for (var i = t; i < stride; i += 64u) {
    sum += weights(row, i, largest);
  }
  let all = total(t, sum);
  for (var i = t; i < stride; i += 64u) {
    put(row, 0u, i, weights(row, i, largest) / all);
  }
  writeRanges(t, row, 1u);
}
