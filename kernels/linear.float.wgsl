// A linear's elements as float32 numbers, whatever the weight is kept in. For int8 these are whole numbers, and the
// integers are those of linear.packed.wgsl: 32 products are at most 32 * 64 * 128 = 2^18 in magnitude, exact in float32,
// before they are added in int32. For adapters without dot4I8Packed, or with a slow one.

alias Element = f32;
alias Partial = vec4f;
const BLOCK = 32u; // k of 32 elements

// Where a row of x and of the weight begins, then 4 elements of it.
fn startX(row: u32) -> u32 {
  return row * vectors(step.features);
}
fn loadX(start: u32, local: u32, k4: u32) -> vec4f {
  return prepare(x[start + k4], local);
}
fn startWeight(column: u32) -> u32 {
  return column * ((step.features + 127u) / 128u * 32u);
}
fn loadWeight(start: u32, k4: u32) -> vec4f {
  return weightAt(start + k4);
}
fn products(a: f32, b: vec4f) -> vec4f {
  return a * b;
}
fn inner(a: vec4f, b: vec4f) -> f32 {
  return dot(a, b);
}
