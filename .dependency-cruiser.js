// Which folder of src may import which. Imports point one way; only cli and sim compose everything.
import { readdirSync } from 'node:fs'

const everythingBut = (...left) => Object.keys(mayImport).filter(folder => !left.includes(folder))

const mayImport = {
  core: [],
  env: ['core'],
  wire: ['core'],
  service: ['core'],
  web: ['core', 'wire', 'service'],
  fuse: ['core'],
  master: ['core', 'wire', 'service'],
  chunkserver: ['core', 'wire', 'service'],
  client: ['core', 'wire', 'service'],
  mount: ['core', 'fuse', 'client', 'service'],
  console: ['core', 'wire', 'service', 'web'],
  get cli() {
    return everythingBut('sim')
  },
  get sim() {
    return everythingBut('cli')
  },
}

for (const entry of readdirSync(new URL('src', import.meta.url))) {
  if (!(entry in mayImport)) throw new Error(`src/${entry} is not in the table of .dependency-cruiser.js`)
}

/** Modules that are a thread's own composition root: they serve a lane over their folder's code. */
const workers = '^src/([^/]+)/.+-worker\\.ts$'

const boundary = ([from, to]) => ({
  name: `${from}-boundary`,
  comment: `src/${from} imports ${to.length === 0 ? 'no other folder' : `only ${to.join(', ')}`}`,
  severity: 'error',
  from: { path: `^src/${from}/`, pathNot: workers },
  to: { path: '^(src|test|bench|tools)/', pathNot: [from, ...to].map(folder => `^src/${folder}/`) },
})

export default {
  forbidden: [
    ...Object.entries(mayImport).map(boundary),
    {
      name: 'worker-boundary',
      comment: 'A thread imports its own folder, core and env',
      severity: 'error',
      from: { path: workers },
      to: { path: '^(src|test|bench|tools)/', pathNot: ['^src/$1/', '^src/(core|env)/'] },
    },
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'sqlite-behind-stores',
      comment: 'Each table and each block belongs to one class; the rest of the code knows no SQL',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(master/store|chunkserver/blocks|env|sim/world)/' },
      to: { path: 'node_modules/(@types/)?better-sqlite3/', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'grpc-behind-wire',
      comment: 'gRPC types and status codes are mapped once, in wire',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/wire/' },
      to: { path: 'node_modules/(@grpc|grpc-health-check)/' },
    },
    {
      name: 'no-development-packages',
      severity: 'error',
      // The page of the console runs in browsers: the build puts what it imports beside it.
      from: { path: '^src/', pathNot: '^src/console/page/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'resolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'types', 'node', 'default'],
    },
  },
}
