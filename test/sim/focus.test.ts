import { seedTests } from '../support/run-seeds.ts'

/** One kind of fault strikes again and again: what seldom meets by chance, meets. */
seedTests(1, 30, { focus: 'crowded' })
seedTests(1, 20, { focus: 'rotten' })
seedTests(1, 30, { focus: 'lonely' })
seedTests(1, 60, { shared: true, focus: 'away' })
