// An int8 weight, [out][in padded to 128], without the packed operations that not every browser has.
@group(0) @binding(5) var<storage, read> weight: array<u32>;

fn weightAt(k4: u32) -> vec4f {
  let w = weight[k4];
  return vec4f(bitcast<vec4i>(vec4u(w << 24u, w << 16u, w << 8u, w)) >> vec4u(24u));
}
