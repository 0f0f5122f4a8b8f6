// rows: y[i] = a[indicesA[i]], or with three tables a[indicesA[i]] + b[indicesB[i]] + c[indicesC[i]]: embeddings. Formula,
// bound, cases: rows.ts, embedding.ts. Tables [rows][stride] as in common.wgsl. One workgroup of 64 threads per row of y; thread t
// adds every 64th vec4 from t on.

@group(0) @binding(4) var<storage, read> a: array<vec4f>;
@group(0) @binding(5) var<storage, read> b: array<vec4f>;
@group(0) @binding(6) var<storage, read> c: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) t: u32) {
  let row = at.x;
  let stride = vectors(step.outColumns);
  for (var i = t; i < stride; i += 64u) {
    var sum = a[tables[step.indicesA + row] * stride + i];
    if (step.second == 1u) {
      sum = sum + b[tables[step.indicesB + row] * stride + i] + c[tables[step.indicesC + row] * stride + i];
    }
    put(row, 0u, i, sum);
  }
  writeRanges(t, row, 1u);
}
