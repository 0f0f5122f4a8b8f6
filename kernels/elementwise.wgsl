// add, mul and the activations, element by element. Formula, bound, cases: elementwise.ts. One workgroup of 64 threads per row.

@group(0) @binding(4) var<storage, read> x: array<vec4f>;
@group(0) @binding(5) var<storage, read> other: array<vec4f>; // as many rows as x, or one row for all: step.second

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) t: u32) {
  let row = at.x;
  let stride = vectors(step.outColumns);
  for (var i = t; i < stride; i += 64u) {
    let value = x[row * stride + i];
    let second = other[select(row * stride, 0u, step.second == 1u) + i];
    switch step.activation {
      case 5u: {
        put(row, 0u, i, value + second);
      }
      case 6u: {
        put(row, 0u, i, value * second);
      }
      default: {
        put(row, 0u, i, activate(value));
      }
    }
  }
  writeRanges(t, row, 1u);
}
