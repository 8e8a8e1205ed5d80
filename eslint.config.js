import js from '@eslint/js'
import { defineConfig } from 'eslint/config'
import tseslint from 'typescript-eslint'

/** Where the real clock, randomness, timers, disk and network may be used: the simulator replaces the rest. */
const realWorld = [
  'src/env/**',
  'src/**/*-worker.ts',
  'src/cli/**',
  'src/service/**',
  'src/fuse/device/**',
  'src/fuse/mounter/**',
  'src/wire/grpc/**',
  'src/wire/tls/identity-folder.ts',
  'src/wire/tls/tls.ts',
  'src/master/identity/registry-file.ts',
  'src/chunkserver/disk/**',
  'src/client/disk/**',
  'src/console/**',
  'src/web/**',
  'src/sim/main.ts',
  'test/**',
  'bench/**',
]

const useEnv = 'Take it from Env (src/core/env.ts): the simulator must be able to replace it.'

const impureModules = [
  'child_process',
  'cluster',
  'dgram',
  'dns',
  'fs',
  'fs/promises',
  'http',
  'http2',
  'https',
  'net',
  'perf_hooks',
  'timers',
  'timers/promises',
  'tls',
  'worker_threads',
]

const impureProperties = [
  ['Date', 'now'],
  ['Math', 'random'],
  ['performance', 'now'],
  ['process', 'hrtime'],
  ['process', 'uptime'],
  ['AbortSignal', 'timeout'],
  ['crypto', 'randomUUID'],
  ['crypto', 'getRandomValues'],
]

const randomFromCrypto = [
  'getRandomValues',
  'randomBytes',
  'randomFill',
  'randomFillSync',
  'randomInt',
  'randomUUID',
  'webcrypto',
]

/** In the types of esnext.disposable, but not in Node 20 and 22. */
const notInNode20 = ['DisposableStack', 'AsyncDisposableStack', 'SuppressedError'].map(name => ({
  name,
  message: 'Node has it only since version 24.',
}))

export default defineConfig(
  { ignores: ['dist/', 'build/', 'src/wire/gen/', '.cairn/', 'mnt/'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  js.configs.recommended,
  {
    files: ['**/*.ts', '**/*.tsx'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      'no-restricted-globals': ['error', ...notInNode20],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true, requireDefaultForNonUnion: false },
      ],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // `() => effect()` is a statement in short form.
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // An implementation in memory of an async interface must reject, not throw: async without await is right.
      '@typescript-eslint/require-await': 'off',
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: realWorld,
    rules: {
      'no-restricted-globals': [
        'error',
        ...notInNode20,
        ...['setTimeout', 'setInterval', 'setImmediate', 'fetch'].map(name => ({ name, message: useEnv })),
      ],
      'no-restricted-properties': [
        'error',
        ...impureProperties.map(([object, property]) => ({ object, property, message: useEnv })),
      ],
      'no-restricted-syntax': [
        'error',
        { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: useEnv },
        { selector: "CallExpression[callee.name='Date']", message: useEnv },
      ],
      '@typescript-eslint/no-restricted-imports': [
        'error',
        {
          paths: [
            ...impureModules
              .flatMap(name => [name, `node:${name}`])
              .map(name => ({ name, message: useEnv, allowTypeImports: true })),
            ...['crypto', 'node:crypto'].map(name => ({
              name,
              importNames: [...randomFromCrypto, 'default'],
              message: useEnv,
            })),
          ],
        },
      ],
    },
  },
  {
    files: ['**/*.js'],
    languageOptions: { globals: { console: false, process: false, URL: false } },
  },
)
