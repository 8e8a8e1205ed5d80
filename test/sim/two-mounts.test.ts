import { seedTests } from '../support/run-seeds.ts'

seedTests(1, 40, { mounts: 2 })
