/** Reads a connection by a reference to a store: `vault:secret/sales`. */

import { type Fields, parseFields } from '../connections/fields.ts'
import { type ReadConnection, readConnection } from '../connections/parse.ts'
import { fromName, type Reference, recordReference, SCHEMES } from '../connections/reference.ts'
import { ConfigError, inSentence } from '../errors.ts'
import { connectionsIn } from './connections.ts'
import { loginFields, type StoreFieldValues, storeFields } from './fields.ts'
import { OpenStores } from './open.ts'
import type { StoreOptions } from './options.ts'
import { storeProblems } from './problems.ts'
import { recordIn } from './record.ts'
import type { Origin } from './store.ts'

/**
 * @param extra options, among which are those of the store
 * @throws ConfigError for a reference that is none, and for options of the store; PoolsmithError SECRET_…, STORE_…
 */
export async function readReferenced(
  text: string,
  extra: Readonly<Record<string, unknown>>,
  { environment = process.env, ...stores }: StoreOptions,
): Promise<{ readonly read: ReadConnection; readonly origin: Origin }> {
  const reference = recordReference(text)
  if (reference === undefined) throw refused(text)
  const opened = openFor(reference, extra, { environment, ...stores })
  try {
    const reader = opened.readerOf(reference)
    const place = reader.placeOf(reference.path)
    const origin: Origin = {
      place,
      scheme: reference.scheme,
      async read(signal) {
        const { secret } = await reader.read(reference.path, { signal, isFresh: true })
        return {
          value: recordIn(secret, reference.field, place),
          async others(abort) {
            const others = await reader.others(reference.path, secret, abort)
            return others.map((other) => recordIn(other, reference.field, place))
          },
        }
      },
      close: () => opened.close(),
    }
    const { value } = await origin.read(new AbortController().signal)
    const subject = `The connection in ${inSentence(place)}`
    return { read: readConnection(value, { subject }), origin }
  } catch (error) {
    opened.close()
    throw error
  }
}

function openFor(reference: Reference, extra: Readonly<Record<string, unknown>>, stores: StoreOptions): OpenStores {
  const { environment = process.env } = stores
  const fields = { ...storeFields, ...loginFields([reference.scheme], extra) }
  const own = Object.entries(extra).filter(([key]) => takes(fields, key))
  const { values, problems } = parseFields(fields, Object.fromEntries(own))
  const options = values as StoreFieldValues
  const all = [...problems, ...storeProblems(new Map([[NAME, { reference }]]), options, environment, NO_DATABASE)]
  if (all.length > 0) {
    const inPlace = all.map(({ path, message }) => ({
      path: path === `extra.${fromName(NAME)}` ? '' : path,
      message: message.replaceAll(fromName(NAME), 'the reference'),
    }))
    throw new ConfigError(inPlace, { subject: `The store of ${reference.scheme}:${reference.path}` })
  }
  const connections = connectionsIn(stores)
  const { agents } = stores
  return new OpenStores(options, { environment, connection: NO_DATABASE, agents, connections, emit: () => undefined })
}

/** As problems of options name a reference; the record is written in none. */
const NAME = 'record'
/** A record does not share the region of its database before it is read. */
const NO_DATABASE = {}

function takes(fields: Fields, key: string): boolean {
  return Object.entries(fields).some(([name, { aliases }]) => name === key || aliases.includes(key))
}

/** The text may be a password that has a colon in it, so it is not repeated. */
function refused(text: string): ConfigError {
  const scheme = SCHEMES.find((name) => text.startsWith(`${name}:`))
  const message = `expected ${scheme}: and a path, as in vault:secret/sales or k8s:prod/sales#connection`
  return new ConfigError([{ path: '', message }], { hint: 'See docs/secrets.md for the form of each reference.' })
}
