import { seedTests } from '../support/run-seeds.ts'

/** The master's disk is lost at the end. */
seedTests(1, 40, { disaster: true })
