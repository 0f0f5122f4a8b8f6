// Arithmetic of the linears with float weights: sums are float32, `finish` adds the bias, nothing is quantized.
// Same functions as int8.wgsl, so that linear.wgsl works with either.

alias Sum = vec4f;
@group(0) @binding(6) var<storage, read> constants: array<vec4f>; // [out]: bias

// Nothing is quantized, so there is no scale to choose and no value to convert.
fn prepareRows(thread: u32, first: u32, count: u32) {}

fn prepare(value: vec4f, row: u32) -> vec4f {
  return value;
}

fn finish(sum: Sum, row: u32, column4: u32) -> vec4f {
  return sum + constants[column4];
}
