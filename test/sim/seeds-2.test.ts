import { seedTests } from '../support/run-seeds.ts'

seedTests(101, 100)
