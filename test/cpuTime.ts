/** Milliseconds of CPU time that some work takes in this process: a busy machine makes it wait, but not work longer. */
export async function cpuMilliseconds(work: () => unknown): Promise<number> {
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
