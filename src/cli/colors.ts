import { isatty } from 'node:tty'
import picocolors from 'picocolors'

/**
 * Colours for a terminal that has them, and never in a pipe or a file: scripts read what is printed there, also
 * where the environment asks for colours, as that of a CI service does.
 */
export default picocolors.createColors(isatty(1) && process.stdout.hasColors())
