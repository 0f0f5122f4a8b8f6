// A float32 weight, [out][in padded to 128], read as vec4: element k4 is 4 k of one output column.
@group(0) @binding(5) var<storage, read> weight: array<vec4f>;

fn weightAt(k4: u32) -> vec4f {
  return weight[k4];
}
