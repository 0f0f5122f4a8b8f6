// add, mul and the activations, element by element. Formula, bound, cases: elementwise.ts.

const ADD = 5u;
const MUL = 6u;
@group(0) @binding(4) var<storage, read> x: array<vec4f>;
@group(0) @binding(5) var<storage, read> other: array<vec4f>; // as many rows as x, or one row for all: step.second

fn prepareRow(thread: u32, row: u32) {}

fn valueOf(row: u32, i: u32) -> vec4f {
  let begin = row * vectors(step.outColumns);
  let value = x[begin + i];
  let second = other[select(begin, 0u, step.second == 1u) + i];
  if (step.activation == ADD) {
    return value + second;
  }
  if (step.activation == MUL) {
    return value * second;
  }
  return activate(value);
}
