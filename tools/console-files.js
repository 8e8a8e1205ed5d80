// Puts beside the compiled page of the console what it is made of and tsc does not write: its own files, and the
// packages that it runs with, each with its license. A browser needs nothing else.
import { copyFileSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'

const page = 'dist/console/page'
const files = {
  'src/console/page/index.html': 'index.html',
  'src/console/page/login.html': 'login.html',
  'src/console/page/console.css': 'console.css',
  'src/console/page/icon.svg': 'icon.svg',
  'node_modules/preact/dist/preact.module.js': 'vendor/preact.js',
  'node_modules/preact/hooks/dist/hooks.module.js': 'vendor/preact-hooks.js',
  'node_modules/preact/jsx-runtime/dist/jsxRuntime.module.js': 'vendor/preact-jsx-runtime.js',
  'node_modules/preact/LICENSE': 'vendor/preact.LICENSE',
  'node_modules/uplot/dist/uPlot.esm.js': 'vendor/uplot.js',
  'node_modules/uplot/dist/uPlot.min.css': 'vendor/uplot.css',
  'node_modules/uplot/LICENSE': 'vendor/uplot.LICENSE',
}

for (const [from, to] of Object.entries(files)) {
  const target = join(page, to)
  mkdirSync(dirname(target), { recursive: true })
  copyFileSync(from, target)
}
