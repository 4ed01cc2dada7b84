import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { StatementQueue } from '../../../../src/engine/knex/statement-queue.ts'

/** A statement whose end the test decides. */
function statement(sent: string[], name: string) {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  return {
    name,
    send: (): Promise<string> => {
      sent.push(name)
      return promise
    },
    end: () => resolve(name),
    fail: () => reject(new Error(name)),
  }
}

test('a statement is sent at once on an idle connection, later ones in their order', async () => {
  const sent: string[] = []
  const queue = StatementQueue.of({})
  const [a, b, c] = ['a', 'b', 'c'].map((name) => statement(sent, name)) as [Statement, Statement, Statement]
  const all = [a, b, c].map((each) => queue.run(each, each.send))
  assert.deepEqual(sent, ['a'])
  a.end()
  await all[0]
  assert.deepEqual(sent, ['a', 'b'])
  b.fail()
  await assert.rejects(all[1] as Promise<string>, /^Error: b$/)
  assert.deepEqual(sent, ['a', 'b', 'c'])
  c.end()
  assert.equal(await all[2], 'c')
  await queue.untilIdle()
  assert.ok(queue.idle)
})

type Statement = ReturnType<typeof statement>

test('a waiting statement is taken back without effect on the running one', async () => {
  const sent: string[] = []
  const queue = StatementQueue.of({})
  const [a, b, c] = ['a', 'b', 'c'].map((name) => statement(sent, name)) as [Statement, Statement, Statement]
  const first = queue.run(a, a.send)
  const second = queue.run(b, b.send)
  const third = queue.run(c, c.send)
  assert.equal(queue.withdraw(b), true)
  assert.equal(queue.withdraw(a), false)
  await assert.rejects(second, /taken back before it was sent/)
  a.end()
  await first
  c.end()
  await third
  assert.deepEqual(sent, ['a', 'c'])
})

test('no statement is sent while a cancel request is under way, and only the running one is cancelled', async () => {
  const sent: string[] = []
  const queue = StatementQueue.of({})
  const [a, b] = ['a', 'b'].map((name) => statement(sent, name)) as [Statement, Statement]
  const first = queue.run(a, a.send)
  const second = queue.run(b, b.send)
  const request = Promise.withResolvers<void>()
  await queue.cancel(b, () => assert.fail('it does not run'))
  const cancelled = queue.cancel(a, () => request.promise)
  // It ends by itself before the request arrives, which would hit the next one.
  a.end()
  await first
  await turn()
  assert.deepEqual(sent, ['a'])
  request.resolve()
  await cancelled
  assert.deepEqual(sent, ['a', 'b'])
  b.end()
  await second
})

test('a returned connection leaves no waiting statement behind', async () => {
  const sent: string[] = []
  const connection = {}
  const [a, b, c] = ['a', 'b', 'c'].map((name) => statement(sent, name)) as [Statement, Statement, Statement]
  const first = StatementQueue.of(connection).run(a, a.send)
  const second = StatementQueue.of(connection).run(b, b.send)
  StatementQueue.leave(connection)
  await assert.rejects(second, /taken back/)
  const third = StatementQueue.of(connection).run(c, c.send)
  assert.deepEqual(sent, ['a', 'c'])
  a.end()
  c.end()
  await Promise.all([first, third])
})

test('clear takes back waiting statements, ends the running one and waits for its end', async () => {
  const sent: string[] = []
  const queue = StatementQueue.of({})
  const [a, b] = ['a', 'b'].map((name) => statement(sent, name)) as [Statement, Statement]
  const first = assert.rejects(queue.run(a, a.send), /^Error: a$/)
  const second = assert.rejects(queue.run(b, b.send), /taken back/)
  let cleared = false
  const clearing = queue
    .clear(async () => a.fail())
    .then(() => {
      cleared = true
    })
  await Promise.all([first, second, clearing])
  assert.ok(cleared && queue.idle)
  assert.deepEqual(sent, ['a'])
})
