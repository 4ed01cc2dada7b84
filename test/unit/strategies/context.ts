import type { Connection } from '../../../src/connections/connection.ts'
import { type Fields, parseFields } from '../../../src/connections/fields.ts'
import type { CredentialSource } from '../../../src/credentials/credential.ts'
import { ConfigError } from '../../../src/errors.ts'
import type { EventName } from '../../../src/events.ts'
import type { Strategy } from '../../../src/strategies/strategy.ts'

export interface Built {
  readonly source: CredentialSource
  readonly events: { readonly name: EventName; readonly payload: unknown }[]
}

/** The context of a strategy for a connection, with its own fields parsed as the engine does. */
export async function build<F extends Fields>(
  strategy: Strategy<F>,
  connection: Partial<Connection>,
  extra: Readonly<Record<string, unknown>> = {},
  context: {
    readonly environment?: Readonly<Record<string, string>>
    readonly settings?: Readonly<Record<string, unknown>>
  } = {},
): Promise<Built> {
  const { values, problems } = parseFields(strategy.fields, extra)
  if (problems.length > 0) throw new ConfigError(problems)
  const events: { name: EventName; payload: unknown }[] = []
  const source = await strategy.credentials({ type: 'postgres', extra: {}, ...connection }, values, {
    emit: (name, payload) => events.push({ name, payload }),
    environment: {},
    settings: {},
    ...context,
  })
  return { source, events }
}

/** The paths of all problems of a configuration. */
export async function problemPaths(built: Promise<Built>): Promise<string[]> {
  try {
    const { source } = await built
    source.close()
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return error.problems.map(({ path }) => path)
  }
}
