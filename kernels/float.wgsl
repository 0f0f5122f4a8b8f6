// Arithmetic of the linears with float weights: sums are float32, `finish` adds the bias, nothing is quantized.
// Same functions as int8.wgsl, so that linear.wgsl, attention.wgsl and layerNorm.wgsl work with either.

alias Sum = vec4f;
@group(0) @binding(6) var<storage, read> constants: array<vec4f>; // [out]: bias

// Nothing is quantized, so there is no scale to choose, no value to convert and no range to note.
fn prepareRows(thread: u32, first: u32, count: u32) {}

fn prepare(value: vec4f, row: u32) -> vec4f {
  return value;
}

fn finish(sum: Sum, row: u32, column4: u32) -> vec4f {
  return sum + constants[column4];
}

fn note(row: u32, value: vec4f) {}
fn publish(thread: u32, first: u32, count: u32) {}
