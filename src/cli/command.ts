/** The shape that every command of the `poolsmith` program has: one file in commands/ each. */

import type { Readable } from 'node:stream'
import { didYouMean, nearest } from '../did-you-mean.ts'
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

/** The end of a sentence about a word that is unknown: `; did you mean check?`, or a full stop. */
export function orNearest(word: string, names: readonly string[], shown = (name: string): string => name): string {
  const near = nearest(word, names)
  return near === undefined ? '.' : `; ${didYouMean([shown(near)])}`
}

/**
 * The action that the first argument names. The argument itself is not repeated, since it may be a secret.
 *
 * @throws UsageError
 */
export function actionOf<Action>(actions: Readonly<Record<string, Action>>, { positionals }: Call): Action {
  const [given = ''] = positionals
  const action = Object.hasOwn(actions, given) ? actions[given] : undefined
  if (action !== undefined) return action
  const names = Object.keys(actions)
  throw new UsageError(`<action> is one of: ${names.join(', ')}${orNearest(given, names)}`)
}
