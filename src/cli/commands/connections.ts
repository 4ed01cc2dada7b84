import { describeConnection } from '../../connections/describe.ts'
import { configure } from '../../engine/configure.ts'
import { ConfigError, PoolsmithError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import type { ListedConnection } from '../../stores/options.ts'
import { listConnections } from '../../stores/resolve.ts'
import { strategies } from '../../strategies/index.ts'
import type { Call, Command, Outcome } from '../command.ts'
import { rows } from '../layout.ts'
import { STORE_OPTIONS, storesOf } from '../shared-options.ts'
import type { Screen } from '../terminal.ts'

export const connectionsCommand: Command = {
  name: 'connections',
  summary: 'List the configured connections, secrets hidden, problems shown.',
  description:
    'They come from POOLSMITH_CONN_<ID> and AIRFLOW_CONN_<ID> in the environment and from one connections file with the stores that it lists. A store that ' +
    'cannot be listed is named. ' +
    'No connection is opened.',
  positionals: [],
  options: STORE_OPTIONS,
  run: list,
}

interface Entry {
  readonly id: string
  readonly store: string
  /** Another store, which is searched first, has the same id. */
  readonly shadowed: boolean
  readonly type?: string
  /** The URI, secrets hidden. */
  readonly uri?: string
  readonly strategy?: string
  readonly problems: readonly string[]
  readonly warnings: readonly string[]
}

async function list(call: Call): Promise<Outcome> {
  const notices: string[] = []
  const listed = await listConnections({
    ...storesOf(call),
    onWarning: ({ path, message }) => notices.push(`${path}: ${message}`),
  })
  const entries = await Promise.all(listed.map(entryOf))
  return { data: { connections: entries, notices }, text: textOf(entries, notices, call.terminal.out) }
}

async function entryOf(listed: ListedConnection): Promise<Entry> {
  const { id, store, shadowed, connection, error, notes, closed } = listed
  const head = { id, store, shadowed }
  if (connection === undefined) return { ...head, problems: problemsOf(error), warnings: [] }
  const known = { ...head, type: connection.type, uri: describeConnection(connection) }
  try {
    const { settings, warnings } = await configure(connection, { registry: strategies, closed })
    return {
      ...known,
      strategy: settings.strategy.name,
      problems: [],
      warnings: [...notes, ...warnings].map(({ path, message }) => `${path}: ${message}`),
    }
  } catch (cause) {
    return { ...known, problems: problemsOf(cause), warnings: [] }
  }
}

function problemsOf(error: unknown): string[] {
  if (error instanceof ConfigError) {
    return error.problems.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`))
  }
  if (error instanceof PoolsmithError)
    return [error.hint === undefined ? error.message : `${error.message} ${error.hint}`]
  throw error
}

function textOf(entries: readonly Entry[], notices: readonly string[], screen: Screen): string {
  const none = entries.length === 0 && notices.length === 0
  if (none) return 'No connection is configured. Set POOLSMITH_CONN_<ID> to a URI, or write a connections.yaml.'
  const blocks = entries.map((entry) => {
    const label = screen.style(
      'bold',
      `${printable(entry.id)}${entry.shadowed ? ' (hidden by the connection with the same id above)' : ''}`,
    )
    const facts = rows(
      [
        ['uri', entry.uri],
        ['strategy', entry.strategy],
        ['from', entry.store],
      ],
      screen.width,
    )
    const problems = entry.problems.map((text) => screen.style('red', rows([['problem', text]], screen.width)))
    const warnings = entry.warnings.map((text) => screen.style('yellow', rows([['warning', text]], screen.width)))
    return [label, facts, ...problems, ...warnings].join('\n')
  })
  return [...blocks, ...notices.map((text) => screen.style('yellow', printable(text)))].join('\n\n')
}
