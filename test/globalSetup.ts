/** Gives the processes that run the tests a GPU driver: SwiftShader, or the machine's own where BERTLET_ADAPTER is set. */
import { driverEnvironment } from '../scripts/driver.ts';

export default function setup(): void {
  if (!process.env.BERTLET_ADAPTER) Object.assign(process.env, driverEnvironment());
}
