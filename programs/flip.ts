/** `bertlet explain --flip`: two runs of the int8 model, to the first integer that differs and on to the logits. */
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { inputError } from '../src/errors.ts';
import { type Checkpoint, openRuntime, readSafetensors } from '../src/tensor.ts';
import { compareTraces, flipText, readTrace, type Trace, traceOf } from './explain/flip.ts';
import { type Io, printer } from './io.ts';

const DEVICES = ['cpu', 'reference', 'webgpu'] as const;
type DeviceName = (typeof DEVICES)[number];
const isDevice = (name: string): name is DeviceName => (DEVICES as readonly string[]).includes(name);

interface Wish {
  checkpoint: Checkpoint;
  input: { question: string; context: string };
  device: DeviceName;
  /** A device, or a file that test/golden/make_trace.py wrote of PyTorch. */
  other: string;
  json?: boolean | undefined;
}

async function traceBy({ checkpoint, input }: Wish, by: string): Promise<Trace> {
  if (isDevice(by)) return traceOf(checkpoint, input, (await openRuntime(by)).device);
  const bytes = await readFile(by);
  return readTrace(readSafetensors(by.endsWith('.gz') ? gunzipSync(bytes) : bytes, by));
}

export async function runFlip(wish: Wish, io: Io): Promise<void> {
  const { checkpoint, input, device, other, json } = wish;
  if (device === other) throw inputError('--flip', `another device than ${device}, or a file`, other);
  const flip = compareTraces(checkpoint, input, await traceBy(wish, other), await traceBy(wish, device));
  const names = [isDevice(other) ? other : 'PyTorch', device] as const;
  printer(io.stdout)(json ? JSON.stringify({ names, ...flip }, null, 2) : flipText(flip, names));
}
