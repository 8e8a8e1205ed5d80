import test from 'ava'
import { HostileBytes } from '../support/hostile-bytes.ts'
import { corpusOf } from './fuzz.ts'
import { judge } from './loop.ts'
import { mutated } from './mutate.ts'
import { targets } from './targets.ts'

const mutations = 300

test('every decoder takes or refuses what fuzzing found before, and some that is made of it', async t => {
  t.timeout(300_000)
  for (const [name, target] of Object.entries(await targets())) {
    const inputs = [...target.seeds, ...corpusOf(name)]
    t.true(corpusOf(name).length > 0, `${name} has a corpus`)
    const hostile = new HostileBytes(1)
    for (let count = 0; count < mutations; count++) inputs.push(mutated(hostile, inputs))
    for (const input of inputs) {
      const why = await judge(target, input)
      if (why !== undefined) t.fail(`${name}, ${input.toString('hex').slice(0, 500)}: ${why}`)
    }
  }
})

test('what goes wrong is found, and said', async t => {
  const broken = {
    seeds: [],
    run: (input: Buffer) => {
      if (input[0] === 7) throw new TypeError('a bug')
    },
  }
  t.is(await judge(broken, Buffer.from([1])), undefined)
  t.regex((await judge(broken, Buffer.from([7]))) ?? '', /TypeError: a bug/)
})
