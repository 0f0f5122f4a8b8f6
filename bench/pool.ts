/**
 * Several models of the same weights that answer at the same time. On the CPU a model computes in threads of its own, so
 * the models share this process; each has one thread, which never waits for another between two kernels.
 */
import { availableParallelism } from 'node:os';
import { type Info, type LoadOptions, load, type QuestionAnswering } from '../src/index.ts';

export interface PoolOptions extends LoadOptions {
  /** Number of models. Default: `workersFor(threads)`; 1 on a device that is not `cpu`. */
  workers?: number | undefined;
}

/** Number of models that have a core for each of their threads. */
export const workersFor = (threads: number): number => Math.max(1, Math.floor(availableParallelism() / threads));

export class Pool {
  readonly models: readonly QuestionAnswering[];
  readonly #free: QuestionAnswering[];
  /** Callers that wait for a model, the first first. */
  readonly #waiting: ((model: QuestionAnswering) => void)[] = [];

  private constructor(models: QuestionAnswering[]) {
    this.models = models;
    this.#free = [...models];
  }

  /**
   * Loads the models. `threads`, of each, is 1 unless it is given.
   * @throws what `load` throws
   */
  static async load(path: string, { workers, threads = 1, ...options }: PoolOptions): Promise<Pool> {
    const models: QuestionAnswering[] = [];
    let count = 1;
    try {
      while (models.length < count) {
        models.push(await load(path, { ...options, threads }));
        const { device } = models[0]!.info; // `auto` is known by now
        count = workers ?? (device === 'cpu' ? workersFor(threads) : 1);
      }
      return new Pool(models);
    } catch (error) {
      for (const model of models) await model.dispose();
      throw error;
    }
  }

  /** Facts of the first model; the others are the same. */
  get info(): Info {
    return this.models[0]!.info;
  }

  /** Lends a model to one caller at a time: the next that is free. */
  async use<T>(run: (model: QuestionAnswering) => Promise<T>): Promise<T> {
    const model = this.#free.pop() ?? (await new Promise<QuestionAnswering>((lend) => this.#waiting.push(lend)));
    try {
      return await run(model);
    } finally {
      const next = this.#waiting.shift();
      if (next) next(model);
      else this.#free.push(model);
    }
  }

  async dispose(): Promise<void> {
    for (const model of this.models) await model.dispose();
  }
}
