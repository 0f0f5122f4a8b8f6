// What every kernel is handed. A tensor is [rows][stride] float32, its columns padded to 4, read as vec4; rows beyond
// `tokens` hold finite numbers of earlier forwards, which no row of this one may depend on.

struct Forward {
  tokens: u32,
  ids: array<u32>,  // [2][capacity]: of the tokens, of their types
}
struct Step {
  features: u32,    // columns of x
  out: u32,         // columns of y
  capacity: u32,    // rows there is room for
  heads: u32,
  eps: f32,
  rangeOfX: u32,    // which pair of rows of `ranges` says between which values x lies
  rangeOfY: u32,
}

@group(0) @binding(0) var<storage, read> forward: Forward;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read_write> ranges: array<atomic<u32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4u>; // the bits of float32

// vec4s of a row of this many columns
fn vectors(columns: u32) -> u32 {
  return (columns + 3u) / 4u;
}

// GELU, x Phi(x) = max(x, 0) - |x| Phi(-|x|): nothing cancels. log Phi(-u) on [0, 6] is the weighted least squares fit
// of math.wasm.ts, of degree 8; Phi errs by at most 4.1e-8. Beyond 6 the second term, below 6e-9, is dropped.
fn gelu(x: vec4f) -> vec4f {
  let u = abs(x);
  var q = vec4f(-1.92145032e-6);
  q = fma(q, u, vec4f(2.67700002e-5));
  q = fma(q, u, vec4f(-1.26532980e-4));
  q = fma(q, u, vec4f(-1.01108012e-4));
  q = fma(q, u, vec4f(0.00490434142));
  q = fma(q, u, vec4f(-0.0363937113));
  q = fma(q, u, vec4f(-0.318296587));
  q = fma(q, u, vec4f(-0.797885687));
  q = fma(q, u, vec4f(-0.693147166));
  return max(x, vec4f(0.0)) - select(vec4f(0.0), u * exp(min(q, vec4f(0.0))), u < vec4f(6.0));
}
