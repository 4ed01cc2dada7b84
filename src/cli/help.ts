import type { Command, CommandOption } from './command.ts'
import { EXIT_CODES, PHASE_EXIT_CODES, PHASE_MEANINGS } from './exit-codes.ts'
import { wrap } from './layout.ts'

/** Options that every command has. */
export const COMMON_OPTIONS: Readonly<Record<string, CommandOption>> = {
  json: { type: 'boolean', description: 'Print one JSON object on standard output, for errors too.' },
  help: { type: 'boolean', short: 'h', description: 'Show this help.' },
}

const WIDTH = 80

/** Two columns; the right one wraps. */
function columns(entries: readonly (readonly [string, string])[]): string[] {
  const left = Math.max(...entries.map(([name]) => name.length)) + 4
  return entries.flatMap(([name, text]) =>
    wrap(text, WIDTH - left).map((line, index) => `${(index === 0 ? `  ${name}` : '').padEnd(left)}${line}`),
  )
}

function optionEntries(options: Readonly<Record<string, CommandOption>>): [string, string][] {
  return Object.entries(options).map(([name, option]) => [
    `${option.short === undefined ? '' : `-${option.short}, `}--${name}${option.value === undefined ? '' : ` ${option.value}`}`,
    option.description,
  ])
}

/** The exit codes, as the help and docs/cli.md give them. */
function exitCodeEntries(commands: readonly Command[]): [string, string][] {
  const tryAgain = commands.filter(({ saysTryAgain }) => saysTryAgain).map(({ name }) => name)
  return [
    [String(EXIT_CODES.success), 'all is well'],
    [String(EXIT_CODES.unexpected), 'an unexpected error'],
    [String(EXIT_CODES.usage), 'the command line is wrong'],
    ...Object.entries(PHASE_EXIT_CODES).map(([phase, code]): [string, string] => [
      String(code),
      `${phase}: ${PHASE_MEANINGS[phase as keyof typeof PHASE_MEANINGS]}`,
    ]),
    [String(EXIT_CODES.rotationSoon), 'rotation: a credential is due soon'],
    [String(EXIT_CODES.rotationDue), 'rotation: a credential is due, or has ended'],
    [
      String(EXIT_CODES.rotationUnknown),
      'rotation: nothing is due as far as is known, and the age of a credential is unknown',
    ],
    [String(EXIT_CODES.auditBroken), 'audit: a line of the log was removed or changed'],
    [String(EXIT_CODES.auditTruncated), 'audit: only the last line of the log is not whole'],
    [String(EXIT_CODES.auditUnlinked), 'audit: no line of the log has a hash'],
    [String(EXIT_CODES.tryAgain), `${tryAgain.join(', ')}: the same call may succeed later (transient)`],
    [String(EXIT_CODES.hungUp), 'ended by SIGHUP, as when the terminal is closed'],
    [String(EXIT_CODES.interrupted), 'interrupted by Ctrl-C'],
    [String(EXIT_CODES.terminated), 'ended by SIGTERM'],
  ]
}

export function programHelp(commands: readonly Command[]): string {
  return [
    'Usage: poolsmith COMMAND ...',
    '',
    'Commands:',
    ...columns(commands.map((command) => [command.name, command.summary])),
    '',
    'Options:',
    ...columns([...optionEntries(COMMON_OPTIONS), ['--version', 'Show the version.']]),
    '',
    'poolsmith COMMAND --help describes a command.',
    '',
    'Exit codes:',
    ...columns(exitCodeEntries(commands)),
  ].join('\n')
}

export function commandHelp(command: Command): string {
  const names = command.positionals
    .map(({ name, optional, repeated }) => {
      const shown = repeated ? `${name}...` : name
      return optional ? ` [${shown}]` : ` <${shown}>`
    })
    .join('')
  return [
    `Usage: poolsmith ${command.name}${names} [options]`,
    '',
    ...wrap(`${command.summary} ${command.description}`, WIDTH),
    '',
    ...(command.positionals.length === 0
      ? []
      : [...columns(command.positionals.map(({ name, description }) => [`<${name}>`, description])), '']),
    'Options:',
    ...columns(optionEntries({ ...command.options, ...COMMON_OPTIONS })),
    '',
    ...wrap(
      `Exit codes: 0 when all is well, ${command.saysTryAgain ? '75 when the same call may succeed later, ' : ''}` +
        'else one for each phase; see poolsmith --help.',
      WIDTH,
    ),
  ].join('\n')
}
