// A float32 weight, [out][in padded to 128].
@group(0) @binding(5) var<storage, read> weight: array<vec4f>;

fn weightAt(k4: u32) -> vec4f {
  return weight[k4];
}
