/** pg-boss sends its statements through a function. */

import { PgBoss } from 'pg-boss'
import { createPgPool } from 'poolsmith/pg'
import { connection, rounds } from './rounds.ts'

await using pool = await createPgPool(connection)
const boss = new PgBoss({ db: { executeSql: (text, values) => pool.query(text, values) } })
boss.on('error', (error) => console.error(error.message))
await boss.start()
await boss.createQueue('pets')
await rounds(async (round) => {
  await boss.send('pets', { round })
  const [job] = await boss.fetch('pets')
  if (job !== undefined) await boss.complete('pets', job.id)
})
await boss.stop()
