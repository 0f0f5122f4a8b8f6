#!/usr/bin/env bash
# Opens bertlet in Firefox and in WebKitGTK (Safari's engine), with the two headers that threads need and without: a page of the
# library (test/page/report.html), WebGPU in Firefox on a software driver, and the page of `npm run web`, of which pictures are left
# in test-output/browsers. Prints answers, kernels and times. By hand, as root on Debian, after `npm install`; 5 minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
apt-get update -qq
apt-get install -y -qq firefox-esr webkit2gtk-driver xvfb imagemagick mesa-vulkan-drivers >/dev/null
npm run --silent build:web -- --logLevel warn
xvfb-run --auto-servernum --server-args='-screen 0 1280x1000x24' npx node scripts/browsers.ts
