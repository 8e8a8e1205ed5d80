import { seedTests } from '../support/run-seeds.ts'

seedTests(1, 100)
