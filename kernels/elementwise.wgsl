// add, mul and the activations, element by element. Formula, bound, cases: elementwise.ts. One workgroup of 64 threads per row.

const ADD = 5u;
const MUL = 6u;
@group(0) @binding(4) var<storage, read> x: array<vec4f>;
@group(0) @binding(5) var<storage, read> other: array<vec4f>; // as many rows as x, or one row for all: step.second

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) t: u32) {
  let row = at.x;
  let stride = vectors(step.outColumns);
  for (var i = t; i < stride; i += 64u) {
    let value = x[row * stride + i];
    let second = other[select(row * stride, 0u, step.second == 1u) + i];
    var result = activate(value);
    if (step.activation == ADD) {
      result = value + second;
    } else if (step.activation == MUL) {
      result = value * second;
    }
    put(row, 0u, i, result);
  }
  writeRanges(t, row, 1u);
}
