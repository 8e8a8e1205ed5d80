import { seedTests } from '../support/run-seeds.ts'

seedTests(251, 250, { shared: true })
