/**
 * attention: softmax(q k^T / sqrt(headDim)) v for each head. Formula, bound and cases: attention.ts.
 *
 * A thread takes a range of (head, 6 query rows). For each head it packs the keys [tokens/16][headDim][16] and the
 * values [headDim/16][tokens][16] into its scratch, the layout of linear.wasm.ts, and both products are its tiles:
 *   for each 6 rows: scores[6][tokens] = q k^T; p = exp((s - max) / sqrt(headDim)); y = p v / sum p
 * so that no more than 6 rows of scores exist at a time.
 */
import { exp, larger, maxLanes, share, sumLanes } from './math.wasm';
import { tile } from './linear.wasm';

const ROWS: i32 = 6;
const ZEROS: usize = memory.data<f32>([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);

function packKeys(from: usize, stride: usize, to: usize, tokens: i32, headDim: i32): void {
  for (let token = 0; token < tokens; token++, from += stride) {
    const panel = to + <usize>((token >> 4) * headDim << 6) + <usize>((token & 15) << 2);
    for (let i = 0; i < headDim; i++) store<f32>(panel + <usize>(i << 6), load<f32>(from + <usize>(i << 2)));
  }
}

function packValues(from: usize, stride: usize, to: usize, tokens: i32, headDim: i32): void {
  for (let token = 0; token < tokens; token++, from += stride) {
    // The last panel of a head that fills none takes some of its neighbour's columns along; they are never read.
    for (let i = 0; i < headDim; i += 16) {
      const source = from + <usize>(i << 2), panel = to + <usize>((i >> 4) * tokens + token << 6);
      const a = v128.load(source, 0), b = v128.load(source, 16), c = v128.load(source, 32), d = v128.load(source, 48);
      v128.store(panel, d, 48);
      v128.store(panel, c, 32);
      v128.store(panel, b, 16);
      v128.store(panel, a, 0);
    }
  }
}

/** exp((s - max s) * scale) in place over `padded` floats (a multiple of 16); returns 1 / sum. `t`: 32 bytes. */
export function softmaxRow(s: usize, padded: i32, scale: f32, t: usize): f32 {
  const end = s + (<usize>padded << 2);
  let m0 = v128.load(s, 0), m1 = v128.load(s, 16);
  for (let at = s; at < end; at += 32) {
    const a = v128.load(at, 0), b = v128.load(at, 16);
    m0 = larger(m0, a);
    m1 = larger(m1, b);
  }
  v128.store(t, m1, 16);
  v128.store(t, m0, 0);
  const most = f32x4.splat(maxLanes(larger(v128.load(t, 0), v128.load(t, 16)))), factor = f32x4.splat(scale);
  let s0 = f32x4.splat(0), s1 = s0;
  for (let at = s; at < end; at += 32) {
    const a = exp(f32x4.mul(f32x4.sub(v128.load(at, 0), most), factor));
    const b = exp(f32x4.mul(f32x4.sub(v128.load(at, 16), most), factor));
    v128.store(at, b, 16);
    v128.store(at, a, 0);
    s0 = f32x4.add(s0, a);
    s1 = f32x4.add(s1, b);
  }
  v128.store(t, s1, 16);
  v128.store(t, s0, 0);
  return <f32>1 / sumLanes(f32x4.add(v128.load(t, 0), v128.load(t, 16)));
}

/** Command: qkv, y, tokens, heads, headDim, stride of qkv, stride of y (floats), scratch, bytes of it a thread, wide. */
export function attention(command: usize, thread: i32, threads: i32): void {
  const qkv = load<usize>(command, 0), y = load<usize>(command, 4);
  const tokens = load<i32>(command, 8), heads = load<i32>(command, 12), headDim = load<i32>(command, 16);
  const stride = load<usize>(command, 20) << 2, yStride = load<usize>(command, 24) << 2;
  const keys = load<usize>(command, 28) + <usize>thread * load<usize>(command, 32);
  const wide = load<i32>(command, 36) != 0;
  const padded = (tokens + 15) & ~15, width = (headDim + 15) & ~15;
  const values = keys + <usize>(padded * headDim << 2);
  const scores = values + <usize>(tokens * width << 2);
  const mixed = scores + <usize>(ROWS * padded << 2);
  const t = mixed + <usize>(ROWS * width << 2);
  const sStride = <usize>padded << 2, mStride = <usize>width << 2;
  const scale = <f32>(1.0 / Math.sqrt(<f64>headDim));
  const hidden = <usize>(heads * headDim << 2), blocks = (tokens + ROWS - 1) / ROWS;
  const end = share(heads * blocks, thread + 1, threads);
  let packed = -1;
  for (let item = share(heads * blocks, thread, threads); item < end; item++) {
    const head = item / blocks, row = (item % blocks) * ROWS, rows = min(ROWS, tokens - row);
    const q = qkv + <usize>row * stride + <usize>(head * headDim << 2);
    if (head != packed) {
      packed = head;
      memory.fill(keys, 0, <usize>(padded * headDim << 2)); // keys beyond the last: zeros, not what was there
      packKeys(qkv + hidden + <usize>(head * headDim << 2), stride, keys, tokens, headDim);
      packValues(qkv + 2 * hidden + <usize>(head * headDim << 2), stride, values, tokens, headDim);
    }
    for (let panel = 0; panel < padded >> 4; panel++) {
      const k = keys + <usize>(panel * headDim << 6);
      tile(wide, q, stride, k, headDim, ZEROS, scores + <usize>(panel << 6), sStride);
    }
    for (let i = 0; i < rows; i++) {
      const s = scores + <usize>i * sStride;
      for (let token = tokens; token < padded; token++) store<f32>(s + <usize>(token << 2), -1e30);
      store<f32>(t + 32 + <usize>(i << 2), softmaxRow(s, padded, scale, t));
    }
    for (let panel = 0; panel < width >> 4; panel++) {
      const v = values + <usize>(panel * tokens << 6);
      tile(wide, scores, sStride, v, tokens, ZEROS, mixed + <usize>(panel << 6), mStride);
    }
    for (let i = 0; i < rows; i++) {
      const from = mixed + <usize>i * mStride, to = y + <usize>(row + i) * yStride + <usize>(head * headDim << 2);
      const inverse = load<f32>(t + 32 + <usize>(i << 2));
      for (let j: usize = 0; j < <usize>headDim << 2; j += 4) store<f32>(to + j, load<f32>(from + j) * inverse);
      if (head == heads - 1) memory.fill(to + <usize>(headDim << 2), 0, yStride - hidden); // padding of the columns
    }
  }
}
