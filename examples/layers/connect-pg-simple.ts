/** connect-pg-simple, the session store of Express, takes a `pg.Pool`. */

import { promisify } from 'node:util'
import connectPgSimple from 'connect-pg-simple'
import session, { type SessionData } from 'express-session'
import { createPgPool } from 'poolsmith/pg'
import { connection, rounds } from './rounds.ts'

const Store = connectPgSimple(session)

await using pool = await createPgPool(connection)
const store = new Store({ pool, createTableIfMissing: true, pruneSessionInterval: false })
const [set, get, destroy] = [store.set, store.get, store.destroy].map((method) => promisify(method.bind(store)))
await rounds(async (round) => {
  const data = { cookie: { maxAge: 60_000, originalMaxAge: 60_000 }, round } as unknown as SessionData
  await set?.(`session-${round}`, data)
  await get?.(`session-${round}`)
  await destroy?.(`session-${round}`)
})
store.close()
