// Elements of a linear as int8, four to a u32, for dot4I8Packed: one element is 4 k. x is quantized while it is
// fetched.

alias Element = u32;
alias Partial = vec4i;
const BLOCK = 128u; // k of 32 elements
@group(0) @binding(5) var<storage, read> weight: array<vec4u>; // [out][in padded to 128], 16 k each

// startX and startWeight: where a row begins. loadX and loadWeight: its k4-th vector of 4 elements, which is 16 k.
fn startX(row: u32) -> u32 {
  return row * vectors(step.features);
}
fn loadX(start: u32, local: u32, k4: u32) -> vec4u {
  // x is float32: 16 k are 4 vec4s.
  let at = start + 4u * k4;
  return vec4u(
    pack4xI8(vec4i(prepare(x[at], local))), pack4xI8(vec4i(prepare(x[at + 1u], local))),
    pack4xI8(vec4i(prepare(x[at + 2u], local))), pack4xI8(vec4i(prepare(x[at + 3u], local))));
}
fn startWeight(column: u32) -> u32 {
  return column * ((step.features + 127u) / 128u * 8u);
}
fn loadWeight(start: u32, k4: u32) -> vec4u {
  return weight[start + k4];
}
// One element of x times one of each of 4 columns (for tiled): 4 k each.
fn products(a: u32, b: vec4u) -> vec4i {
  return vec4i(dot4I8Packed(a, b.x), dot4I8Packed(a, b.y), dot4I8Packed(a, b.z), dot4I8Packed(a, b.w));
}
// The sum of 4 elements' products (for direct): 16 k.
fn inner(a: vec4u, b: vec4u) -> i32 {
  return dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w);
}
