// embedding: y[t] = word[ids[t]] + type[typeIds[t]] + position[t]. Formula, bound, cases: embedding.ts. Tables
// [rows][stride] as in common.wgsl. One workgroup of 64 threads per token; thread t adds every 64th vec4 from t on.

@group(0) @binding(4) var<storage, read> word: array<vec4f>;
@group(0) @binding(5) var<storage, read> position: array<vec4f>;
@group(0) @binding(6) var<storage, read> tokenType: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) t: u32) {
  let token = at.x;
  let stride = vectors(step.outColumns);
  // Where the token's rows begin in the three tables. Positions begin anew with each sequence.
  let wordAt = tables[step.ids + token] * stride;
  let typeAt = tables[step.tokenTypes + token] * stride;
  let positionAt = (token - tables[step.firsts + token]) * stride;
  for (var c = t; c < stride; c += 64u) {
    put(token, 0u, c, word[wordAt + c] + tokenType[typeAt + c] + position[positionAt + c]);
  }
  writeRanges(t, token, 1u);
}
