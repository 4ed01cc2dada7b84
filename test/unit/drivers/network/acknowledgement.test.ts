import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { guardAcknowledgement, type Sending, sendingOf } from '../../../../src/drivers/network/acknowledgement.ts'

async function connected(
  host: string,
): Promise<AsyncDisposable & { readonly client: Socket; readonly server: Socket }> {
  const listener = createServer().listen(0, host)
  await once(listener, 'listening')
  const arrival = once(listener, 'connection')
  const client = connect((listener.address() as AddressInfo).port, host)
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

describe("the kernel's table", () => {
  const table = [
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
    '   0: 0500000A:C001 0100A8C0:0599 01 00000000:00000000 02:00000A0B 00000000     0        0 1 2 0 20 4 30 10 -1',
    '   1: 0500000A:C002 0100A8C0:0599 01 00000004:00000000 01:00000042 00000000     0        0 1 2 0 20 4 30 10 -1',
    '   2: 0500000A:C003 0100A8C0:0599 01 00000004:00000000 01:000004D1 00000006     0        0 1 2 0 20 4 30 10 -1',
    '   3: 0500000A:C004 0100A8C0:0599 01 00010000:00000000 04:000004D1 00000006     0        0 1 2 0 20 4 30 10 -1',
    '   4: B80D0120000000000000000001000000:C005 B80D0120000000000000000002000000:0599 01 00000001:00000000 01:00000042 00000009 0',
    '',
  ].join('\n')
  for (const [port, expected, what] of [
    [0xc001, 'done', 'everything is acknowledged'],
    [0xc002, 'under way', 'something has just been sent'],
    [0xc003, 'in vain', 'it is sent again and again'],
    [0xc004, 'under way', 'the peer takes nothing more, but is alive'],
    [0xc009, undefined, 'there is no such socket'],
  ] as const) {
    test(what, () => assert.equal(sendingOf(table, ['10.0.0.5', port], ['192.168.0.1', 1433]), expected))
  }

  test('has IPv6 too', () => {
    assert.equal(sendingOf(table, ['2001:db8::1', 0xc005], ['2001:db8::2%eth0', 1433]), 'in vain')
    assert.equal(sendingOf(table, ['2001:db8::2', 0xc005], ['2001:db8::1', 1433]), undefined)
  })

  const noTable = process.platform !== 'linux' && 'Linux alone has this table.'
  test('lists the sockets of this machine as it is read here', { skip: noTable }, async () => {
    await using pair = await connected('127.0.0.1')
    const { localPort = 0, remotePort = 0 } = pair.client
    const real = await readFile('/proc/self/net/tcp', 'latin1')
    assert.equal(sendingOf(real, ['127.0.0.1', localPort], ['127.0.0.1', remotePort]), 'done')
  })
})

describe('a socket', () => {
  const guarded = async (answers: readonly (Sending | undefined)[]) => {
    const pair = await connected('127.0.0.1')
    let looks = 0
    guardAcknowledgement(pair.client, {
      periodMillis: 10,
      look: async () => answers[Math.min(looks++, answers.length - 1)],
    })
    return { ...pair, looks: () => looks }
  }

  test('whose bytes are lost is ended, as the kernel would end it much later', async () => {
    await using pair = await guarded(['under way', 'in vain', 'in vain', 'in vain'])
    const failure = new Promise((resolve) => pair.client.once('close', resolve))
    pair.client.write('select 1')
    await failure
    assert.equal(pair.looks(), 4)
    assert.equal(Reflect.get(pair.client.errored ?? {}, 'code'), 'ETIMEDOUT')
  })

  test('that is heard of in between is left alone', async () => {
    await using pair = await guarded(['in vain'])
    pair.client.resume()
    const ticks = setInterval(() => pair.server.write('.'), 1)
    await sleep(300)
    clearInterval(ticks)
    assert.equal(pair.client.destroyed, false)
  })

  test('that is idle is looked at once, and again when something is sent', async () => {
    await using pair = await guarded(['done'])
    while (pair.looks() === 0) await sleep(5)
    await sleep(100)
    assert.equal(pair.looks(), 1)
    pair.client.write('more')
    while (pair.looks() === 1) await sleep(5)
  })

  test('of which the kernel says nothing is left alone', async () => {
    await using pair = await guarded([undefined])
    pair.client.write('select 1')
    while (pair.looks() < 6) await sleep(5)
    assert.equal(pair.client.destroyed, false)
  })
})
