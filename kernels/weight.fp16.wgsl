// A float16 weight, [out][in padded to 128], two halves per u32. Every driver can unpack them; many lack the feature
// shader-f16 (Vulkan on NVIDIA, for one).
@group(0) @binding(5) var<storage, read> weight: array<vec2u>;

fn weightAt(k4: u32) -> vec4f {
  let halves = weight[k4];
  return vec4f(unpack2x16float(halves.x), unpack2x16float(halves.y));
}
