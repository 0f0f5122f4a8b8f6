// An int8 weight, [out][in padded to 128], four per u32, for browsers without the packed operations.
@group(0) @binding(5) var<storage, read> weight: array<u32>;

fn weightAt(k4: u32) -> vec4f {
  let w = weight[k4];
  // Each byte moves to the top of its lane; the arithmetic shift back extends the sign.
  return vec4f(bitcast<vec4i>(vec4u(w << 24u, w << 16u, w << 8u, w)) >> vec4u(24u));
}
