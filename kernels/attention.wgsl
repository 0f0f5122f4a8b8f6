// attention: y = softmax(q k^T / sqrt(headDim)) v for each head. Formula, bound, cases: attention.ts. Layout of a row
// of qkv (query | key | value, each by heads): attention.wasm.ts.
//
// One pass over the keys (Milakov & Gimelshein 2018, algorithm 3): if a tile of keys has a larger score than all
// before, the sums so far are scaled down to the new maximum. A workgroup of 128 threads takes 16 queries of one head of
// one sequence, 8 threads for each query, and a tile of 32 keys at a time:
//   for each 32 keys:
//     for each 64 columns of the head:
//       fetch queries / sqrt(headDim), fetch keys | barrier | each thread: 4 scores of its query
//     top = maximum of the 8 threads and before; p = exp(scores - top); sum and mix *= exp(before - top)
//     fetch values into the same tile | barrier | each thread: mix of every 8th vec4 += p value
//   y = mix / (sum over the 8 threads)
// The workgroup has room for 64 columns of a head, headDim a multiple of 4. A larger head has a workgroup for each 64 of
// its columns; each of them computes all scores.
// No subgroup operations: their size differs between GPUs, and 8 threads exchange little. 15 KB of workgroup memory.

@group(0) @binding(4) var<storage, read> qkv: array<vec4f>; // [tokens][3 hidden]
const PAD = 17u; // stride of the tile in vec4s, one more than 16: 8 threads that read 8 rows hit different banks
var<workgroup> queries: array<vec4f, 256>; // [16 queries][16]
var<workgroup> tile: array<vec4f, 544>;    // [32 keys, later the values of the same tokens][PAD]
var<workgroup> weights: array<f32, 512>;   // [16 queries][32 keys]
var<workgroup> tops: array<f32, 128>;      // one number for each thread

// Fetches `width` vec4s of 32 rows into the tile, from vec4 `column` of a row on. Rows beyond the sequence are zeros.
fn fetch(t: u32, begin: u32, end: u32, column: u32, width: u32) {
  for (var row = t / 16u; row < 32u; row += 8u) {
    if (t % 16u < width) {
      let value = qkv[(begin + row) * 3u * vectors(step.outColumns) + column + t % 16u];
      tile[row * PAD + t % 16u] = select(vec4f(0.0), value, begin + row < end);
    }
  }
}

// Scores of the thread's query (head, of 16 queries from row `first` on) for four of the 32 keys from row `begin` on.
fn scoresOf(t: u32, head: u32, first: u32, begin: u32, end: u32, isFirst: bool) -> vec4f {
  let hidden = vectors(step.outColumns);
  let width = hidden / step.heads;
  let scale = 1.0 / sqrt(f32(4u * width));
  let lane = t % 8u;
  // Of the keys lane, lane + 8, lane + 16 and lane + 24, so that neighbours read neighbouring rows.
  var scores = vec4f(0.0);
  for (var part = 0u; part < width; part += 16u) {
    let some = min(16u, width - part);
    workgroupBarrier(); // the last tile has been read
    if (t % 16u < some && (isFirst || width > 16u)) {
      for (var row = t / 16u; row < 16u; row += 8u) {
        queries[row * 16u + t % 16u] = qkv[(first + row) * 3u * hidden + head + part + t % 16u] * scale;
      }
    }
    fetch(t, begin, end, hidden + head + part, some);
    workgroupBarrier();
    for (var i = 0u; i < some; i++) {
      let q = queries[t / 8u * 16u + i];
      scores += vec4f(
        dot(q, tile[lane * PAD + i]), dot(q, tile[(lane + 8u) * PAD + i]),
        dot(q, tile[(lane + 16u) * PAD + i]), dot(q, tile[(lane + 24u) * PAD + i]));
    }
  }
  // Rows beyond the sequence are no keys: they must not count.
  return select(vec4f(-1e30), scores, begin + lane + vec4u(0u, 8u, 16u, 24u) < vec4u(end));
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) at: vec3u, @builtin(local_invocation_index) t: u32) {
  // The workgroup's sequence and its first query; the grid has as many blocks of queries as the longest sequence.
  let start = tables[step.table + at.z];
  let end = tables[step.table + at.z + 1u];
  let first = start + 16u * at.x;
  if (first >= end) {
    return;
  }
  let hidden = vectors(step.outColumns);
  let width = hidden / step.heads; // vec4s of a head
  let slices = (width + 15u) / 16u;
  let head = at.y / slices * width;
  let slice = at.y % slices * 16u; // the columns of y
  // The thread's query, and its place among the 8 threads of that query.
  let query = t / 8u;
  let lane = t % 8u;
  // So far: the largest score, this thread's part of the sum of p, and its part of sum p v.
  var top = -1e30;
  var sum = 0.0;
  var mix: array<vec4f, 2>;
  for (var begin = start; begin < end; begin += 32u) {
    let scores = scoresOf(t, head, first, begin, end, begin == start);
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
    fetch(t, begin, end, 2u * hidden + head + slice, min(16u, width - slice));
    workgroupBarrier();
    mix[0] *= shrink;
    mix[1] *= shrink;
    for (var i = 0u; i < 32u; i++) {
      let w = weights[query * 32u + i];
      mix[0] += w * tile[i * PAD + lane];
      mix[1] += w * tile[i * PAD + lane + 8u];
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
  for (var i = lane; i < min(16u, width - slice) && first + query < end; i += 8u) {
    put(first, query, head + slice + i, mix[i / 8u] / sum);
  }
  // Outside the loop: writeRanges has barriers, which all threads must reach.
  writeRanges(t, first, 16u);
}
