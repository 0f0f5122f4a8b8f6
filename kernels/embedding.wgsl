// embedding: y[t] = word[ids[t]] + type[typeIds[t]] + position[t]. Formula, bound, cases: embedding.ts. Tables
// [rows][stride] as in common.wgsl. One workgroup of 64 threads per token; thread t adds every 64th vec4 from t on.

@group(0) @binding(4) var<storage, read> word: array<vec4f>;
@group(0) @binding(5) var<storage, read> kind: array<vec4f>;
@group(0) @binding(6) var<storage, read> position: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) t: u32) {
  let token = at.x;
  let stride = vectors(step.out);
  // Where the token's rows begin in the word table, in `kind`, the type table, and in the position table.
  let id = forward.rows[token] * stride;
  let kindId = forward.rows[step.capacity + token] * stride;
  let place = (token - firstOf(token)) * stride; // positions begin anew with each sequence
  for (var c = t; c < stride; c += 64u) {
    y[token * stride + c] = bitcast<vec4u>(word[id + c] + kind[kindId + c] + position[place + c]);
  }
}
