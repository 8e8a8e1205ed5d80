/** `make test-npm`: the last step of `make test-deploy` alone, which needs no containers. */
import { NpmInstall } from './npm-install.js'

const install = new NpmInstall()
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const)
  process.on(signal, () => {
    void install.dispose().finally(() => process.exit(code))
  })

try {
  await install.try(text => {
    console.log(text)
  })
  console.log('it works, and is uninstalled')
} finally {
  await install.dispose()
}
