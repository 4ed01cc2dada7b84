import { readFile } from 'node:fs/promises'
import { errorText } from '../../any-error.ts'
import { loadPackage } from '../../optional-package.ts'
import { printable } from '../../printable.ts'
import type { ApiKeys } from '../../rotation/api-keys/api-keys.ts'
import { openApiKeys } from '../../rotation/api-keys/open-api-keys.ts'
import { type CheckRotationOptions, checkRotation, type RotationReport } from '../../rotation/check-rotation.ts'
import type { CredentialAge } from '../../rotation/credential-age.ts'
import { DAY_MILLIS, type RotationStatus } from '../../rotation/policy.ts'
import { type Call, type Command, type Outcome, UsageError } from '../command.ts'
import { EXIT_CODES } from '../exit-codes.ts'
import { rows } from '../layout.ts'
import { CONNECTION_ARGUMENT, STORE_OPTIONS, storesOf } from '../shared-options.ts'
import type { Screen } from '../terminal.ts'

export const rotationCommand: Command = {
  name: 'rotation',
  summary: 'Show how old the credentials of connections are, and which are due.',
  description:
    'Without a connection it looks at all that are configured. Each database is asked by one login what it knows of ' +
    `its password; nothing is changed. Exit codes: 0 when nothing is due, ${EXIT_CODES.rotationDue} when a credential ` +
    `is due or has ended, ${EXIT_CODES.rotationSoon} when one is due soon, else ${EXIT_CODES.rotationUnknown} when an ` +
    'age is unknown.',
  positionals: [{ ...CONNECTION_ARGUMENT, optional: true, repeated: true }],
  options: {
    policy: {
      type: 'string',
      value: 'FILE',
      description:
        'A file in YAML or JSON with the rules that differ from the default, as in ' +
        'database_password: { maxAgeDays: 90, warnDays: 7 }.',
    },
    'api-keys': {
      type: 'string',
      value: 'PLACE',
      description: 'Look at these API keys too. Default: POOLSMITH_API_KEYS.',
    },
    offline: { type: 'boolean', description: 'Ask no database.' },
    ...STORE_OPTIONS,
  },
  run: show,
}

async function show(call: Call): Promise<Outcome> {
  const { positionals, values, signal, terminal } = call
  using apiKeys = await keysOf(call)
  const report = await checkRotation({
    apiKeys,
    connections: positionals.length === 0 ? undefined : positionals,
    policy: await policyIn(values['policy']),
    stores: storesOf(call),
    askServers: values['offline'] !== true,
    signal,
  })
  const { checkedAt, policy, credentials, withoutAny } = report
  const failures = report.failures.map(({ connection, error }) => ({ connection, error: error.toJSON() }))
  const data = { checkedAt: iso(checkedAt), policy, credentials: credentials.map(dataOf), withoutAny, failures }
  return { data, text: textOf(report, terminal.out), exitCode: exitCodeOf(report) }
}

async function keysOf({ values, environment }: Call): Promise<ApiKeys | undefined> {
  const place = values['api-keys'] ?? environment['POOLSMITH_API_KEYS']
  return typeof place === 'string' && place !== '' ? openApiKeys(place, { environment }) : undefined
}

async function policyIn(file: string | boolean | undefined): Promise<CheckRotationOptions['policy']> {
  if (typeof file !== 'string') return undefined
  const { parse } = await loadPackage('yaml', () => import('yaml'), 'a policy in YAML')
  try {
    // Its form is checked where it is used.
    return ((await parse(await readFile(file, 'utf8'))) ?? {}) as CheckRotationOptions['policy']
  } catch (error) {
    throw new UsageError(`--policy cannot be read: ${printable(errorText(error), 300)}`)
  }
}

/** The worst of all that was found. */
function exitCodeOf({ credentials, failures }: RotationReport): number {
  const has = (...statuses: readonly RotationStatus[]): boolean =>
    credentials.some(({ status }) => statuses.includes(status))
  if (has('due', 'expired')) return EXIT_CODES.rotationDue
  if (has('soon')) return EXIT_CODES.rotationSoon
  return has('unknown') || failures.length > 0 ? EXIT_CODES.rotationUnknown : EXIT_CODES.success
}

function dataOf(age: CredentialAge): Readonly<Record<string, unknown>> {
  const { setAt, expiresAt, dueAt } = age
  return { ...age, setAt: iso(setAt), expiresAt: iso(expiresAt), dueAt: iso(dueAt) }
}

/** Null where it is not known, so that every object has the same keys. */
function iso(at: number | undefined): string | null {
  return at === undefined ? null : new Date(at).toISOString()
}

const COLOURS = { ok: 'green', soon: 'yellow', due: 'red', expired: 'red', unknown: 'yellow' } as const

function textOf({ checkedAt, credentials, withoutAny, failures }: RotationReport, screen: Screen): string {
  const table = credentials.map((age): readonly string[] => [
    age.status,
    age.connection,
    age.option,
    ageText(age.setAt, checkedAt),
    dayText(age.expiresAt),
    dayText(age.dueAt),
  ])
  const head = ['status', 'connection', 'option', 'age', 'ends', 'due']
  const widths = head.map((_, at) => Math.max(...[head, ...table].map((line) => (line[at] ?? '').length)))
  const aligned = (line: readonly string[]): string =>
    line
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd()
  const lines = credentials.flatMap((age, at) => [
    screen.style(COLOURS[age.status], aligned((table[at] ?? []).map((cell) => printable(cell)))),
    rows([['', [age.place, ...age.notes].join('; ')]], screen.width),
  ])
  const without = withoutAny.map(({ connection, strategy }) =>
    printable(`${connection}: nothing to rotate (${strategy})`),
  )
  const failed = failures.map(({ connection, error }) =>
    screen.style('red', `${printable(connection)}: ${error.message}`),
  )
  const found = credentials.length === 0 ? [] : [screen.style('bold', aligned(head)), ...lines]
  const all = [...found, ...without, ...failed]
  return all.length === 0 ? 'No connection is configured.' : all.join('\n')
}

function ageText(setAt: number | undefined, now: number): string {
  if (setAt === undefined) return 'unknown'
  const days = Math.floor((now - setAt) / DAY_MILLIS)
  return `${days} ${days === 1 ? 'day' : 'days'}`
}

function dayText(at: number | undefined): string {
  return at === undefined ? '-' : new Date(at).toISOString().slice(0, 10)
}
