// Arithmetic of linears with float weights: sums are float32, the bias is added, nothing is quantized.

alias Sum = vec4f;
@group(0) @binding(6) var<storage, read> constants: array<vec4f>; // [out]: bias

fn prepareRows(thread: u32, first: u32, count: u32) {}

fn prepare(value: vec4f, row: u32) -> vec4f {
  return value;
}

fn finish(sum: Sum, row: u32, column4: u32) -> vec4f {
  return sum + constants[column4];
}

fn note(row: u32, value: vec4f) {}
fn publish(thread: u32, first: u32, count: u32) {}
