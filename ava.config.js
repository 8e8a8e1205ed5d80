// `npx ava test/core/ids.test.ts` runs one file; `make build` first, since ava runs what tsc emitted.
export default {
  files: ['test/**/*.test.ts'],
  typescript: {
    rewritePaths: { 'test/': 'build/test/' },
    compile: false,
  },
  // Mounts, signals and native addons need a process of their own.
  workerThreads: false,
  concurrency: 2,
  // Ava counts the time since the last finished test of the whole run, not of one test.
  timeout: '3m',
  nodeArguments: ['--enable-source-maps'],
}
