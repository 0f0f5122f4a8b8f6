/**
 * Starts the GPU device: finds an adapter, opens a device on it, and tests every kernel. WebGPU is `navigator.gpu` where
 * that exists (pages, Deno, Electron), and the npm package `webgpu` (Dawn) in Node.
 */
import { EXPECTED } from '../../../wasm/assets.js';
import { type BertletError, fault, messageOf } from '../../errors.ts';
import { inNode, variables } from '../../platform.ts';
import { firstWrong, selfTestExamples } from '../selfTest.ts';
import { WebgpuDevice } from './device.ts';

export interface WebgpuOptions {
  /** Node only: part of the adapter's name. Default: the environment variable BERTLET_ADAPTER, or else any adapter. */
  adapter?: string;
  /** Refuse software adapters: the device `cpu` is faster on a CPU. */
  hardware?: boolean;
  /** Whether linears will be int8. If not, int8 is not tested. Default true. */
  int8?: boolean;
  /** Measure each kernel, if the adapter has timestamps. Every dispatch is then a pass of its own. */
  profile?: boolean;
}

const error = (expected: string, got: string, advice: string, cause?: unknown): BertletError =>
  fault('device', 'webgpu', expected, got, advice, cause);

/**
 * Starts the device. Returns it with the names of its kernels, for `info`.
 * @throws BertletError `device` if there is no WebGPU or no adapter, or if a kernel fails its self-test
 */
export async function startWebgpu(options: WebgpuOptions = {}) {
  const { adapter: wanted = variables.BERTLET_ADAPTER, int8 = true, profile = false, hardware = false } = options;
  const gpu = await openGpu(profile, wanted);
  const adapter = await openAdapter(gpu, wanted);
  const { label, software } = describeAdapter(adapter.info);
  if (software && hardware) throw error('a GPU', `${label}, slower than \`cpu\``, 'Ask for `webgpu` to use it.');
  if (int8 && !gpu.wgslLanguageFeatures?.has('packed_4x8_integer_dot_product')) {
    throw error('WGSL with packed_4x8_integer_dot_product', 'one without', 'Use fp32, or `cpu`.');
  }
  const gpuDevice = await openDevice(adapter, label, profile);
  try {
    const device = new WebgpuDevice(gpuDevice, label);
    const examples = selfTestExamples(EXPECTED).filter(({ op }) => int8 || op.name !== 'linearInt8');
    const wrong = await firstWrong(device, examples);
    if (wrong) throw error('an adapter that computes right', `${label}, wrong on ${wrong}`, 'Use `cpu`.');
    device.clear();
    return { device, kernels: `tiles of 32 x 64${int8 ? ', int8 by dot4I8Packed' : ''}` };
  } catch (cause) {
    gpuDevice.destroy();
    throw cause;
  }
}

/** The vendor and name of an adapter, and whether the adapter computes on the CPU. Old browsers have no `info`. */
export function describeAdapter(info: Partial<GPUAdapterInfo> = {}) {
  const { vendor, architecture, description, device, isFallbackAdapter = false } = info;
  const name = [...new Set([vendor, architecture, description || device])].filter(Boolean).join(' ');
  const software = /swiftshader|llvmpipe|software|basic render/i.test(name) || isFallbackAdapter;
  return { label: `${name || 'unnamed adapter'}${software ? ' (software)' : ''}`, software };
}

/** Keeps every `GPU` that `create` returned reachable: Dawn's devices need it, but hold no reference to it. */
const kept: unknown[] = [];

/** Imports a package that may not be installed. By a parameter: a bundler that knows the name asks for the package. */
const importNamed = (name: string): Promise<unknown> => import(/* webpackIgnore: true */ /* @vite-ignore */ name);

async function openGpu(profile: boolean, wanted?: string): Promise<GPU> {
  const own = globalThis.navigator?.gpu;
  if (own && !wanted) return own; // an adapter can be chosen by its name in Dawn alone
  if (!inNode) {
    const where = globalThis.isSecureContext
      ? 'this browser has none'
      : 'this page is not served by https or localhost';
    throw error('WebGPU', `none (${where})`, 'Use `cpu`.');
  }
  const driver = hasVulkanLoader();
  const { create } = await (importNamed('webgpu') as Promise<typeof import('webgpu')>).catch((cause) => {
    const [both, too] = driver ? ['', ''] : [' and a Vulkan driver', `, and ${DRIVER}`];
    const advice = `Install it: \`npm install webgpu\`${too}. Or use \`cpu\`.`;
    throw error(`the package \`webgpu\`${both}`, `none that loads (${messageOf(cause)})`, advice, cause);
  });
  if (!driver) throw noAdapter(wanted);
  const gpu = create([
    ...(wanted ? [`adapter=${wanted}`] : []),
    `disable-dawn-features=${[...DAWN_WITHOUT, ...(profile ? ['timestamp_quantization'] : [])]}`,
  ]);
  kept.push(gpu);
  return gpu;
}

/**
 * Features of Dawn that are left out. SwiftShader takes seconds to compile a kernel whose workgroup memory Vulkan sets to
 * zero; without the extension, WebGPU's compiler writes the loop that does so, as it does on other systems.
 */
const DAWN_WITHOUT = ['use_vulkan_zero_initialize_workgroup_memory_extension'];

/**
 * Whether the dynamic linker finds Vulkan, which Dawn needs on Linux. Without Vulkan, Dawn would print a warning to
 * stderr, so Dawn is not even started. If the library is there, `dlopen` still throws, because the library is not a Node
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

const DRIVER = 'a Vulkan driver (`vulkaninfo` lists them)';
const adapterNamed = (wanted?: string): string => (wanted ? `an adapter named ${wanted}` : 'an adapter');

function noAdapter(wanted?: string): BertletError {
  const driver = inNode && process.platform === 'linux' ? DRIVER : 'a GPU driver';
  return error(adapterNamed(wanted), 'none', `WebGPU needs ${driver}. Or use \`cpu\`.`);
}

/** Seconds after which an adapter or a device that has not answered never will. */
const PATIENCE = 8;

/** Waits for a request. @throws BertletError `device` if it fails, or takes longer than PATIENCE */
async function answered<T>(request: Promise<T>, expected: string, from = ''): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`no answer in ${PATIENCE} s`)), PATIENCE * 1000);
  try {
    return await Promise.race([request, late]);
  } catch (cause) {
    throw error(expected, `none${from} (${messageOf(cause)})`, 'Use `cpu`.', cause);
  } finally {
    clearTimeout(timer);
  }
}

/** The fastest adapter. A browser may have none at first: then it is asked once more, for any. */
async function openAdapter(gpu: GPU, wanted?: string): Promise<GPUAdapter> {
  const ask = (options?: GPURequestAdapterOptions) => answered(gpu.requestAdapter(options), adapterNamed(wanted));
  const adapter = (await ask({ powerPreference: 'high-performance' })) ?? (await ask());
  if (!adapter) throw noAdapter(wanted);
  return adapter;
}

/** A device with the adapter's limits for buffers, for the tables of large vocabularies; or with WebGPU's, if it refuses. */
async function openDevice(adapter: GPUAdapter, label: string, profile: boolean): Promise<GPUDevice> {
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const requiredFeatures: GPUFeatureName[] =
    profile && adapter.features.has('timestamp-query') ? ['timestamp-query'] : [];
  const open = (requiredLimits: NonNullable<GPUDeviceDescriptor['requiredLimits']>) => {
    const request = adapter.requestDevice({ label: 'bertlet', requiredFeatures, requiredLimits });
    return answered(request, 'a device', ` from ${label}`);
  };
  return open({ maxBufferSize, maxStorageBufferBindingSize }).catch(() => open({}));
}
