import type { ConnectionInput } from '../../connections/parse.ts'
import { ConfigError, type ConfigProblem, PoolsmithError } from '../../errors.ts'
import type { Secret } from '../../secret.ts'
import type { StoredSecret } from '../../vault/stored-secret.ts'
import type { CachedReader } from '../cache.ts'
import type { AskOptions, Found, Kind, Store } from '../store.ts'

/** A connection as the secret of a store has it. */
export interface ReadValue<Value> {
  readonly value: Value
  readonly notes?: readonly ConfigProblem[]
}

export interface Layout {
  /** How errors name the store. */
  readonly name: string
  readonly reader: CachedReader
  /** The paths at which an entry may be, in the order in which they are read; none where it is not asked for. */
  pathsOf(kind: Kind, id: string, team: string | undefined): readonly string[]
  /** @param place names the secret in errors */
  connectionIn(secret: StoredSecret, place: string): ReadValue<ConnectionInput>
  textIn(secret: StoredSecret, place: string, kind: Kind): Secret
  /** The field that is written; '' for the whole text, which is the default. */
  fieldOf?(kind: Kind): string
  /** Whether the other fields of an entry stay when it is written. Default: they do. */
  keepsOthers?(kind: Kind): boolean
}

/** A store whose entries are secrets under paths. */
export function storeOver(layout: Layout): Store {
  const get = async <Value>(
    kind: Kind,
    id: string,
    { signal, team, isFresh }: AskOptions,
    valueIn: (secret: StoredSecret, place: string) => ReadValue<Value>,
  ): Promise<Found<Value> | undefined> => {
    const { reader } = layout
    for (const path of layout.pathsOf(kind, id, team)) {
      const place = reader.placeOf(path)
      const reading = await reader.read(path, { signal, isFresh: isFresh === true }).catch(missing)
      if (reading === undefined) continue
      return {
        ...valueIn(reading.secret, place),
        place,
        async others(abort) {
          const others = await reader.others(path, reading.secret, abort)
          return others.map((secret) => valueIn(secret, place).value)
        },
      }
    }
    return undefined
  }
  const getText = (kind: Kind) => (key: string, options: AskOptions) =>
    get(kind, key, options, (secret, place) => ({ value: layout.textIn(secret, place, kind) }))
  const set = (kind: Kind) => async (id: string, text: Secret, options: AskOptions) => {
    const { reader } = layout
    const { signal, team } = options
    const paths = layout.pathsOf(kind, id, team)
    const [first] = paths
    if (first === undefined) {
      const message = `${layout.name} takes no ${kind} of this name`
      throw new ConfigError([{ path: 'id', message }])
    }
    // An entry stays where it is.
    const known = await Promise.all(paths.map((path) => reader.read(path, { signal, isFresh: true }).catch(missing)))
    const at = known.findIndex((reading) => reading !== undefined)
    const replaces = known[at]?.secret
    const field = layout.fieldOf?.(kind) ?? ''
    const others = field !== '' && layout.keepsOthers?.(kind) !== false ? replaces?.texts() : undefined
    await reader.write(paths[at] ?? first, new Map([...(others ?? []), [field, text]]), { replaces, signal })
  }
  const written = layout.reader.isWritable
    ? { setConnection: set('connection'), setVariable: set('variable') }
    : undefined
  return {
    ...written,
    name: layout.name,
    getConnection: (id, options) => get('connection', id, options, (...given) => layout.connectionIn(...given)),
    getVariable: getText('variable'),
    getConfig: getText('config'),
    close: () => layout.reader.close(),
  }
}

/** @throws the error, unless it says that there is no such secret */
function missing(error: unknown): undefined {
  if (!isMissing(error)) throw error
}

/**
 * Whether the store was asked and has no such secret. A version that was deleted counts as none, as long as the store
 * answers as for one that never was.
 */
function isMissing(error: unknown): boolean {
  if (!(error instanceof PoolsmithError)) return false
  return error.code === 'SECRET_MISSING' || (error.code === 'SECRET_DELETED' && error.details.status === 404)
}
