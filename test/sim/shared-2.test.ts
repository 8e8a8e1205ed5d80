import { seedTests } from '../support/run-seeds.ts'

seedTests(881, 880, { shared: true })
