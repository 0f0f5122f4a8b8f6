// attention: y = softmax(q k^T / sqrt(headDim)) v for each head, in one pass over the keys (Milakov & Gimelshein 2018,
// algorithm 3: with each tile of keys the sums so far are scaled down to the new maximum).
//
// A workgroup of 128 threads takes 16 queries of a head, 8 threads each, and 32 keys at a time:
//   scores: a thread 4 keys of its query | maximum over the 8 threads | exp | y: a thread every 8th vec4 of headDim
// No subgroup operations: their size differs between GPUs, and 8 threads exchange little. headDim at most 64, a multiple
// of 4. 15 KB of workgroup memory.

@group(0) @binding(4) var<storage, read> qkv: array<vec4f>; // [tokens][3 hidden]
const PAD = 17u; // vec4s of a row of keys: 8 threads that read 8 rows hit different banks
var<workgroup> queries: array<vec4f, 256>;
var<workgroup> keys: array<vec4f, 544>; // then the values
var<workgroup> weights: array<f32, 512>;
var<workgroup> tops: array<f32, 128>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) t: u32) {
  let tokens = forward.tokens;
  let hidden = step.out / 4u;
  let width = hidden / step.heads; // vec4s of a head
  let head = at.y * width;
  let first = at.x * 16u;
  let query = t / 8u;
  let lane = t % 8u;
  let scale = 1.0 / sqrt(f32(4u * width));
  for (var i = t; i < 16u * width; i += 128u) {
    queries[i / width * 16u + i % width] = qkv[(first + i / width) * 3u * hidden + head + i % width] * scale;
  }
  var top = -1e30;
  var sum = 0.0;
  var mix: array<vec4f, 2>;
  for (var begin = 0u; begin < tokens; begin += 32u) {
    workgroupBarrier();
    for (var i = t; i < 32u * width; i += 128u) {
      keys[i / width * PAD + i % width] = qkv[(begin + i / width) * 3u * hidden + hidden + head + i % width];
    }
    workgroupBarrier();
    var scores = vec4f(0.0);
    for (var i = 0u; i < width; i++) {
      let q = queries[query * 16u + i];
      scores += vec4f(
        dot(q, keys[lane * PAD + i]), dot(q, keys[(lane + 8u) * PAD + i]),
        dot(q, keys[(lane + 16u) * PAD + i]), dot(q, keys[(lane + 24u) * PAD + i]));
    }
    let key = begin + lane + vec4u(0u, 8u, 16u, 24u);
    scores = select(vec4f(-1e30), scores, key < vec4u(tokens));
    tops[t] = max(max(scores.x, scores.y), max(scores.z, scores.w));
    workgroupBarrier();
    let before = top;
    for (var i = 0u; i < 8u; i++) {
      top = max(top, tops[query * 8u + i]);
    }
    let shrink = exp(before - top);
    let p = exp(scores - top);
    sum = sum * shrink + p.x + p.y + p.z + p.w;
    weights[query * 32u + lane] = p.x;
    weights[query * 32u + lane + 8u] = p.y;
    weights[query * 32u + lane + 16u] = p.z;
    weights[query * 32u + lane + 24u] = p.w;
    for (var i = t; i < 32u * width; i += 128u) {
      keys[i / width * PAD + i % width] = qkv[(begin + i / width) * 3u * hidden + 2u * hidden + head + i % width];
    }
    workgroupBarrier();
    mix[0] *= shrink;
    mix[1] *= shrink;
    for (var i = 0u; i < 32u; i++) {
      let w = weights[query * 32u + i];
      mix[0] += w * keys[i * PAD + lane];
      mix[1] += w * keys[i * PAD + lane + 8u];
    }
  }
  workgroupBarrier();
  tops[t] = sum;
  workgroupBarrier();
  sum = 0.0;
  for (var i = 0u; i < 8u; i++) {
    sum += tops[query * 8u + i];
  }
  let row = first + query;
  if (row < tokens) {
    for (var j = 0u; j < 2u; j++) {
      let i = lane + 8u * j;
      if (i < width) {
        let value = mix[j] / sum;
        y[row * hidden + head + i] = bitcast<vec4u>(value);
        note(query, value);
      }
    }
  }
  publish(t, first, 16u);
}
