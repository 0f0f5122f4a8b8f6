/** The op table: tests and benches loop over it, so a new op or device needs no further line there. */
import { attention } from './attention.ts';
import { embedding } from './embedding.ts';
import { layerNorm } from './layerNorm.ts';
import { linear } from './linear.ts';
import { linearInt8 } from './linearInt8.ts';
import type { Op } from './op.ts';

export const OPS = { embedding, linear, linearInt8, attention, layerNorm } as const;

/** The same, for loops that need not know the inputs' types. */
export const ALL_OPS = Object.values(OPS) as unknown as Op<unknown>[];
