/** A small service: what it does in an ordinary Node it must do in every other runtime, in a worker and in a bundle. */

import { createEngine } from 'poolsmith'
import { extractTable } from 'poolsmith/extract'

const failureOf = (promise) => promise.then(String, ({ code, phase }) => `${code} ${phase}`)

export async function serve(connection, folder) {
  const db = await createEngine(connection, { pool_size: 2 })
  const nowhere = await createEngine({ ...connection, host: '127.0.0.1', port: 1 }, { pool_timeout: 5 })
  try {
    const [row] = await db.select(db.raw('?::int + 1 as two, ?::timestamptz as since', [1, new Date(0)]))
    const moved = await db.transaction((trx) => trx.select(trx.raw('3 as three')).first())
    const manifest =
      folder === undefined
        ? { rows: 1 }
        : await extractTable(db, { query: 'select 1 as n', name: 'one' }, { to: folder, format: 'jsonl' })
    return {
      ...row,
      since: row.since.getTime(),
      ...moved,
      rows: manifest.rows,
      unknown: await failureOf(db('no_such_table')),
      refused: await failureOf(nowhere.raw('select 1')),
    }
  } finally {
    await db.destroy()
    await nowhere.destroy()
  }
}
