/**
 * The op table. Tests and benches loop over it, so that a new op or a new device needs no line of its own there.
 */
import { attention } from './attention.ts';
import { activation, add, mul } from './elementwise.ts';
import { embedding } from './embedding.ts';
import { layerNorm } from './layerNorm.ts';
import { linear } from './linear.ts';
import { linearInt8 } from './linearInt8.ts';
import { matmul, transpose } from './matmul.ts';
import { mean } from './mean.ts';
import type { Op } from './op.ts';
import { rows } from './rows.ts';
import { softmax } from './softmax.ts';

export const OPS = {
  ...{ embedding, linear, linearInt8, attention, layerNorm },
  ...{ rows, add, mul, activation, softmax, mean, matmul, transpose },
} as const;

/** The ops of OPS as a list, for loops that need not know the types of the inputs. */
export const ALL_OPS = Object.values(OPS) as unknown as Op<unknown>[];
