// attention: y = softmax(q k^T / sqrt(headDim)) v for each head. Formula, bound, cases: attention.ts. Layout of a row
// of qkv (query | key | value, each by heads): attention.wasm.ts.
//
// One pass over the keys (Milakov & Gimelshein 2018, algorithm 3): if a tile of keys has a larger score than all
// before, the sums so far are scaled down to the new maximum. A workgroup of 128 threads takes 16 queries of one head,
// 8 threads for each query, and a tile of 32 keys at a time:
//   queries = q / sqrt(headDim)
//   for each 32 keys:
//     fetch keys | barrier | each thread: 4 scores of its query
//     top = maximum of the 8 threads and before; p = exp(scores - top); sum and mix *= exp(before - top)
//     fetch values into the same tile | barrier | each thread: mix of every 8th vec4 of headDim += p value
//   y = mix / (sum over the 8 threads)
// No subgroup operations: their size differs between GPUs, and 8 threads exchange little. headDim is at most 64 and a
// multiple of 4. The tiles take 15 KB of workgroup memory.

@group(0) @binding(4) var<storage, read> qkv: array<vec4f>; // [tokens][3 hidden]
const PAD = 17u; // stride of the tile in vec4s, one more than 16: 8 threads that read 8 rows hit different banks
var<workgroup> queries: array<vec4f, 256>; // [16 queries][16]
var<workgroup> keys: array<vec4f, 544>;    // [32 keys][PAD], later the values of the same tokens
var<workgroup> weights: array<f32, 512>;   // [16 queries][32 keys]
var<workgroup> tops: array<f32, 128>;      // one number for each thread

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) t: u32) {
  let first = firstOfBlock(at.x);
  let end = endOf(first); // one past the last row of the sequence
  let hidden = step.out / 4u;
  let width = hidden / step.heads; // vec4s of a head
  let head = at.y * width;
  // The thread's query, and its place among the 8 threads of that query.
  let query = t / 8u;
  let lane = t % 8u;
  let scale = 1.0 / sqrt(f32(4u * width));
  for (var i = t; i < 16u * width; i += 128u) {
    queries[i / width * 16u + i % width] = qkv[(first + i / width) * 3u * hidden + head + i % width] * scale;
  }
  // So far: the largest score, this thread's part of the sum of p, and its part of sum p v.
  var top = -1e30;
  var sum = 0.0;
  var mix: array<vec4f, 2>;
  for (var begin = firstOf(first); begin < end; begin += 32u) {
    workgroupBarrier(); // the last tile's values have been read
    for (var i = t; i < 32u * width; i += 128u) {
      keys[i / width * PAD + i % width] = qkv[(begin + i / width) * 3u * hidden + hidden + head + i % width];
    }
    workgroupBarrier();
    // Scores of the keys lane, lane + 8, lane + 16 and lane + 24, so that neighbours read neighbouring rows.
    var scores = vec4f(0.0);
    for (var i = 0u; i < width; i++) {
      let q = queries[query * 16u + i];
      scores += vec4f(
        dot(q, keys[lane * PAD + i]), dot(q, keys[(lane + 8u) * PAD + i]),
        dot(q, keys[(lane + 16u) * PAD + i]), dot(q, keys[(lane + 24u) * PAD + i]));
    }
    // Rows beyond the sequence are no keys: they must not count.
    let key = begin + lane + vec4u(0u, 8u, 16u, 24u);
    scores = select(vec4f(-1e30), scores, key < vec4u(end));
    tops[t] = max(max(scores.x, scores.y), max(scores.z, scores.w));
    workgroupBarrier();
    // Each of the 8 threads finds the same maximum by reading all 8 numbers.
    let before = top;
    for (var i = 0u; i < 8u; i++) {
      top = max(top, tops[query * 8u + i]);
    }
    // What the sums so far must be multiplied by, now that the maximum is `top`.
    let shrink = exp(before - top);
    let p = exp(scores - top);
    sum = sum * shrink + p.x + p.y + p.z + p.w;
    weights[query * 32u + lane] = p.x;
    weights[query * 32u + lane + 8u] = p.y;
    weights[query * 32u + lane + 16u] = p.z;
    weights[query * 32u + lane + 24u] = p.w;
    // The values take the keys' place: the barrier above came after the last read of the keys.
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
  // Add up the 8 threads' sums.
  workgroupBarrier();
  tops[t] = sum;
  workgroupBarrier();
  sum = 0.0;
  for (var i = 0u; i < 8u; i++) {
    sum += tops[query * 8u + i];
  }
  let row = first + query;
  if (row < end) {
    for (var j = 0u; j < 2u; j++) {
      let i = lane + 8u * j;
      if (i < width) {
        let value = mix[j] / sum;
        y[row * hidden + head + i] = bitcast<vec4u>(value);
        note(first, query, value);
      }
    }
  }
  // Outside the condition: publish has a barrier, which all threads must reach.
  publish(t, first, 16u);
}
