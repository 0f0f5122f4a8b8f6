// What every kernel gets: the forward, the step, the ranges, the output y, and GELU. The host puts this text first.
//
// A tensor is [rows][stride] float32, its columns padded to a multiple of 4 and read as vec4. A tensor that a kernel
// makes has room for `capacity` rows; the rows beyond `tokens` hold finite numbers of earlier forwards, and no row of
// this forward may depend on these.
// Bindings of the bind group: 0 to 3 are declared here, 4 to 8 by the kernel that reads them.

struct Forward {
  tokens: u32,
  ids: array<u32>,  // [2][capacity]: token ids, then type ids
}
struct Step {
  features: u32,    // columns of x
  out: u32,         // columns of y
  capacity: u32,    // rows for which there is room
  heads: u32,
  eps: f32,
  rangeOfX: u32,    // slot of x's range in `ranges` (int8.wgsl)
  rangeOfY: u32,    // slot in which y's range is noted
}

@group(0) @binding(0) var<storage, read> forward: Forward;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read_write> ranges: array<atomic<u32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4u>; // the bits of float32

// The number of vec4s in a row of this many columns.
fn vectors(columns: u32) -> u32 {
  return (columns + 3u) / 4u;
}

// GELU(x) = x Phi(x) = max(x, 0) - |x| Phi(-|x|). In this form no digits cancel. log Phi(-u) on [0, 6] is the
// polynomial of degree 8 in math.wasm.ts; its exponential is within 4.1e-8 of Phi. For |x| > 6 the second term is
// below 6e-9 and is dropped.
fn gelu(x: vec4f) -> vec4f {
  let u = abs(x);
  // Horner's rule, highest power first.
  var q = vec4f(-1.92145032e-6);
  q = fma(q, u, vec4f(2.67700002e-5));
  q = fma(q, u, vec4f(-1.26532980e-4));
  q = fma(q, u, vec4f(-1.01108012e-4));
  q = fma(q, u, vec4f(0.00490434142));
  q = fma(q, u, vec4f(-0.0363937113));
  q = fma(q, u, vec4f(-0.318296587));
  q = fma(q, u, vec4f(-0.797885687));
  q = fma(q, u, vec4f(-0.693147166));
  // min(q, 0) bounds exp beyond 6, where the polynomial is no longer a fit and select drops the result.
  return max(x, vec4f(0.0)) - select(vec4f(0.0), u * exp(min(q, vec4f(0.0))), u < vec4f(6.0));
}
