// The main of kernels that make y row by row: one workgroup of 64 threads per row; thread t makes every 64th vec4 from t on.

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) t: u32) {
  let row = at.x;
  prepareRow(t, row);
  for (var i = t; i < vectors(step.outColumns); i += 64u) {
    put(row, 0u, i, valueOf(row, i));
  }
  writeRanges(t, row, 1u);
}
