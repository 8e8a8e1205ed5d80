import test from 'ava'
import { pathText, visible, widthOf, wrapped } from '#src/cli/terminal.ts'

test('lines are broken at spaces, keep what is padded, and are whole in a pipe', t => {
  const text = 'Blocks  12 in use, 3 with too few copies'
  t.is(wrapped(text, undefined), text)
  t.is(wrapped(text, 80), text)
  t.is(wrapped(text, 20, '        '), 'Blocks  12 in use, 3\n        with too few\n        copies')
  t.is(wrapped('x'.repeat(30), 20), 'x'.repeat(30), 'a word is not broken')
  for (const width of [20, 33, 60])
    for (const line of wrapped(text, width, '  ').split('\n')) t.true(widthOf(line) <= width)
})

test('colours take no room', t => {
  t.is(widthOf('\u001b[31mred\u001b[39m'), 3)
})

test('what a file is called is no command for the terminal', t => {
  t.is(visible('a\u001b[2Jb\nc\td'), 'a\\x1b[2Jb\\x0ac\\x09d')
  t.is(pathText(Buffer.from('/dir/é')), '/dir/é')
})
