// Sums over the 64 threads of a workgroup, for layerNorm.wgsl and softmax.wgsl.

var<workgroup> tree: array<f32, 64>;

// The sum over all threads of the workgroup, by a tree: in each round half of the threads add the other half's number.
fn total(t: u32, value: vec4f) -> f32 {
  tree[t] = value.x + value.y + value.z + value.w;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (t < half) {
      tree[t] += tree[t + half];
    }
    workgroupBarrier();
  }
  let sum = tree[0];
  workgroupBarrier(); // the next call may overwrite the tree now
  return sum;
}
