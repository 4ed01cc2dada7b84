import { parseArgs } from 'node:util'
import { PoolsmithError } from '../errors.ts'
import { isSecretText } from '../secret-text.ts'
import { packageVersion } from '../version.ts'
import { checkArguments } from './argument-limits.ts'
import { type Call, type Command, orNearest, UsageError } from './command.ts'
import { COMMANDS } from './commands.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { COMMON_OPTIONS, commandHelp, programHelp } from './help.ts'
import { toJson } from './json.ts'
import { describeFailure } from './report-error.ts'
import type { Terminal } from './terminal.ts'

export interface ProgramContext {
  readonly terminal: Terminal
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Aborted by Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal
  readonly input: Call['input']
  /** The exit code of the program once a signal has aborted it, whether the command succeeded or not. */
  readonly exitCodeOfSignal: () => number | undefined
}

/**
 * Runs the program with the given arguments (without node and the script) and returns its exit code. Never rejects.
 */
export async function run(given: readonly string[], context: ProgramContext): Promise<number> {
  const { terminal } = context
  const args = given[0] === 'help' && given[1] !== undefined ? [...given.slice(1), '--help'] : given
  const [name, ...rest] = args
  // Looked for before parsing, so that a wrong command line is reported as JSON too.
  const json = args.includes('--json')
  const command = COMMANDS.find((candidate) => candidate.name === name)
  const label = command === undefined ? 'poolsmith' : `poolsmith ${command.name}`
  const facts: Record<string, unknown> = {}
  try {
    if (command === undefined) return withoutCommand(args, terminal)
    const { values, positionals } = readArguments(command, rest)
    if (values['help'] === true) {
      terminal.out.line(commandHelp(command))
      return EXIT_CODES.success
    }
    checkArguments(command, values, positionals)
    checkPositionals(command, positionals)
    const outcome = await command.run({ ...context, values, positionals, facts })
    if (json) terminal.out.line(toJson({ ok: true, command: command.name, ...facts, ...outcome.data }))
    else if (outcome.verbatim === true) terminal.out.verbatim(outcome.text)
    else terminal.out.line(outcome.text)
    return context.exitCodeOfSignal() ?? outcome.exitCode ?? EXIT_CODES.success
  } catch (error) {
    const failure = describeFailure(error instanceof UsageError ? withoutConnections(error, args) : error, label)
    const triesAgain = command?.saysTryAgain === true && error instanceof PoolsmithError && error.transient
    const exitCode = context.exitCodeOfSignal() ?? (triesAgain ? EXIT_CODES.tryAgain : failure.exitCode)
    if (json) {
      const told = { ok: false, ...(command && { command: command.name }), ...facts, error: failure.json }
      terminal.out.line(toJson({ ...told, exitCode }))
    } else {
      terminal.log.line(failure.text(terminal.log))
    }
    return exitCode
  }
}

/** An argument in the wrong place may be a connection with its password, and the output may be logged. */
function withoutConnections(error: UsageError, args: readonly string[]): UsageError {
  const message = args
    .flatMap((arg) => (arg.startsWith('--') ? [arg.slice(arg.indexOf('=') + 1)] : [arg]))
    .filter((arg) => arg.includes('://') || arg.startsWith('{') || isSecretText(arg))
    .reduce((text, arg) => text.replaceAll(JSON.stringify(arg), arg).replaceAll(arg, '[a connection]'), error.message)
  return new UsageError(message, { cause: error.cause })
}

function withoutCommand(args: readonly string[], terminal: Terminal): number {
  const [first] = args
  if (args.includes('--version')) terminal.out.line(packageVersion())
  else if (args.includes('--help') || args.includes('-h') || first === 'help') terminal.out.line(programHelp(COMMANDS))
  else if (first === undefined || first.startsWith('-')) throw new UsageError('which command?')
  else {
    const names = COMMANDS.map((command) => command.name)
    throw new UsageError(`unknown command ${first}${orNearest(first, names)}`)
  }
  return EXIT_CODES.success
}

function readArguments(
  command: Command,
  args: readonly string[],
): { values: Record<string, string | boolean | undefined>; positionals: string[] } {
  const known = new Map(Object.entries({ ...command.options, ...COMMON_OPTIONS }))
  const options = Object.fromEntries(
    [...known].map(([name, { type, short }]) => [name, short ? { type, short } : { type }]),
  )
  const { values, positionals, tokens } = parseArgs({
    args: [...args],
    options,
    allowPositionals: true,
    strict: false,
    tokens: true,
  })
  for (const token of tokens) {
    if (token.kind !== 'option') continue
    const option = known.get(token.name)
    if (option === undefined) throw unknownOption(command, token.rawName, [...known.keys()])
    if (option.type === 'boolean') {
      if (token.value !== undefined) throw new UsageError(`${token.rawName} takes no value.`)
    } else if (token.value === undefined || (!token.inlineValue && /^-./.test(token.value))) {
      const value = option.value ?? 'VALUE'
      const form = token.value === undefined ? '' : `, or --${token.name}=${value} if it begins with a hyphen`
      throw new UsageError(`${token.rawName} needs a value: --${token.name} ${value}${form}.`)
    }
  }
  return { values, positionals }
}

/** The name of an option. Anything else after a hyphen may be a connection or a secret in the wrong place. */
const OPTION_NAME = /^--?[a-z-]{1,40}$/i

function unknownOption(command: Command, rawName: string, known: readonly string[]): UsageError {
  const isShown = OPTION_NAME.test(rawName) && !command.takesSecrets
  const subject = isShown ? `unknown option ${rawName}` : 'an option is unknown'
  return new UsageError(`${subject}${orNearest(rawName.replace(/^-+/, ''), known, (name) => `--${name}`)}`)
}

function checkPositionals(command: Command, given: readonly string[]): void {
  const missing = command.positionals[given.length]
  if (missing !== undefined && missing.optional !== true) throw new UsageError(`<${missing.name}> is missing.`)
  const extra = given[command.positionals.length]
  if (extra !== undefined && command.positionals.at(-1)?.repeated !== true)
    throw new UsageError(`one argument too many${command.takesSecrets ? '.' : `: ${extra}`}`)
}
