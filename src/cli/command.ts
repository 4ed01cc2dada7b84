/** The shape that every command of the `poolsmith` program has: one file in commands/ each. */

import type { Readable } from 'node:stream'
import type { Terminal } from './terminal.ts'

export interface CommandOption {
  readonly type: 'string' | 'boolean'
  readonly short?: string
  /** The placeholder of the value in the help text: `DIR`. */
  readonly value?: string
  readonly description: string
}

/** The arguments and the environment of a command. */
export interface Call {
  readonly positionals: readonly string[]
  readonly values: Readonly<Record<string, string | boolean | undefined>>
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal
  readonly terminal: Terminal
  /** Standard input. */
  readonly input: () => Readable & { readonly isTTY?: boolean | undefined }
  /** Facts for `--json` that are printed whether the command succeeds or fails. */
  readonly facts: Record<string, unknown>
}

/** The result of a command: printed as text, or under `--json` as one object. */
export interface Outcome {
  readonly data: Readonly<Record<string, unknown>>
  readonly text: string
  /** The text is for a program: where the output is no terminal, nothing in it is changed. Default false. */
  readonly verbatim?: boolean
  /** Default 0. */
  readonly exitCode?: number
}

export interface Command {
  readonly name: string
  readonly summary: string
  /** Further sentences for its own help text. */
  readonly description: string
  /** Optional ones come last. */
  readonly positionals: readonly {
    readonly name: string
    readonly description: string
    readonly optional?: boolean
    /** Whether it may be given several times; only the last one can. */
    readonly repeated?: boolean
  }[]
  readonly options: Readonly<Record<string, CommandOption>>
  /** Whether an argument in the wrong place may be a secret, so that no message repeats it. Default false. */
  readonly takesSecrets?: boolean
  /** Whether it ends with an exit code of its own when the same call may succeed later. Default false. */
  readonly saysTryAgain?: boolean
  run(call: Call): Promise<Outcome>
}

/** The command line itself is wrong. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
