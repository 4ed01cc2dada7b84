import { textProblem } from '../connections/fields.ts'
import { LONGEST_PATH, LONGEST_RECORD, LONGEST_TEXT, tooLong } from '../connections/limits.ts'
import { type Command, type CommandOption, UsageError } from './command.ts'

/** Placeholders of the options whose value is the name of a file. */
const FILES: ReadonlySet<string | undefined> = new Set(['FILE', 'DIR', 'CACHE', 'FILE#K'])
/** NAME_MAX of Linux, in bytes. */
const LONGEST_NAME = 255

/**
 * Refuses arguments that are too long or hold what no argument holds, before anything repeats them.
 *
 * @throws UsageError
 */
export function checkArguments(
  { options, positionals: expected }: Command,
  values: Readonly<Record<string, string | boolean | undefined>>,
  positionals: readonly string[],
): void {
  for (const [name, value] of Object.entries(values)) {
    const option = options[name]
    const problem = typeof value !== 'string' || option === undefined ? undefined : optionProblem(option, value)
    if (problem !== undefined) throw new UsageError(`--${name} ${problem}.`)
  }
  for (const [index, value] of positionals.entries()) {
    const { name } = expected[index] ?? expected.at(-1) ?? { name: 'argument' }
    // A connection may be written out; any other argument is a name.
    const limit = name === 'connection' ? LONGEST_RECORD : LONGEST_TEXT
    if (value.length > limit) throw new UsageError(`<${name}> ${tooLong(limit)}.`)
  }
}

function optionProblem({ value: kind }: CommandOption, value: string): string | undefined {
  const problem = textProblem(value)
  if (problem !== undefined) return problem
  if (!FILES.has(kind)) return value.length > LONGEST_TEXT ? tooLong(LONGEST_TEXT) : undefined
  if (Buffer.byteLength(value) > LONGEST_PATH) return tooLong(LONGEST_PATH)
  return value.split(/[/\\]/).some((part) => Buffer.byteLength(part) > LONGEST_NAME)
    ? `holds a name that is longer than ${LONGEST_NAME} bytes`
    : undefined
}
