import { seedTests } from '../support/run-seeds.ts'

seedTests(1, 880, { shared: true })
