/**
 * attention: y = softmax(q k^T / sqrt(headDim)) v for each head. Formula, bound, cases: attention.ts.
 *
 * qkv [tokens][stride] and y [tokens][yStride] are row-major float32. One row, hidden = heads * headDim:
 *
 *   qkv   | query: head 0 | head 1 | ... | key: head 0 | ... | value: head 0 | ... | padding |
 *         <------------ hidden ---------><---- hidden ------><----- hidden ------->
 *   y     | head 0 | head 1 | ... | padding |
 *
 * The work is divided into (head, 6 query rows); a chunk is a range of these. Per thread in scratch, one after
 * another:
 *   keys [tokens/16][headDim][16] | values [headDim/16][tokens][16] | scores [6][tokens] | mixed [6][headDim] | t
 * Keys and values are packed as panels of linear.wasm.ts, so both products are its tiles; tokens and headDim are
 * padded to 16 where they count columns.
 *   for each (head, 6 rows) of this chunk:
 *     if the head is new: pack its keys and values
 *     scores[6][tokens] = q k^T
 *     p = exp((scores - max) / sqrt(headDim)); sum p of each row
 *     y = (p v) / sum p
 * No more than 6 rows of scores exist at a time in a thread.
 */
import { exp, larger, largestOfPair, share, sumOfPair } from './math.wasm';
import { tile } from './linear.wasm';
import { copyLines, transposeBlock } from './matmul.wasm';

/** Query rows of a block: the rows of a tile. */
const TILE_ROWS: i32 = 6;
/** Where the tile's sums start from: attention's products have no bias. */
const ZEROS: usize = memory.data<f32>([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

/** Packs a head's keys [tokens][headDim], `stride` bytes apart, into panels of 16 tokens: a transposition. */
function packKeys(from: usize, stride: usize, to: usize, tokens: i32, headDim: i32): void {
  for (let token = 0; token < tokens; ) {
    const panel = to + <usize>((token >> 4) * headDim << 6) + <usize>((token & 15) << 2);
    let i = 0, rows = 1;
    if (!(token & 3) && token + 4 <= tokens) {
      rows = 4;
      for (; i + 4 <= headDim; i += 4) transposeBlock(from + <usize>(i << 2), stride, panel + <usize>(i << 6), 64);
    }
    for (let row: usize = 0; row < <usize>rows; row++) {
      const key = from + row * stride, column = panel + (row << 2);
      for (let k = i; k < headDim; k++) store<f32>(column + <usize>(k << 6), load<f32>(key + <usize>(k << 2)));
    }
    token += rows;
    from += <usize>rows * stride;
  }
}

/**
 * y = exp((s - max s) * scale) on `padded` floats, a multiple of 16; y may be s. Returns 1 / sum: the caller scales headDim
 * results, instead of `padded` weights here. `t`: 32 bytes of scratch.
 */
export function softmaxRow(s: usize, y: usize, padded: i32, scale: f32, t: usize): f32 {
  const end = s + (<usize>padded << 2);
  // Pass 1: the maximum. Two accumulators become one 256-bit register in the revectorizer.
  let m0 = v128.load(s, 0), m1 = v128.load(s, 16);
  for (let at = s; at < end; at += 32) {
    const a = v128.load(at, 0), b = v128.load(at, 16);
    m0 = larger(m0, a);
    m1 = larger(m1, b);
  }
  const most = f32x4.splat(largestOfPair(m0, m1, t)), factor = f32x4.splat(scale);
  // Pass 2: the exponentials and their sum. After the maximum is subtracted, exp cannot overflow.
  let s0 = f32x4.splat(0), s1 = s0;
  for (let at = s; at < end; at += 32, y += 32) {
    const a = exp(f32x4.mul(f32x4.sub(v128.load(at, 0), most), factor));
    const b = exp(f32x4.mul(f32x4.sub(v128.load(at, 16), most), factor));
    v128.store(y, b, 16);
    v128.store(y, a, 0);
    s0 = f32x4.add(s0, a);
    s1 = f32x4.add(s1, b);
  }
  return <f32>1 / sumOfPair(s0, s1, t);
}

/**
 * Command, 10 words: qkv, y, tokens, heads, headDim, stride of qkv and stride of y (in floats), scratch, bytes of
 * scratch per thread, tile.
 */
export function attention(command: usize, chunk: i32, chunks: i32, thread: i32): void {
  const qkv = load<usize>(command, 0), y = load<usize>(command, 4);
  const tokens = load<i32>(command, 8), heads = load<i32>(command, 12), headDim = load<i32>(command, 16);
  const stride = load<usize>(command, 20) << 2, yStride = load<usize>(command, 24) << 2;
  const keys = load<usize>(command, 28) + <usize>thread * load<usize>(command, 32);
  const shape = load<i32>(command, 36);
  const padded = (tokens + 15) & ~15, width = (headDim + 15) & ~15;
  // This thread's scratch, in the order of the header.
  const values = keys + <usize>(padded * headDim << 2);
  const scores = values + <usize>(tokens * width << 2);
  const mixed = scores + <usize>(TILE_ROWS * padded << 2);
  const t = mixed + <usize>(TILE_ROWS * width << 2);
  const sStride = <usize>padded << 2, mStride = <usize>width << 2;
  const scale = <f32>(1.0 / Math.sqrt(<f64>headDim));
  const hidden = <usize>(heads * headDim << 2), blocks = (tokens + TILE_ROWS - 1) / TILE_ROWS;
  const end = share(heads * blocks, chunk + 1, chunks);
  let packed = -1; // the head whose keys and values are in the scratch
  for (let item = share(heads * blocks, chunk, chunks); item < end; item++) {
    // Items of one head follow each other, so a chunk packs a head once.
    const head = item / blocks, row = (item % blocks) * TILE_ROWS, rows = min(TILE_ROWS, tokens - row);
    const q = qkv + <usize>row * stride + <usize>(head * headDim << 2);
    if (head != packed) {
      packed = head;
      memory.fill(keys, 0, <usize>(padded * headDim << 2)); // keys beyond the last are zeros, not old numbers
      packKeys(qkv + hidden + <usize>(head * headDim << 2), stride, keys, tokens, headDim);
      // Values are whole lines. If headDim is no multiple of 16, the last panel also gets columns of the next head. `mixed` has
      // room for the results of these columns, and nothing reads them.
      let to = values;
      for (let i = 0; i < headDim; i += 16) to = copyLines(qkv + 2 * hidden + <usize>(head * headDim + i << 2), stride, to, tokens);
    }
    // scores = q k^T, 16 keys at a time. q is read in place, as 6 rows of qkv.
    for (let panel = 0; panel < padded >> 4; panel++) {
      const k = keys + <usize>(panel * headDim << 6);
      tile(shape, q, stride, k, headDim, ZEROS, scores + <usize>(panel << 6), sStride);
    }
    for (let i = 0; i < rows; i++) {
      const s = scores + <usize>i * sStride;
      // The keys beyond the last get a score whose exponential is negligible.
      for (let token = tokens; token < padded; token++) store<f32>(s + <usize>(token << 2), -1e30);
      store<f32>(t + 32 + <usize>(i << 2), softmaxRow(s, s, padded, scale, t));
    }
    // mixed = p v, 16 columns of the head at a time. The loop over k ends at the last token, before the padding.
    for (let panel = 0; panel < width >> 4; panel++) {
      const v = values + <usize>(panel * tokens << 6);
      tile(shape, scores, sStride, v, tokens, ZEROS, mixed + <usize>(panel << 6), mStride);
    }
    for (let i = 0; i < rows; i++) {
      const from = mixed + <usize>i * mStride, to = y + <usize>(row + i) * yStride + <usize>(head * headDim << 2);
      const inverse = load<f32>(t + 32 + <usize>(i << 2)), all = f32x4.splat(inverse), whole = <usize>(headDim & ~3) << 2;
      let j: usize = 0;
      for (; j < whole; j += 16) v128.store(to + j, f32x4.mul(v128.load(from + j), all));
      // The rest float by float, so that no store runs into the next head.
      for (; j < <usize>headDim << 2; j += 4) store<f32>(to + j, load<f32>(from + j) * inverse);
      if (head == heads - 1) memory.fill(to + <usize>(headDim << 2), 0, yStride - hidden); // y's padding
    }
  }
}
