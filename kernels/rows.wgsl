// rows: y[i] = a[indices[i]], or with three tables a[indices[3 i]] + b[indices[3 i + 1]] + c[indices[3 i + 2]]: embeddings.
// Formula, bound, cases: rows.ts, embedding.ts. Tables [rows][stride] as in common.wgsl.

@group(0) @binding(4) var<storage, read> a: array<vec4f>;
@group(0) @binding(5) var<storage, read> b: array<vec4f>;
@group(0) @binding(6) var<storage, read> c: array<vec4f>;

fn prepareRow(thread: u32, row: u32) {}

fn valueOf(row: u32, i: u32) -> vec4f {
  let stride = vectors(step.outColumns);
  if (step.second == 0u) {
    return a[tables[step.table + row] * stride + i];
  }
  let at = step.table + 3u * row;
  return a[tables[at] * stride + i] + b[tables[at + 1u] * stride + i] + c[tables[at + 2u] * stride + i];
}
