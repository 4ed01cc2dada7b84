// A table in parts by BullMQ on Redis. `node bullmq.mjs plan` adds the jobs, `node bullmq.mjs work` does them, on as many
// machines as you like; they share the folder BRONZE. `npm install poolsmith pg apache-arrow bullmq ioredis`

import { FlowProducer, UnrecoverableError, Worker } from 'bullmq'
import { createEngine } from 'poolsmith'
import { extractPartition, finishPlan, planExtract } from 'poolsmith/extract'

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' }
const to = process.env.BRONZE ?? 'bronze'
const queueName = 'flights'
await using db = await createEngine('sales')

async function plan() {
  await using plan = await planExtract(
    db,
    { table: 'flights' },
    { format: 'parquet', partitions: 8, partitionBy: 'id' },
  )
  const opts = { attempts: 4, backoff: { type: 'exponential', delay: 1000 }, failParentOnFailure: true }
  const children = plan.partitions.map((_, number) => ({ name: 'read', queueName, data: { plan, number }, opts }))
  const flow = new FlowProducer({ connection })
  // The job that finishes the plan begins when all parts are read.
  await flow.add({ name: 'finish', queueName, data: { plan }, children })
  await flow.close()
}

async function work() {
  const stop = new AbortController()
  const run = async ({ name, data: { plan, number } }) => {
    const reading =
      name === 'finish' ? finishPlan(plan, { to }) : extractPartition(db, plan, number, { to, signal: stop.signal })
    const { rows } = await reading.catch((error) => {
      throw error.transient || stop.signal.aborted ? error : new UnrecoverableError(`${error.code}: ${error.message}`)
    })
    console.log(name, rows)
  }
  const worker = new Worker(queueName, run, { connection, concurrency: 2 })
  await new Promise((resolve) => process.once('SIGTERM', resolve))
  stop.abort()
  await worker.close()
}

await { plan, work }[process.argv[2]]()
