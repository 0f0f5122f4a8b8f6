/**
 * A device that looks on: it runs a program of another device step by step, and shows what goes into and comes out of
 * every linear. `bert.ts` does not know of it, and the numbers are those of the device inside.
 */
import { type Device, type HostTensor, type LinearWeight, Runtime, type Step, type Tensor } from '../../src/tensor.ts';

/** One use of a linear in a program. */
export interface LinearCall {
  /** Names in the checkpoint, without `.weight`: three where query, key and value are stacked as one linear. */
  readonly names: readonly string[];
  /** [out, in] */
  readonly shape: readonly [out: number, features: number];
  /** int8: [out], the scale of each output feature's weights; otherwise null. */
  readonly weightScale: Float32Array | null;
  /** [tokens, in] */
  readonly x: HostTensor<Float32Array>;
  /** [tokens, out], after GELU where the model asks this linear for it */
  readonly y: HostTensor<Float32Array>;
  /** Applies the same linear to another input [tokens, in]: [tokens, out]. */
  readonly run: (x: HostTensor<Float32Array>) => Promise<Float32Array>;
}

/** A linear, and what was uploaded of it. */
interface Uploaded {
  readonly buffer: unknown;
  readonly weightScale: Float32Array | null;
}

/**
 * Each step is a program of its own on the device inside: its inputs are uploaded, its output is read. All activations of
 * a forward are in memory at its end: a device for one question, not for a server.
 */
export class TraceDevice implements Device {
  readonly #inner: Device;
  readonly #runtime: Runtime;
  readonly #onLinear: (call: LinearCall) => void | Promise<void>;

  /** @param onLinear told of every linear of a program, in order; the program waits for it */
  constructor(inner: Device, onLinear: (call: LinearCall) => void | Promise<void>) {
    this.#inner = inner;
    this.#runtime = new Runtime(inner);
    this.#onLinear = onLinear;
  }

  upload(rows: number, columns: number, data: Float32Array): Tensor {
    return this.#runtime.tensor({ shape: [rows, columns], data });
  }

  free(buffer: unknown): void {
    (buffer as Tensor).dispose();
  }

  uploadLinear(weight: LinearWeight, bias: Float32Array, name: string): Uploaded {
    const weightScale = 'scale' in weight ? weight.scale : null;
    return { buffer: this.#inner.uploadLinear(weight, bias, name), weightScale };
  }

  async run(steps: readonly Step[], results: readonly Tensor[]): Promise<Float32Array[]> {
    const made = new Map<Tensor, Float32Array>();
    const uploads = new Map<Tensor, Tensor>();
    /** A tensor of the device inside with the numbers of one of ours. */
    const inside = (x: Tensor): Tensor => {
      if (x.buffer) return x.buffer as Tensor;
      if (!uploads.has(x)) uploads.set(x, this.upload(...x.shape, made.get(x)!));
      return uploads.get(x)!;
    };
    for (const step of steps) {
      made.set(step.y, await this.#again(step, step.reads.map(inside)));
      if (step.op !== 'linear') continue;
      const [x] = step.reads as readonly [Tensor];
      const { name, out, features, buffer } = step.linear;
      await this.#onLinear({
        names: name.split(' | '),
        shape: [out, features],
        weightScale: (buffer as Uploaded).weightScale,
        x: { dtype: 'F32', shape: x.shape, data: made.get(x) ?? (await this.#runtime.read(inside(x))) },
        y: { dtype: 'F32', shape: step.y.shape, data: made.get(step.y)! },
        run: (other) => this.#again(step, [this.#runtime.tensor(other)]),
      });
    }
    const values = await Promise.all(results.map((x) => made.get(x) ?? this.#runtime.read(inside(x))));
    for (const x of uploads.values()) x.dispose();
    return values;
  }

  /** The step on the device inside, with other inputs. */
  async #again(step: Step, reads: readonly Tensor[]): Promise<Float32Array> {
    const again = { ...step, reads };
    if (again.op === 'linear') {
      again.linear = { ...again.linear, runtime: this.#runtime, buffer: (again.linear.buffer as Uploaded).buffer };
    }
    const [y] = await this.#inner.run([again], [step.y]);
    return y!;
  }

  dispose(): Promise<void> {
    return this.#runtime.dispose();
  }
}
