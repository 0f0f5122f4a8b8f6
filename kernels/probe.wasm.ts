/**
 * Probes of instructions whose result the standard of relaxed SIMD leaves to the engine and the CPU: not commands, but
 * called by the host.
 */
import { dot } from './linearInt8.wasm';
import { madd } from './math.wasm';

/** Weights of 1, and activations of 128. In memory, so that no compiler computes the results. */
const BYTES: usize = memory.data<u8>([1, 1, 1, 1, 128, 128, 128, 128]);
/** 1 + 2^-12, and minus its square in float32. The exact square is 2^-24 larger. */
const FLOATS: usize = memory.data<f32>([1.000244140625, -1.00048828125]);

/**
 * The relaxed dot product of four weights of 1 and activations of 128: 512 where activations are unsigned (x86), -512 where
 * they are signed (ARM), and 0 without relaxed SIMD.
 */
export function dotOf128(): i32 {
  const w = v128.load_splat<i32>(BYTES, 0), x = v128.load_splat<i32>(BYTES, 4);
  return i32x4.extract_lane(dot(x, w, i32x4.splat(0)), 0);
}

/** Whether madd rounds once. */
export function isFused(): bool {
  const x = v128.load_splat<f32>(FLOATS, 0);
  return f32x4.extract_lane(madd(x, x, v128.load_splat<f32>(FLOATS, 4)), 0) != 0;
}
