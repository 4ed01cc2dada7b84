import assert from 'node:assert/strict'
import { createServer, type Server, type Socket } from 'node:net'
import { afterEach, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { nextPoll } from '../../../../src/abort.ts'
import { Dialer, type DialerOptions } from '../../../../src/drivers/network/dialer.ts'
import { type AddressLimits, eachAddress } from '../../../../src/drivers/network/each-address.ts'
import { Reachability } from '../../../../src/drivers/network/reachability.ts'
import type { Endpoint } from '../../../../src/drivers/network/socket.ts'
import { PoolsmithError } from '../../../../src/errors.ts'
import { startSilentAddress } from '../../../support/silent-address.ts'
import { stall } from '../../../support/stall.ts'

const endpoints = (port: number, ...addresses: readonly string[]): Endpoint[] =>
  addresses.map((address) => ({ kind: 'tcp', address, port }))

const never = new AbortController().signal
const stack: (() => void)[] = []
afterEach(() => {
  for (const end of stack.splice(0)) end()
})

async function listen(host: string, port = 0): Promise<{ readonly port: number; readonly accepted: Socket[] }> {
  const accepted: Socket[] = []
  const server: Server = createServer((socket) => {
    accepted.push(socket)
    socket.on('error', () => undefined)
  })
  await new Promise<void>((resolve) => server.listen(port, host, resolve))
  stack.push(() => {
    server.close()
    for (const socket of accepted) socket.destroy()
  })
  const address = server.address()
  return { port: typeof address === 'object' && address !== null ? address.port : 0, accepted }
}

interface Call {
  readonly peer: string | undefined
  readonly millis: number
}

async function dial(dialer: Dialer, signal = never): Promise<Call> {
  const begin = performance.now()
  const { socket } = await dialer.connect({ signal, enter: () => undefined })
  const call = { peer: socket.remoteAddress, millis: performance.now() - begin }
  socket.destroy()
  return call
}

describe('the addresses of one host', () => {
  test('one that does not answer costs a quarter of a second, and nothing while it is remembered', async () => {
    await using silent = await startSilentAddress('127.0.0.2')
    await listen('127.0.0.3', silent.port)
    const reachability = Reachability.ofAddresses()
    const both = endpoints(silent.port, '127.0.0.2', '127.0.0.3')
    const call = await dial(new Dialer(both, reachability))
    assert.equal(call.peer, '127.0.0.3')
    assert.ok(call.millis >= 240 && call.millis < 2000, `${call.millis} ms`)
    assert.deepEqual(new Dialer(both, reachability).endpoint, both[1])
  })

  test('one that refuses causes no wait', async () => {
    const { port } = await listen('127.0.0.3')
    const millis: number[] = []
    for (let round = 0; round < 5; round++) {
      const call = await dial(new Dialer(endpoints(port, '127.0.0.2', '127.0.0.3'), Reachability.ofAddresses()))
      assert.equal(call.peer, '127.0.0.3')
      millis.push(call.millis)
    }
    assert.ok(Math.min(...millis) < 200, `${millis} ms`)
  })

  test('the last of many is tried before the time limit', async () => {
    await using silent = await startSilentAddress('127.0.0.2')
    const { port } = silent
    await listen('127.0.0.3', port)
    const many = endpoints(port, ...Array.from({ length: 12 }, () => '127.0.0.2'), '127.0.0.3')
    const deadline = performance.now() + 2000
    const call = await dial(new Dialer(many, Reachability.ofAddresses(), { deadline }))
    assert.equal(call.peer, '127.0.0.3')
    assert.ok(performance.now() < deadline)
  })

  test('when all are tried at once, the first that accepts is kept and the others are closed', async () => {
    const { port, accepted } = await listen('127.0.0.2')
    const other = await listen('127.0.0.3', port)
    const options: DialerOptions = { atOnce: true }
    const dialer = new Dialer(endpoints(port, '127.0.0.2', '127.0.0.3'), Reachability.ofAddresses(), options)
    const { socket } = await dialer.connect({ signal: never, enter: () => undefined })
    while (accepted.length + other.accepted.length < 2) await sleep(5)
    const losers = [...accepted, ...other.accepted].filter((each) => each.remotePort !== socket.localPort)
    assert.equal(losers.length, 1)
    while (losers[0]?.readableEnded === false && !losers[0].destroyed) {
      losers[0]?.resume()
      await sleep(5)
    }
    socket.destroy()
  })

  test('families take turns, beginning with the first one of the resolver', async () => {
    const { port } = await listen('127.0.0.9')
    const mixed = endpoints(port, '::1', '::1', '::1', '127.0.0.1', '127.0.0.2')
    await assert.rejects(dial(new Dialer(mixed, Reachability.ofAddresses())), (error: unknown) => {
      assert.ok(error instanceof PoolsmithError)
      const tried = error.details.addresses as readonly { readonly peer: string }[]
      assert.deepEqual(
        tried.map(({ peer }) => peer.replace(`:${port}`, '')),
        ['[::1]', '127.0.0.1', '[::1]', '127.0.0.2', '[::1]'],
      )
      return true
    })
  })

  test('if none accepts, the error is that of the last and lists each', async () => {
    const { port } = await listen('127.0.0.3')
    const dialer = new Dialer(endpoints(port, '127.0.0.4', '127.0.0.5'), Reachability.ofAddresses())
    await assert.rejects(dial(dialer), (error: unknown) => {
      assert.ok(error instanceof PoolsmithError)
      assert.equal(error.code, 'CONNECT_REFUSED')
      assert.match(error.message, /127\.0\.0\.5/)
      assert.deepEqual(error.details.addresses, [
        { peer: `127.0.0.4:${port}`, code: 'CONNECT_REFUSED' },
        { peer: `127.0.0.5:${port}`, code: 'CONNECT_REFUSED' },
      ])
      return true
    })
  })

  test('an abort ends all attempts, also if the signal had fired before', async () => {
    await using silent = await startSilentAddress('127.0.0.2')
    const reason = new Error('enough')
    const both = endpoints(silent.port, '127.0.0.2', '127.0.0.2')
    const controller = new AbortController()
    const waiting = dial(new Dialer(both, Reachability.ofAddresses()), controller.signal)
    await sleep(300)
    controller.abort(reason)
    await assert.rejects(waiting, reason)
    await assert.rejects(dial(new Dialer(both, Reachability.ofAddresses()), controller.signal), reason)
  })
})

describe('an address that accepts connections and does not answer', () => {
  const limits = (more: Partial<AddressLimits> = {}): AddressLimits => ({
    signal: never,
    limitMillis: undefined,
    timeout: (limitMillis) =>
      new PoolsmithError(`no answer within ${Math.round(limitMillis)} ms`, { code: 'CONNECT_TIMEOUT', phase: 'login' }),
    ...more,
  })

  /** Connects, and waits for a byte, as a login does. */
  const greeted =
    (dialer: Dialer) =>
    async (signal: AbortSignal): Promise<string | undefined> => {
      const { socket } = await dialer.connect({ signal, enter: () => undefined })
      try {
        return await new Promise<string | undefined>((resolve, reject) => {
          socket.once('data', () => resolve(socket.remoteAddress))
          signal.addEventListener('abort', () => reject(signal.reason), { once: true })
        })
      } finally {
        socket.destroy()
      }
    }

  test('leaves time for the next one, and is remembered', async () => {
    const mute = await listen('127.0.0.2')
    const { port } = mute
    const talking = await listen('127.0.0.3', port)
    const talk = setInterval(() => {
      for (const socket of talking.accepted) socket.write('x')
    }, 5)
    stack.push(() => clearInterval(talk))
    const reachability = Reachability.ofAddresses()
    const both = endpoints(port, '127.0.0.2', '127.0.0.3')
    const begin = performance.now()
    const dialer = new Dialer(both, reachability, { deadline: begin + 2000 })
    assert.equal(await eachAddress(dialer, limits({ limitMillis: 60_000 }), greeted(dialer)), '127.0.0.3')
    const took = performance.now() - begin
    assert.ok(took >= 900 && took < 2000, `${took} ms`)
    const next = new Dialer(both, reachability)
    assert.equal(await eachAddress(next, limits(), greeted(next)), '127.0.0.3')
    assert.equal(mute.accepted.length, 1)
  })

  test('has its limit, and gives the error if it is the last', async () => {
    const { port } = await listen('127.0.0.2')
    const dialer = new Dialer(endpoints(port, '127.0.0.2'), Reachability.ofAddresses())
    await assert.rejects(eachAddress(dialer, limits({ limitMillis: 100 }), greeted(dialer)), /within 100 ms/)
  })

  test('is not charged with an event loop that stood still for longer than its limit', async () => {
    const { port, accepted } = await listen('127.0.0.2')
    const dialer = new Dialer(endpoints(port, '127.0.0.2'), Reachability.ofAddresses())
    const answer = eachAddress(dialer, limits({ limitMillis: 2000 }), greeted(dialer))
    while (accepted.length === 0) await nextPoll()
    stall(2500)
    // A login takes several round trips, of which the last ones come after the stall.
    for (let trips = 0; trips < 3; trips++) await nextPoll()
    for (const socket of accepted) socket.write('x')
    assert.equal(await answer, '127.0.0.2')
  })

  test('one error is raised after the limit of the last if none answers', async () => {
    await using silent = await startSilentAddress('127.0.0.2')
    const dialer = new Dialer(endpoints(silent.port, '127.0.0.2', '127.0.0.2'), Reachability.ofAddresses())
    const begin = performance.now()
    await assert.rejects(eachAddress(dialer, limits({ limitMillis: 300 }), greeted(dialer)), /within 300 ms/)
    assert.ok(performance.now() - begin >= 540)
  })
})

describe('the memory of addresses', () => {
  test('one that failed comes last, for half a minute; then one caller tries it again', () => {
    let now = 0
    const reachability = Reachability.ofAddresses(() => now)
    const [a, b] = endpoints(1, '127.0.0.1', '127.0.0.2') as [Endpoint, Endpoint]
    reachability.failed(a)
    assert.deepEqual(reachability.sort([a, b]), [b, a])
    now = 29_999
    assert.deepEqual(reachability.sort([a, b]), [b, a])
    now = 30_001
    assert.deepEqual(reachability.sort([a, b]), [a, b])
    assert.deepEqual(reachability.sort([a, b]), [b, a], 'the next caller')
    reachability.answered(a)
    assert.deepEqual(reachability.sort([a, b]), [a, b])
  })

  test('if all failed, the order does not change', () => {
    const reachability = Reachability.ofAddresses()
    const [a, b] = endpoints(1, '127.0.0.1', '127.0.0.2') as [Endpoint, Endpoint]
    reachability.failed(b)
    reachability.failed(a)
    assert.deepEqual(reachability.sort([a, b]), [a, b])
  })
})
