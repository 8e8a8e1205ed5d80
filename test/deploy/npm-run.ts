/** `make test-npm`: the last step of `make test-deploy` alone, which needs no containers. */
import { NpmInstall } from './npm-install.js'
import { onInterrupt } from './on-interrupt.js'

const install = new NpmInstall()
onInterrupt(() => install.dispose())

try {
  await install.try(text => {
    console.log(text)
  })
  console.log('it works, and is uninstalled')
} finally {
  await install.dispose()
}
