// Sums and maxima over the 64 threads of a workgroup, for layerNorm.wgsl and softmax.wgsl.

var<workgroup> tree: array<f32, 64>;

// The sum over all threads of the workgroup, or the maximum, by a tree: in each round half of the threads join the other
// half's number to theirs.
fn reduce(t: u32, value: f32, isMaximum: bool) -> f32 {
  tree[t] = value;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (t < half) {
      let other = tree[t + half];
      tree[t] = select(tree[t] + other, max(tree[t], other), isMaximum);
    }
    workgroupBarrier();
  }
  let result = tree[0];
  workgroupBarrier(); // the next call may overwrite the tree now
  return result;
}
fn total(t: u32, value: vec4f) -> f32 {
  return reduce(t, value.x + value.y + value.z + value.w, false);
}
