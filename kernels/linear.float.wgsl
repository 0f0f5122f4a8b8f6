// Elements of a linear as float32 numbers, whatever the format of the weight (weight.*.wgsl). For int8 these are whole
// numbers, and the sums are the integers of linear.packed.wgsl: 32 products are at most 32 * 64 * 128 = 2^18 in
// magnitude, exact in float32, and then added in int32. For adapters without dot4I8Packed, or with a slow one.

alias Element = f32;
alias Partial = vec4f;
const BLOCK = 32u; // k of 32 elements

// startX and startWeight: where a row begins. loadX and loadWeight: its k4-th vector of 4 elements.
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
// One element of x times one of each of 4 columns (for tiled).
fn products(a: f32, b: vec4f) -> vec4f {
  return a * b;
}
// The sum of 4 products (for direct).
fn inner(a: vec4f, b: vec4f) -> f32 {
  return dot(a, b);
}
