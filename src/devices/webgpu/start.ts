/**
 * Starts the GPU device: finds an adapter, opens a device on the adapter, picks the faster of the two int8 products,
 * and tests every kernel. WebGPU is the npm package `webgpu` (Dawn) in Node, and `navigator.gpu` in a page.
 */

import { EXPECTED } from '../../../wasm/assets.js';
import { BertletError, messageOf } from '../../errors.ts';
import { inNode, variables } from '../../platform.ts';
import { Runtime } from '../../runtime.ts';
import { fastest, timedLinear } from '../race.ts';
import { firstWrong, selfTestExamples } from '../selfTest.ts';
import { WebgpuDevice } from './device.ts';
import type { GpuChoice } from './plan.ts';

export interface WebgpuOptions {
  /** Node only: part of the adapter's name. Default: the environment variable BERTLET_ADAPTER, or else any adapter. */
  adapter?: string;
  /** Refuse software adapters: the device `cpu` is faster on a CPU. */
  hardware?: boolean;
  /** Whether linears will be int8. If not, the int8 products are neither timed nor tested. Default true. */
  int8?: boolean;
  /** For tests and benchmarks: the kernels to use, instead of those that suit the adapter. */
  choice?: Partial<GpuChoice>;
  /** Measure each kernel, if the adapter has timestamps. Every dispatch is then a pass of its own. */
  profile?: boolean;
}

const error = (expected: string, got: string, advice: string, cause?: unknown) =>
  new BertletError('device', `webgpu: expected ${expected}, got ${got}. ${advice}`, { cause });

export interface StartedWebgpu {
  device: WebgpuDevice;
  gpuDevice: GPUDevice;
  /** Whether the adapter computes on the CPU: correct, but slower than the device `cpu`. */
  software: boolean;
  /** The kernels in use, for `info`. */
  kernels: string;
}

/** Results of timing and self-test, kept for the whole process: a second model on the same adapter needs neither. */
const fasterProducts = new Map<string, GpuChoice['int8']>();
const computesRight = new Set<string>();

/** @throws BertletError `device` if there is no WebGPU or no adapter, or if a kernel fails its self-test */
export async function startWebgpu(options: WebgpuOptions = {}): Promise<StartedWebgpu> {
  const wanted = options.adapter ?? variables.BERTLET_ADAPTER;
  const int8 = options.int8 ?? true;
  const gpu = await openGpu(options, wanted);
  const adapter = await openAdapter(gpu, wanted);
  const { label, software } = describeAdapter(adapter.info);
  if (software && options.hardware)
    throw error('a GPU', `${label}, slower than \`cpu\``, 'Ask for `webgpu` to use it.');
  const gpuDevice = await openDevice(adapter, label, options.profile ?? false);
  const choice: GpuChoice = {
    product: software ? 'direct' : 'tiled',
    int8: gpu.wgslLanguageFeatures.has('packed_4x8_integer_dot_product') ? 'packed' : 'float',
    ...options.choice,
  };
  const profile = gpuDevice.features.has('timestamp-query');
  const make = (chosen: GpuChoice) => new WebgpuDevice(gpuDevice, label, chosen, profile);
  try {
    const open = int8 && choice.int8 === 'packed' && !options.choice?.int8;
    if (open) {
      const name = `${label} ${choice.product}`;
      if (!fasterProducts.has(name)) fasterProducts.set(name, await fasterProduct(make, choice, software));
      choice.int8 = fasterProducts.get(name)!;
    }
    const device = make(choice);
    const tested = JSON.stringify([label, choice, int8]);
    if (!computesRight.has(tested)) {
      const examples = selfTestExamples(EXPECTED).filter(({ op }) => int8 || op.name !== 'linearInt8');
      const wrong = await firstWrong(device, examples);
      if (wrong) throw error('an adapter that computes right', `${label}, wrong on ${wrong}`, 'Use `cpu`.');
      computesRight.add(tested);
    }
    device.clear();
    return { device, gpuDevice, software, kernels: `${choice.product} products${int8 ? `, int8 ${choice.int8}` : ''}` };
  } catch (cause) {
    gpuDevice.destroy();
    throw cause;
  }
}

/** The vendor and name of an adapter, and whether the adapter computes on the CPU. */
export function describeAdapter({ vendor, architecture, description, device, isFallbackAdapter }: GPUAdapterInfo) {
  const name = [...new Set([vendor, architecture, description || device])].filter(Boolean).join(' ');
  const software = /swiftshader|llvmpipe|software|basic render/i.test(name) || isFallbackAdapter;
  return { label: `${name || 'unnamed adapter'}${software ? ' (software)' : ''}`, software };
}

/** Keeps every `GPU` that `create` returned reachable: Dawn's devices need it, but hold no reference to it. */
const kept: unknown[] = [];

/** Imports a package that may not be installed. By a parameter: a bundler that knows the name asks for the package. */
const importNamed = (name: string): Promise<unknown> => import(/* webpackIgnore: true */ /* @vite-ignore */ name);

async function openGpu({ profile }: WebgpuOptions, wanted?: string): Promise<GPU> {
  if (!inNode) {
    if (navigator.gpu) return navigator.gpu;
    const where = globalThis.isSecureContext
      ? 'this browser has none'
      : 'this page is not served by https or localhost';
    throw error('WebGPU', `none (${where})`, 'Use `cpu`.');
  }
  if (!hasVulkanLoader()) throw noAdapter(wanted);
  try {
    const { create } = (await importNamed('webgpu')) as typeof import('webgpu');
    const flags = [
      ...(wanted ? [`adapter=${wanted}`] : []),
      ...(profile ? ['disable-dawn-features=timestamp_quantization'] : []),
    ];
    const gpu = create(flags);
    kept.push(gpu);
    return gpu;
  } catch (cause) {
    const advice = 'Install it: `npm install webgpu`. Or use `cpu`.';
    throw error('the package `webgpu`', `none that loads (${messageOf(cause)})`, advice, cause);
  }
}

/**
 * Whether the dynamic linker finds Vulkan, which Dawn needs on Linux. Without Vulkan, Dawn would print a warning to
 * stderr, so Dawn is not even loaded. If the library is there, `dlopen` still throws, because the library is not a Node
 * addon: only the message tells the two cases apart.
 */
function hasVulkanLoader(): boolean {
  if (process.platform !== 'linux' || typeof process.dlopen !== 'function') return true;
  try {
    process.dlopen({ exports: {} }, 'libvulkan.so.1');
  } catch (cause) {
    return !/cannot open|No such file/.test((cause as Error).message);
  }
  return true;
}

const adapterNamed = (wanted?: string): string => (wanted ? `an adapter named ${wanted}` : 'an adapter');

function noAdapter(wanted?: string): BertletError {
  const driver = inNode && process.platform === 'linux' ? 'a Vulkan driver (`vulkaninfo` lists them)' : 'a GPU driver';
  return error(adapterNamed(wanted), 'none', `WebGPU needs ${driver}. Or use \`cpu\`.`);
}

async function openAdapter(gpu: GPU, wanted?: string): Promise<GPUAdapter> {
  try {
    const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
    if (adapter) return adapter;
  } catch (cause) {
    throw error(adapterNamed(wanted), `none (${messageOf(cause)})`, 'Use `cpu`.', cause);
  }
  throw noAdapter(wanted);
}

async function openDevice(adapter: GPUAdapter, label: string, profile: boolean): Promise<GPUDevice> {
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const requiredFeatures: GPUFeatureName[] =
    profile && adapter.features.has('timestamp-query') ? ['timestamp-query'] : [];
  const requiredLimits = { maxBufferSize, maxStorageBufferBindingSize }; // for the tables of large vocabularies
  try {
    return await adapter.requestDevice({ label: 'bertlet', requiredFeatures, requiredLimits });
  } catch (cause) {
    throw error('a device', `none from ${label} (${messageOf(cause)})`, 'Use `cpu`.', cause);
  }
}

/** Times both int8 products on a chain of linears that is long enough to dominate the measurement. */
async function fasterProduct(
  make: (choice: GpuChoice) => WebgpuDevice,
  choice: GpuChoice,
  software: boolean,
): Promise<GpuChoice['int8']> {
  const [tokens, chain] = software ? [32, 1] : [256, 24];
  const { x, quantized, bias } = timedLinear(tokens, 768, 768);
  const devices = (['float', 'packed'] as const).map((int8) => ({ int8, device: make({ ...choice, int8 }) }));
  const candidates = devices.map(({ int8, device }) => {
    const runtime = new Runtime(device);
    const layer = runtime.linearLayer(quantized, bias);
    let y = runtime.tensor(x);
    for (let i = 0; i < chain; i++) y = runtime.linear(y, layer);
    return { choice: int8, y };
  });
  const { choice: winner } = await fastest(candidates, 0);
  for (const { device } of devices) device.clear();
  return winner;
}
