/**
 * A backend that looks on: it wraps any other, runs a forward op by op, and shows what goes into and comes out of every
 * linear. `bert.ts` does not know of it, and the numbers are those of the backend inside.
 */
import type { Runtime, LinearWeight, Norm, Tables, HostTensor } from '../src/runtime.ts';
import type { Weights } from '../src/bert.ts';

type Float32Tensor = HostTensor<Float32Array>;

/** What was uploaded, or what an op makes: its numbers are known once `read` has run the op. */
interface Value<T> {
  readonly shape: readonly number[];
  data: Float32Array | null;
  /** The inner backend's; for what an op makes, from when another op first needs it. */
  handle: T | null;
}

/** A linear layer of the model. */
export interface TracedLinear<L = unknown> {
  /** Names in the checkpoint, without `.weight`: three where query, key and value are stacked as one linear. */
  readonly names: readonly string[];
  /** int8: [out], the scale of each output feature's weights; otherwise null. */
  readonly weightScale: Float32Array | null;
  readonly shape: readonly number[];
  readonly handle: L;
}

/** One use of a linear in a forward. */
export interface LinearCall {
  readonly linear: Omit<TracedLinear, 'handle'>;
  /** [tokens, in] */
  readonly x: Float32Tensor;
  /** [tokens, out], after GELU where the model asks this linear for it */
  readonly y: Float32Tensor;
  /** What the same linear makes of another input [tokens, in]: [tokens, out]. */
  readonly run: (x: Float32Tensor) => Promise<Float32Array>;
}

/**
 * Only `read` may wait, so ops are recorded, and `read` runs each alone through the inner backend: uploads its inputs,
 * reads its output. All activations of a forward are in memory at its end, and the `cpu` backend, whose uploads stay
 * until it is disposed of, holds those of every forward: a backend for one question, not for a server.
 */
export class TraceBackend<T, L> implements Backend<Value<T>, TracedLinear<L>> {
  readonly #inner: Backend<T, L>;
  readonly #onLinear: (call: LinearCall) => void | Promise<void>;
  #steps: { y: Value<T>; run: () => T; seen?: () => void | Promise<void> }[] = [];
  #asked = new Set<string>();

  /** @param onLinear told of every linear of a forward, in order; the forward waits for it */
  constructor(inner: Backend<T, L>, onLinear: (call: LinearCall) => void | Promise<void>) {
    this.#inner = inner;
    this.#onLinear = onLinear;
  }

  /** The weights to make the model with: a linear gets the names that were asked for since the upload before it. */
  named(weights: Weights): Weights {
    return (name) => {
      this.#asked.add(name);
      return weights(name);
    };
  }

  upload(tensor: Float32Tensor): Value<T> {
    this.#asked.clear();
    return { shape: tensor.shape, data: null, handle: this.#inner.upload(tensor) };
  }

  uploadLinear(weight: LinearWeight, bias: Float32Tensor): TracedLinear<L> {
    const names = [...this.#asked].filter((name) => name.endsWith('.weight')).map((name) => name.replace(/\.\w+$/, ''));
    this.#asked.clear();
    const weightScale = 'scale' in weight ? weight.scale.slice() : null; // a weight is good until the next is asked for
    return { names, weightScale, shape: weight.shape, handle: this.#inner.uploadLinear(weight, bias) };
  }

  #handle(value: Value<T>): T {
    value.handle ??= this.#inner.upload(tensorOf(value));
    return value.handle;
  }

  #record(shape: readonly number[], run: () => T, seen?: (y: Value<T>) => void | Promise<void>): Value<T> {
    const y: Value<T> = { shape, data: null, handle: null };
    this.#steps.push({ y, run, ...(seen && { seen: () => seen(y) }) });
    return y;
  }

  embedding(ids: Int32Array, typeIds: Int32Array, { word, position, type }: Tables<Value<T>>): Value<T> {
    return this.#record([ids.length, word.shape[1]!], () => {
      const tables = { word: this.#handle(word), position: this.#handle(position), type: this.#handle(type) };
      return this.#inner.embedding(ids, typeIds, tables);
    });
  }

  layerNorm(x: Value<T>, residual: Value<T> | null, { gamma, beta }: Norm<Value<T>>, eps: number): Value<T> {
    return this.#record(x.shape, () => {
      const norm = { gamma: this.#handle(gamma), beta: this.#handle(beta) };
      return this.#inner.layerNorm(this.#handle(x), residual && this.#handle(residual), norm, eps);
    });
  }

  linear(x: Value<T>, linear: TracedLinear<L>, activation?: 'gelu'): Value<T> {
    const { handle, ...about } = linear;
    const apply = (input: T) => this.#inner.linear(input, handle, activation);
    const seen = (y: Value<T>) =>
      this.#onLinear({
        linear: about,
        x: tensorOf(x),
        y: tensorOf(y),
        run: (other) => this.#inner.read(apply(this.#inner.upload(other))),
      });
    return this.#record([x.shape[0]!, linear.shape[0]!], () => apply(this.#handle(x)), seen);
  }

  attention(qkv: Value<T>, heads: number): Value<T> {
    return this.#record([qkv.shape[0]!, qkv.shape[1]! / 3], () => this.#inner.attention(this.#handle(qkv), heads));
  }

  async read(x: Value<T>): Promise<Float32Array> {
    const steps = this.#steps;
    this.#steps = [];
    for (const { y, run, seen } of steps) {
      y.data = await this.#inner.read(run());
      await seen?.();
    }
    return x.data!;
  }

  dispose(): Promise<void> {
    return this.#inner.dispose();
  }
}

const tensorOf = <T>({ shape, data }: Value<T>): Float32Tensor => ({ dtype: 'F32', shape, data: data! });
