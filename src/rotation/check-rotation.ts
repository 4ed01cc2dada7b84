import { errorText } from '../any-error.ts'
import type { Connection } from '../connections/connection.ts'
import type { ConnectionInput } from '../connections/parse.ts'
import { PoolsmithError } from '../errors.ts'
import { printable } from '../printable.ts'
import type { StoreOptions } from '../stores/options.ts'
import { listConnections, resolveConnection } from '../stores/resolve.ts'
import type { ApiKeys } from './api-keys/api-keys.ts'
import type { CredentialAge, FoundCredential } from './credential-age.ts'
import { assertGoesOn } from './goes-on.ts'
import { nameOf } from './name-of.ts'
import { judge, type PolicyOptions, type RotationPolicy, rotationPolicy } from './policy.ts'
import type { ServerAge } from './server-age.ts'

/** Options of {@link checkRotation}. */
export interface CheckRotationOptions {
  /** The connections to look at, in any form. Default: all in the stores. */
  readonly connections?: readonly ConnectionInput[]
  /** The rules that differ from the default: 90 days for an API key, 180 for a password of a database, 365 for the rest. */
  readonly policy?: PolicyOptions
  /** API keys to look at too. Default: none. */
  readonly apiKeys?: ApiKeys
  /** Where ids are looked up. */
  readonly stores?: StoreOptions
  /** Whether databases are asked what they know of their passwords, by one login each. Default true. */
  readonly askServers?: boolean
  readonly signal?: AbortSignal
  /** Milliseconds since the epoch. Default `Date.now`. */
  readonly now?: () => number
}

/** The result of {@link checkRotation}. */
export interface RotationReport {
  /** Milliseconds since the epoch. */
  readonly checkedAt: number
  readonly policy: RotationPolicy
  readonly credentials: readonly CredentialAge[]
  /** Connections that hold no credential to rotate: their strategy obtains one that ends soon. */
  readonly withoutAny: readonly { readonly connection: string; readonly strategy: string }[]
  /** Connections that could not be read. */
  readonly failures: readonly { readonly connection: string; readonly error: PoolsmithError }[]
}

/**
 * Says of each credential of each connection how old it is, when it ends, and what the policy says of that. Ages are
 * taken from where they stand: certificates, keytabs, versions in stores, and the database. What cannot be known is
 * `unknown`, with the reason in its `notes`. Nothing is changed.
 *
 * @throws ConfigError for a policy that is wrong; PoolsmithError ABORTED
 *
 * @example
 * const { credentials } = await checkRotation({ policy: { database_password: { maxAgeDays: 90 } } })
 * for (const one of credentials) if (one.status === 'due') console.log(one.connection, one.option, one.place)
 */
export async function checkRotation(options: CheckRotationOptions = {}): Promise<RotationReport> {
  const { stores = {}, askServers = true, signal = new AbortController().signal, now = Date.now } = options
  const policy = rotationPolicy(options.policy)
  const checkedAt = now()
  const { connections, failures } = await chosen(options.connections, stores)
  const credentials: CredentialAge[] = []
  const withoutAny: { connection: string; strategy: string }[] = []
  for (const connection of connections) {
    assertGoesOn(signal)
    const name = nameOf(connection)
    try {
      const { strategy, found } = await lookAt(connection, { stores, askServers, signal, checkedAt })
      if (found.length === 0) withoutAny.push({ connection: name, strategy })
      for (const one of found) {
        credentials.push({ connection: name, ...one, ...judge(one, policy[one.kind], checkedAt) })
      }
    } catch (error) {
      if (!(error instanceof PoolsmithError) || error.code === 'ABORTED') throw error
      failures.push({ connection: name, error })
    }
  }
  for (const one of await keysIn(options.apiKeys, signal)) {
    credentials.push({ connection: one.identity ?? '', ...one, ...judge(one, policy.api_key, checkedAt) })
  }
  return { checkedAt, policy, credentials, withoutAny, failures }
}

/** The current key of each service: the others go by themselves. */
async function keysIn(keys: ApiKeys | undefined, signal: AbortSignal): Promise<readonly FoundCredential[]> {
  const found = (await keys?.list(undefined, signal)) ?? []
  return found
    .filter(({ state }) => state === 'current')
    .map(({ service, version, createdAt, rotateAfter, expiresAt }) => ({
      kind: 'api_key',
      option: `version ${version}`,
      identity: service,
      place: keys?.name ?? '',
      setAt: createdAt,
      rotateAfter,
      expiresAt,
      sources: ['its metadata'],
      notes: [],
    }))
}

async function chosen(
  given: readonly ConnectionInput[] | undefined,
  stores: StoreOptions,
): Promise<{ readonly connections: readonly Connection[]; readonly failures: RotationReport['failures'][number][] }> {
  if (given !== undefined) {
    return { connections: await Promise.all(given.map((input) => resolveConnection(input, stores))), failures: [] }
  }
  const listed = (await listConnections(stores)).filter(({ shadowed }) => !shadowed)
  return {
    connections: listed.flatMap(({ connection }) => connection ?? []),
    failures: listed.flatMap(({ id, error }) => (error === undefined ? [] : [{ connection: id, error }])),
  }
}

interface Look {
  readonly stores: StoreOptions
  readonly askServers: boolean
  readonly signal: AbortSignal
  readonly checkedAt: number
}

async function lookAt(
  given: Connection,
  { stores, askServers, signal, checkedAt }: Look,
): Promise<{ readonly strategy: string; readonly found: readonly FoundCredential[] }> {
  const { configured } = await import('./configured.ts')
  const { findCredentials } = await import('./find-credentials.ts')
  const record = await configured(given, stores)
  const strategy = record.settings.strategy.name
  const found = await findCredentials(record, signal)
  const isPassword = (one: FoundCredential): boolean =>
    one.kind === 'database_password' && (strategy === 'password' || strategy === 'sql_auth')
  if (!askServers || !found.some(isPassword)) return { strategy, found }
  const told = await ask(given, stores, signal, checkedAt)
  return { strategy, found: found.map((one) => (isPassword(one) ? joined(one, told) : one)) }
}

/** The facts of a server are exact: they come before what a store knows of its last change. */
function joined(found: FoundCredential, told: ServerAge): FoundCredential {
  const isExact = told.setAt !== undefined
  const sources = isExact ? told.sources : [...found.sources, ...told.sources]
  return {
    ...found,
    setAt: told.setAt ?? found.setAt,
    expiresAt: told.expiresAt ?? found.expiresAt,
    sources,
    notes: [...(isExact ? [] : found.notes), ...told.notes],
  }
}

/** A server that cannot be asked is in the notes. */
async function ask(connection: Connection, stores: StoreOptions, signal: AbortSignal, now: number): Promise<ServerAge> {
  const { serverAge } = await import('./server-age.ts')
  const { createEngine } = await import('../engine/knex/create-engine.ts')
  try {
    await using db = await createEngine(connection, { pool_size: 1, max_overflow: 0, pool_min_idle: 0, stores })
    // The login alone can be aborted: the statement is a short one.
    await db.pool.use(async () => undefined, { signal })
    return await serverAge(db, now)
  } catch (error) {
    assertGoesOn(signal)
    // knex puts its statement in front of the words of the server.
    const words = error instanceof PoolsmithError ? error.message : errorText(error).replace(/^.* - /s, '')
    return { sources: [], notes: [`the server could not be asked: ${printable(words, 300)}`] }
  }
}
