import { seedTests } from '../support/run-seeds.ts'

seedTests(1, 250, { shared: true })
