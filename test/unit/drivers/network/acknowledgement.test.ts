import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { AcknowledgementGuard } from '../../../../src/drivers/network/acknowledgement.ts'
import type { Sending } from '../../../../src/drivers/network/socket-table.ts'
import { collectGarbage } from '../../../support/collect-garbage.ts'

interface Pair extends AsyncDisposable {
  readonly client: Socket
  readonly server: Socket
}

async function connected(): Promise<Pair> {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const arrival = once(listener, 'connection')
  const client = connect((listener.address() as AddressInfo).port, '127.0.0.1')
  client.on('error', () => undefined)
  const [[server]] = (await Promise.all([arrival, once(client, 'connect')])) as unknown as [[Socket]]
  return {
    client,
    server,
    async [Symbol.asyncDispose]() {
      client.destroy()
      server.destroy()
      listener.close()
      await once(listener, 'close')
    },
  }
}

/** A guard that looks every 10 ms, and is told `answers` of every socket, look by look. */
function guardTold(answers: readonly (Sending | undefined)[]) {
  const looks: number[] = []
  const guard = new AcknowledgementGuard({
    periodMillis: 10,
    look: async (sockets) => {
      const answer = answers[Math.min(looks.length, answers.length - 1)]
      looks.push(sockets.length)
      return new Map(answer === undefined ? [] : sockets.map((socket) => [socket, answer]))
    },
  })
  return { guard, looks }
}

async function atRest(guard: AcknowledgementGuard): Promise<void> {
  while (guard.active) await sleep(5)
}

describe('a session that waits for an answer', () => {
  test('is closed when its bytes are lost, long before the kernel would do it', async () => {
    await using pair = await connected()
    const { guard, looks } = guardTold(['under way', 'in vain', 'in vain', 'in vain'])
    guard.watch(pair.client, pair.client, () => true)
    const closed = new Promise((resolve) => pair.client.once('close', resolve))
    pair.client.write('select 1')
    await closed
    assert.deepEqual(looks, [1, 1, 1, 1])
    assert.equal(Reflect.get(pair.client.errored ?? {}, 'code'), 'ETIMEDOUT')
    await atRest(guard)
  })

  test('stays open while bytes arrive', async () => {
    await using pair = await connected()
    const { guard } = guardTold(['in vain'])
    guard.watch(pair.client, pair.client, () => true)
    pair.client.resume()
    pair.client.write('select 1')
    const ticks = setInterval(() => pair.server.write('.'), 1)
    await sleep(300)
    clearInterval(ticks)
    assert.equal(pair.client.destroyed, false)
  })

  test('is checked once if the server has acknowledged the statement, however long the answer takes', async () => {
    await using pair = await connected()
    const { guard, looks } = guardTold(['done'])
    let waits = true
    guard.watch(pair.client, pair.client, () => waits)
    pair.client.write('select pg_sleep(3600)')
    while (looks.length === 0) await sleep(5)
    await sleep(100)
    assert.equal(looks.length, 1)
    pair.client.write('more')
    while (looks.length === 1) await sleep(5)
    waits = false
    await atRest(guard)
  })

  test('stays open if the kernel does not list it', async () => {
    await using pair = await connected()
    const { guard, looks } = guardTold([undefined])
    guard.watch(pair.client, pair.client, () => true)
    pair.client.write('select 1')
    while (looks.length < 6) await sleep(5)
    assert.equal(pair.client.destroyed, false)
  })

  test('shares one reading of the table with all others', async () => {
    await using stack = new AsyncDisposableStack()
    const { guard, looks } = guardTold(['done'])
    const pairs: Pair[] = []
    while (pairs.length < 20) pairs.push(stack.use(await connected()))
    // In one turn of the event loop, so that one look comes behind all of them.
    for (const { client } of pairs) {
      guard.watch(client, client, () => true)
      client.write('select 1')
    }
    while (looks.length === 0) await sleep(5)
    await sleep(50)
    assert.ok(looks.length <= 2, `${looks}`)
    assert.equal(
      looks.reduce((sum, sockets) => sum + sockets, 0),
      20,
    )
  })
})

describe('a session that waits for nothing', () => {
  test('has no timer, and is never checked', async () => {
    await using pair = await connected()
    const { guard, looks } = guardTold(['in vain'])
    guard.watch(pair.client, pair.client, () => false)
    assert.equal(guard.active, false)
    pair.client.write('select 1')
    assert.equal(guard.active, true)
    await atRest(guard)
    assert.deepEqual(looks, [])
    pair.client.write('select 2')
    assert.equal(guard.active, true)
    await atRest(guard)
    assert.deepEqual(looks, [])
  })

  test('is forgotten when it is closed', async () => {
    await using pair = await connected()
    const { guard, looks } = guardTold(['in vain'])
    guard.watch(pair.client, pair.client, () => true)
    pair.client.write('select 1')
    pair.client.destroy()
    await atRest(guard)
    assert.deepEqual(looks, [])
  })

  test('is not kept in memory until the next look', async () => {
    const guard = new AcknowledgementGuard({ periodMillis: 3_600_000 })
    const closed = await usedAndClosed(guard)
    for (let round = 0; closed.deref() !== undefined && round < 200; round++) {
      await sleep(10)
      collectGarbage()
    }
    assert.equal(closed.deref(), undefined)
    assert.equal(guard.active, true)
  })
})

async function usedAndClosed(guard: AcknowledgementGuard): Promise<WeakRef<Socket>> {
  await using pair = await connected()
  guard.watch(pair.client, pair.client, () => true)
  pair.client.write('select 1')
  return new WeakRef(pair.client)
}
