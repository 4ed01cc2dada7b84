/** Reports an error as text and as JSON: where it happened (the phase), why, and what to do. */

import { errorText, isError } from '../any-error.ts'
import { PoolsmithError } from '../errors.ts'
import { printable } from '../printable.ts'
import { UsageError } from './command.ts'
import { EXIT_CODES, exitCodeOf } from './exit-codes.ts'
import { rows } from './layout.ts'
import type { Screen } from './terminal.ts'

export interface Failure {
  readonly exitCode: number
  readonly json: Readonly<Record<string, unknown>>
  /** The lines to print on the given screen. */
  readonly text: (screen: Screen) => string
}

/** @param label how the command was called, as in `poolsmith check` */
export function describeFailure(error: unknown, label: string): Failure {
  if (error instanceof UsageError) {
    const hint = `${label} --help`
    const message = printable(error.message)
    return {
      exitCode: EXIT_CODES.usage,
      json: { name: 'UsageError', code: 'USAGE', message, hint, transient: false },
      text: () => `${label}: ${message}\nSee ${hint}`,
    }
  }
  const exitCode = exitCodeOf(error)
  if (error instanceof PoolsmithError && error.code === 'ABORTED') {
    return {
      exitCode: EXIT_CODES.interrupted,
      json: error.toJSON(),
      text: () => `${label}: interrupted`,
    }
  }
  if (error instanceof PoolsmithError) {
    return {
      exitCode,
      json: error.toJSON(),
      text: (screen) =>
        [
          screen.style('red', `${label}: failed at ${error.phase} (${error.code})`),
          rows(
            [
              ['cause', error.message],
              ['what to do', error.hint],
            ],
            screen.width,
          ),
        ].join('\n'),
    }
  }
  const message = errorText(error)
  return {
    exitCode,
    json: { name: isError(error) ? error.name : 'Error', code: 'UNEXPECTED', message, transient: false },
    // An error that is not expected: the stack says where it came from.
    text: (screen) => `${screen.style('red', `${label}: unexpected error`)}\n${isError(error) ? error.stack : message}`,
  }
}
