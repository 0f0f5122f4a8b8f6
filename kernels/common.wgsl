// What every kernel gets: the forward, the step, the output y, the ranges, and GELU. The host puts this text first.
//
// A tensor is [rows][stride] float32, its columns padded to a multiple of 4 and read as vec4. A tensor that a kernel
// makes has room for `capacity` rows; the rows beyond `tokens` hold finite numbers of earlier forwards, and no row of
// this forward may depend on these.
// Bindings of the bind group: 0 to 3 are declared here, 4 to 8 by the kernel that reads them.

struct Forward {
  tokens: u32,       // rows of all sequences
  rows: array<u32>,  // [5][capacity]: token ids, type ids, firstOf, endOf, firstOfBlock
}
struct Step {
  features: u32,    // columns of x
  out: u32,         // columns of y
  capacity: u32,    // rows for which there is room
  heads: u32,
  eps: f32,
  rangeOfX: u32,    // slot of x's range in `ranges`
  rangeOfY: u32,    // slot in which y's range is noted, or NO_SLOT
  perRow: u32,      // 1: each row has a range of its own, as the scheme `accurate` wants; 0: a whole sequence has one
}
const NO_SLOT: u32 = 0xffffffffu;

@group(0) @binding(0) var<storage, read> forward: Forward;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read_write> ranges: array<atomic<u32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4u>; // the bits of float32

// A batch has the rows of its sequences one after another. The first row of the sequence that a row belongs to, and the row
// after its last; the first row of a block of 16 queries of one sequence (attention.wgsl).
fn firstOf(row: u32) -> u32 {
  return forward.rows[2u * step.capacity + row];
}
fn endOf(row: u32) -> u32 {
  return forward.rows[3u * step.capacity + row];
}
fn firstOfBlock(block: u32) -> u32 {
  return forward.rows[4u * step.capacity + block];
}

// The number of vec4s in a row of this many columns.
fn vectors(columns: u32) -> u32 {
  return (columns + 3u) / 4u;
}

// Ranges, for the linears that quantize y (int8.wgsl). The kernel that makes y also finds its range:
//   note: each thread, in registers or workgroup memory | publish: atomic maximum in `ranges`
// The range always holds 0, so it is two numbers that are not negative: max(-y) and max(y). float32s that are not
// negative have the order of their bits, so an atomic maximum of integers finds both, exactly and in any order.
//
//   ranges: [slot][row: capacity][2]    (perRow: each row its own pair; else the first row of a sequence for all of it)
//
// Whether to note is a number in `step`, not a constant of the shader: one compiled kernel serves every program.

// The exponent's bits of a float32 that is infinite or NaN.
const NOT_FINITE: u32 = 0x7f800000u;

// The ranges of the workgroup's rows of y: in workgroup memory, or one per thread.
var<workgroup> noted: array<atomic<u32>, 128>;
var<private> extremes: vec2f;
var<private> current: u32; // the place in `noted` that `extremes` belong to

// Where the pair of a row begins in `ranges`.
fn rangeAt(slot: u32, row: u32) -> u32 {
  return 2u * (slot * step.capacity + select(firstOf(row), row, step.perRow == 1u));
}

// Notes the range of four values of y, of row `row` of the workgroup, whose first row is `first`. Rows that share a range
// share the place of the first of them in the workgroup; a thread keeps what it notes in registers until the place changes.
fn note(first: u32, row: u32, value: vec4f) {
  if (step.rangeOfY == NO_SLOT) {
    return;
  }
  let a = max(value.xy, value.zw);
  let b = min(value.xy, value.zw);
  var pair = max(vec2f(-min(b.x, b.y), max(a.x, a.y)), vec2f(0.0));
  // By bits, because a driver may assume that no value is NaN or infinite.
  let exponents = bitcast<vec4u>(value) & vec4u(NOT_FINITE);
  if (any(exponents == vec4u(NOT_FINITE))) {
    pair = bitcast<vec2f>(exponents.xy | exponents.zw | vec2u(NOT_FINITE));
  }
  let place = select(max(firstOf(first + row), first) - first, row, step.perRow == 1u);
  if (place != current) {
    flush();
    current = place;
  }
  extremes = max(extremes, pair);
}
fn flush() {
  atomicMax(&noted[2u * current], bitcast<u32>(extremes.x));
  atomicMax(&noted[2u * current + 1u], bitcast<u32>(extremes.y));
  extremes = vec2f(0.0);
}

// Joins the workgroup's noted ranges of `count` rows into `ranges`. All threads of the workgroup must call it: barrier.
fn publish(thread: u32, first: u32, count: u32) {
  if (step.rangeOfY == NO_SLOT) {
    return;
  }
  flush();
  workgroupBarrier();
  // One thread for each number of a pair. Zero is what `ranges` holds anyway.
  if (thread < 2u * count) {
    let number = atomicLoad(&noted[thread]);
    if (number > 0u) {
      atomicMax(&ranges[rangeAt(step.rangeOfY, first + thread / 2u) + thread % 2u], number);
    }
  }
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
