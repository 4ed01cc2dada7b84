/** Looks a connection up in stores that are loaded on demand. */

import type { ConnectionsFile } from '../connections/stores/file.ts'
import type { Stored } from '../connections/stores/stored.ts'
import { type ConfigProblem, PoolsmithError } from '../errors.ts'
import { OpenedStores } from './opened.ts'
import type { StoreOptions } from './options.ts'
import type { AskOptions, Found, Origin, Store } from './store.ts'

interface FoundInStores {
  readonly stored: Stored
  readonly notes: readonly ConfigProblem[]
  readonly origin: Origin
}

type Places = StoreOptions & Required<Pick<StoreOptions, 'environment' | 'cwd'>>

/**
 * @param which the backend of an Airflow worker, or the stores that the options or the file list
 * @param lookedAt takes the stores that have no such connection
 * @throws PoolsmithError of the first store that could not be asked
 */
export async function findInStores(
  id: string,
  which: 'backend' | 'listed',
  options: Places,
  file: ConnectionsFile | undefined,
  lookedAt: string[],
): Promise<FoundInStores | undefined> {
  const { team, opened: given } = options
  const opened = given ?? onceOpened(options)
  const close = (): void => {
    if (given === undefined) opened.close()
  }
  try {
    const stores = which === 'backend' ? [await opened.backend()] : await listedStores(opened, options, file)
    const ask = { signal: NEVER, team }
    for (const store of stores) {
      const found = await store.getConnection?.(id, ask)
      if (found === undefined) {
        lookedAt.push(store.name)
        continue
      }
      const { value, place = store.name, notes = [] } = found
      const origin: Origin = { place, read: (signal) => readAgain(store, id, { signal, team }), close }
      return { stored: { id, store: placeIn(found, store), value }, notes, origin }
    }
  } catch (error) {
    close()
    throw error
  }
  close()
  return undefined
}

/** The connections of the stores that can list them. Of the others `onWarning` is told. */
export async function listInStores(
  options: Places,
  file: ConnectionsFile | undefined,
  hasBackend: boolean,
): Promise<Stored[]> {
  const opened = options.opened ?? onceOpened(options)
  const listed: Stored[] = []
  try {
    const ask = { signal: NEVER, team: options.team }
    const tell = (error: unknown): [] => {
      if (!(error instanceof PoolsmithError)) throw error
      options.onWarning?.({ path: 'stores', message: error.message })
      return []
    }
    const backend = hasBackend ? await opened.backend().then((store) => [store], tell) : []
    for (const store of [...backend, ...(await listedStores(opened, options, file))]) {
      if (store.connectionIds === undefined) {
        const message = `${store.name} cannot be listed; it is asked for each connection by its id`
        options.onWarning?.({ path: 'stores', message })
      }
      for (const id of (await store.connectionIds?.(ask)) ?? []) {
        const found = await store.getConnection?.(id, ask)
        if (found !== undefined) listed.push({ id, store: placeIn(found, store), value: found.value })
      }
    }
  } finally {
    if (options.opened === undefined) opened.close()
  }
  return listed
}

/** As it continues a sentence. */
function placeIn({ place }: Found<unknown>, store: Store): string {
  return (place ?? store.name).replace(/^The /, '')
}

const NEVER = new AbortController().signal

/** The stores for one look-up, which keep nothing. */
export function onceOpened({ environment, cwd, agents }: Places): OpenedStores {
  return new OpenedStores({ environment, cwd, agents, ttlMillis: 0, graceMillis: 0, emit: () => undefined })
}

export async function listedStores(
  opened: OpenedStores,
  { stores }: StoreOptions,
  file: ConnectionsFile | undefined,
): Promise<readonly Store[]> {
  if (stores !== undefined) return opened.listed(stores, 'the option stores')
  return file?.stores === undefined ? [] : opened.listed(file.stores, file.path)
}

async function readAgain(store: Store, id: string, options: AskOptions): ReturnType<Origin['read']> {
  const found = await store.getConnection?.(id, { ...options, isFresh: true })
  if (found !== undefined) return found
  throw new PoolsmithError(`${store.name} has no connection ${id} any more.`, {
    code: 'SECRET_MISSING',
    phase: 'credential',
    hint: 'Write the connection to the store again, or make the engine anew from another place.',
    details: { id },
  })
}
