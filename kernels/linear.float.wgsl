// The parts of linear.wgsl for float weights: x and weight are multiplied as they are, and sums are float32. The weight's
// format is in weight.fp32.wgsl or weight.fp16.wgsl.

alias Element = f32; // one k
alias Sum = vec4f;
const BLOCK = 32u; // k of 32 elements
@group(0) @binding(6) var<storage, read> constants: array<vec4f>; // [out]: bias

// Nothing is quantized, so there is no scale to choose.
fn prepareRows(thread: u32, first: u32, count: u32) {}

// Beyond x's columns comes the next row. Its numbers meet zeros of the weight, but a NaN times 0 is NaN.
fn loadX(row: u32, local: u32, k4: u32) -> vec4f {
  let stride = vectors(step.inColumns);
  return select(vec4f(0.0), x[row * stride + k4], k4 < stride);
}
fn loadWeight(column: u32, k4: u32) -> vec4f {
  return weightAt(column * ((step.inColumns + 127u) / 128u * 32u) + k4);
}
fn products(a: f32, b: vec4f) -> vec4f {
  return a * b;
}
fn finish(sum: Sum, local: u32, column4: u32) -> vec4f {
  return select(sum, sum + constants[column4], step.second == 1u); // matmul has no bias
}
