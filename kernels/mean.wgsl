// mean: the mean of the rows of each sequence of x. Formula, bound, cases: mean.ts.

@group(0) @binding(4) var<storage, read> x: array<vec4f>;

fn prepareRow(thread: u32, row: u32) {}

fn valueOf(sequence: u32, i: u32) -> vec4f {
  let first = tables[step.table + sequence]; // x's sequences
  let end = tables[step.table + sequence + 1u];
  var sum = vec4f(0.0);
  for (var row = first; row < end; row++) {
    sum += x[row * vectors(step.outColumns) + i];
  }
  return sum / f32(end - first);
}
