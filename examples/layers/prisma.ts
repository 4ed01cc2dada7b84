/** Prisma takes a `pg.Pool` through its driver adapter. `npx prisma generate` makes the client first. */

import { PrismaPg } from '@prisma/adapter-pg'
import { createPgPool } from 'poolsmith/pg'
import { PrismaClient } from './generated/client.ts'
import { connection, rounds } from './rounds.ts'

await using pool = await createPgPool(connection)
await pool.query('create table if not exists prisma_pets (id serial primary key, name text not null)')
// The pool decides how long a transaction waits for a session (pool_timeout), and not Prisma's limit of two seconds.
const transactionOptions = { maxWait: 60_000, timeout: 60_000 }
const prisma = new PrismaClient({ adapter: new PrismaPg(pool), transactionOptions })
await rounds((round) =>
  prisma.$transaction(async (trx) => {
    await trx.pet.create({ data: { name: `pet ${round}` } })
    await trx.pet.findMany({ take: 10 })
  }),
)
await prisma.$disconnect()
