// The beginning of every kernel: its step, the tables, how a kernel stores its result y, and the ranges of y. The host
// joins the files of a kernel to one text (src/devices/webgpu/program.ts), this one first. The names that join them:
//
//   common.wgsl        step, tables, vectors, inside, put, reduceRange, writeRanges  | for every kernel
//   activation.wgsl    activate                                                      | for linear.wgsl, elementwise.wgsl
//   row.wgsl           main          | wants prepareRow, valueOf                     | for kernels that make y row by row
//   reduce.wgsl        reduce, total                                                 | for layerNorm.wgsl, softmax.wgsl
//   linear.wgsl        x, main        | wants Element, Sum, BLOCK, prepareRows, loadX, loadWeight, products, finish:
//   linear.float.wgsl  these, for float weights                                      | wants weightAt
//   weight.*.wgsl      weight, weightAt
//   linear.int8.wgsl   these, for int8 weights                                       | wants chooseQuantizer
//   quantizer.wgsl     Quantizer, chooseQuantizer
//
// A tensor is [rows][stride] float32, its columns padded with zeros to a multiple of 4 and read as vec4. What a kernel
// reads beyond a tensor's last row is any number, NaN too: no result may depend on it.
// Bindings of the bind group: 0 to 3 are declared here, 4 to 7 by the kernel that reads them.

struct Step {
  rows: u32,       // of y
  inRows: u32,     // of x
  inColumns: u32,  // columns of x
  outColumns: u32, // columns of y
  heads: u32,
  activation: u32, // its number in activation.wgsl; elementwise.wgsl has two more
  second: u32,     // 1: there is a residual, a bias, a second and a third table; the other has one row for all
  eps: f32,
  table: u32,      // where the op's own numbers begin in `tables`. rows: the indices; attention, mean: [sequences + 1], the
                   // first row of each sequence, and the number of rows
  rangeOfX: u32,   // the first pair of x's ranges
  pairsOfX: u32,   // [rows]: which pair, from there on, is the row's
  rangeOfY: u32,   // the same for y; or NO_RANGE
  pairsOfY: u32,
}
const NO_RANGE: u32 = 0xffffffffu;

@group(0) @binding(0) var<uniform> step: Step;
@group(0) @binding(1) var<storage, read> tables: array<u32>;
@group(0) @binding(2) var<storage, read_write> ranges: array<atomic<u32>>; // pairs, cleared before each run
@group(0) @binding(3) var<storage, read_write> y: array<vec4u>;            // the bits of float32

// The number of vec4s in a row of this many columns.
fn vectors(columns: u32) -> u32 {
  return (columns + 3u) / 4u;
}
// True for those of a vec4's four columns that are columns of y, and not padding.
fn inside(column4: u32) -> vec4<bool> {
  return 4u * column4 + vec4u(0u, 1u, 2u, 3u) < vec4u(step.outColumns);
}

// True for numbers that are NaN, by their bits: a compiler may take any number for one.
fn isNaN(value: vec4f) -> vec4<bool> {
  return (bitcast<vec4u>(value) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u);
}

// Stores four columns of a row of y; `local` is the row's number in the workgroup, whose first row is `first`. Rows and
// columns that y does not have are dropped, and padding is 0.
fn put(first: u32, local: u32, column4: u32, value: vec4f) {
  let stride = vectors(step.outColumns);
  if (first + local >= step.rows || column4 >= stride) {
    return;
  }
  let bits = select(vec4u(0u), bitcast<vec4u>(value), inside(column4));
  y[(first + local) * stride + column4] = bits;
  reduceRange(local, bits);
}

// Ranges, for the int8 linears that quantize y (quantizer.wgsl). The kernel that makes y also finds its range, which holds
// 0 and so is two numbers that are not negative: the largest of -y and of y. float32s that are not negative have the order
// of their bits, so an atomic maximum of integers finds both, exactly and in any order; NaN and infinity are the largest.
//   put, reduceRange: each thread, in workgroup memory | writeRanges: once at the end, in `ranges`
// Rows share a pair as the linear's scheme wants: `accurate` has a pair for each row, `torch` one for each sequence, that
// of its first row. Whether there is a range is a number in `step`, so one compiled kernel serves every program.

var<workgroup> rowRanges: array<atomic<u32>, 64>; // [32 rows of the workgroup][2]

fn reduceRange(local: u32, bits: vec4u) {
  if (step.rangeOfY == NO_RANGE) {
    return;
  }
  let isNegative = bits > vec4u(0x7fffffffu);
  let negative = select(vec4u(0u), bits & vec4u(0x7fffffffu), isNegative);
  let positive = select(bits, vec4u(0u), isNegative);
  let low = max(negative.xy, negative.zw);
  let high = max(positive.xy, positive.zw);
  atomicMax(&rowRanges[2u * local], max(low.x, low.y));
  atomicMax(&rowRanges[2u * local + 1u], max(high.x, high.y));
}

// Joins the ranges of the workgroup's `count` rows into `ranges`. All threads of the workgroup must call it: barriers.
fn writeRanges(thread: u32, first: u32, count: u32) {
  if (step.rangeOfY == NO_RANGE) {
    return;
  }
  // One thread for each number of a pair. The first of the workgroup's rows that share a pair stands for all of these.
  let local = thread / 2u;
  let isRow = local < min(count, step.rows - first);
  let pair = tables[step.pairsOfY + select(0u, first + local, isRow)];
  let leader = max(pair, first) - first;
  workgroupBarrier();
  if (isRow && local != leader) {
    atomicMax(&rowRanges[2u * leader + thread % 2u], atomicLoad(&rowRanges[thread]));
  }
  workgroupBarrier();
  if (isRow && local == leader) {
    atomicMax(&ranges[2u * (step.rangeOfY + pair) + thread % 2u], atomicLoad(&rowRanges[thread]));
  }
}
