// The parts of linear.wgsl for int8 weights. x is quantized while it is fetched, so an int8 linear is one dispatch; the
// kernel that made x has recorded its ranges (common.wgsl). Sums are int32 and equal on every device.
// Activations are 0..128 (src/quantize.ts), too large for int8: x is 64 less here, and so is its zero point.

alias Element = u32; // four k, as dot4I8Packed takes them
alias Sum = vec4i;
const BLOCK = 128u; // k of 32 elements
@group(0) @binding(5) var<storage, read> weight: array<vec4u>;    // [out][in padded to 128], 16 k each
@group(0) @binding(6) var<storage, read> constants: array<vec4u>; // [3][out]: weight sums (int32), scales, biases

// The bits of a float32 that is infinite or NaN are these or more.
const NOT_FINITE: u32 = 0x7f800000u;
var<workgroup> quantizers: array<Quantizer, 32>; // of the workgroup's rows of x

// Chooses scale and zero point of `count` rows of x, from row `first` on. All threads of the workgroup must call it.
fn prepareRows(thread: u32, first: u32, count: u32) {
  if (thread < count) {
    let row = min(first + thread, step.rows - 1u);
    let at = 2u * (step.rangeOfX + tables[step.pairsOfX + row]);
    let low = atomicLoad(&ranges[at]);
    let high = atomicLoad(&ranges[at + 1u]);
    var chosen = chooseQuantizer(bitcast<f32>(low), bitcast<f32>(high));
    if (max(low, high) >= NOT_FINITE) {
      chosen.scale = bitcast<f32>(max(low, high) | 0x400000u); // NaN, and so are the results
    }
    quantizers[thread] = chosen;
  }
  workgroupBarrier();
}

// Quantizes four values of x and packs them.
fn quantize(value: vec4f, by: Quantizer) -> u32 {
  return pack4xI8(vec4i(clamp(round(value * by.inverse) + f32(by.zeroPoint), vec4f(-64.0), vec4f(127.0))));
}
// Beyond x's columns comes the next row, whose integers meet zeros of the weight.
fn loadX(row: u32, local: u32, k4: u32) -> vec4u {
  let by = quantizers[local];
  let at = row * vectors(step.inColumns) + 4u * k4;
  return vec4u(quantize(x[at], by), quantize(x[at + 1u], by), quantize(x[at + 2u], by), quantize(x[at + 3u], by));
}
fn loadWeight(column: u32, k4: u32) -> vec4u {
  return weight[column * ((step.inColumns + 127u) / 128u * 8u) + k4];
}
fn products(a: u32, b: vec4u) -> vec4i {
  return vec4i(dot4I8Packed(a, b.x), dot4I8Packed(a, b.y), dot4I8Packed(a, b.z), dot4I8Packed(a, b.w));
}
// y = float32(sum_k (xq - zeroPoint) wq) (xScale wScale) + bias, where `sum` still has the zero point in it.
fn finish(sum: Sum, local: u32, column4: u32) -> vec4f {
  let n = vectors(step.outColumns);
  let by = quantizers[local];
  let accumulators = sum - by.zeroPoint * bitcast<vec4i>(constants[column4]);
  let scales = bitcast<vec4f>(constants[n + column4]);
  return fma(vec4f(accumulators), by.scale * scales, bitcast<vec4f>(constants[2u * n + column4]));
}
