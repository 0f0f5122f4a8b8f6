/**
 * Effects of outlier weights on int8: of each layer's output.dense, where they sit, how far its largest weight is out, and what
 * either scheme makes of the others. `npx node scripts/outliers.ts FOLDER > bench/results/outliers-first-edition.json` wrote the
 * file of the checkpoint's first edition, which is in git's history only; docs.ts shows it beside today's.
 */
import { inColumns } from '../bench/columns.ts';
import { median } from '../bench/measure.ts';
import { compare, SCHEMES } from '../programs/explain/explain.ts';
import { openCheckpoint } from '../src/checkpoint/index.ts';
import { toFloat32 } from '../src/checkpoint/safetensors.ts';
import { quantizeWeight } from '../src/quantize.ts';
import type { HostTensor, Scheme } from '../src/runtime.ts';

export interface Outliers {
  name: string;
  /** The largest weight in standard deviations. */
  largest: number;
  /** For each scheme: a standard deviation in steps of the (median) scale, the share of weights that became 0, and SQNR in dB. */
  schemes: Record<Scheme, { steps: number; zeros: number; sqnr: number }>;
}

function outliers(name: string, weight: HostTensor<Float32Array>): Outliers {
  const { data, shape } = weight;
  const deviation = Math.sqrt(data.reduce((sum, value) => sum + value ** 2, 0) / data.length); // their mean is nearly 0
  const schemes = SCHEMES.map((scheme) => {
    const { data: integers, scale } = quantizeWeight(weight, scheme);
    const back = Float32Array.from(integers, (value, i) => value * scale[Math.floor(i / shape[1]!)]!);
    const steps = deviation / median(scale);
    const zeros = integers.filter((value) => value === 0).length / integers.length;
    return [scheme, { steps, zeros, sqnr: compare(data, back).sqnr! }];
  });
  const largest = data.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / deviation;
  return { name, largest, schemes: Object.fromEntries(schemes) };
}

export async function outliersOf(folder: string): Promise<Outliers[]> {
  const { config, tensor, close } = await openCheckpoint(folder);
  const found = Array.from({ length: config.layers }, (_, layer) => {
    const weight = tensor(`bert.encoder.layer.${layer}.output.dense.weight`);
    return outliers(`layer ${layer} output`, { dtype: 'F32', shape: weight.shape, data: toFloat32(weight) });
  });
  close();
  return found;
}

export const outliersText = (found: readonly Outliers[]): string => {
  const rows = found.map(({ name, largest, schemes }) => [
    name,
    largest.toFixed(1),
    ...SCHEMES.flatMap((scheme) => {
      const { steps, zeros, sqnr } = schemes[scheme];
      return [steps.toFixed(1), `${(100 * zeros).toFixed(1)} %`, sqnr.toFixed(1)];
    }),
  ]);
  const titles = ['', 'largest, sd', ...SCHEMES.flatMap((scheme) => [`${scheme}: steps`, 'zeros', 'dB'])];
  return inColumns([titles, ...rows]);
};

if (import.meta.main) console.log(JSON.stringify(await outliersOf(process.argv[2]!), null, 1));
