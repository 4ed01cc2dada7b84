import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { describe, test } from 'node:test'
import { keyIn, keyOf, readSendings, sendingIn } from '../../../../src/drivers/network/socket-table.ts'

describe("a line of the kernel's table", () => {
  const peer = ['192.168.0.1', 1433] as const
  for (const [port, line, expected, what] of [
    [
      0xc001,
      '   0: 0500000A:C001 0100A8C0:0599 01 00000000:00000000 02:00000A0B 00000000     0        0 1 2 0 20 4 30 10 -1',
      'done',
      'everything is acknowledged',
    ],
    [
      0xc002,
      '   1: 0500000A:C002 0100A8C0:0599 01 00000004:00000000 01:00000042 00000000     0        0 1 2 0 20 4 30 10 -1',
      'under way',
      'something has just been sent',
    ],
    [
      0xc003,
      '12345: 0500000A:C003 0100A8C0:0599 01 00000004:00000000 01:000004D1 00000006     0        0 1 2 0 20 4 30 10 -1',
      'in vain',
      'it is sent again and again',
    ],
    [
      0xc004,
      '   3: 0500000A:C004 0100A8C0:0599 01 00010000:00000000 04:000004D1 00000006     0        0 1 2 0 20 4 30 10 -1',
      'under way',
      'the peer takes nothing more, but is alive',
    ],
  ] as const) {
    test(what, () => {
      assert.equal(keyIn(line), keyOf(['10.0.0.5', port], peer))
      assert.equal(sendingIn(line), expected)
    })
  }

  test('may hold IPv6 addresses', () => {
    const line =
      '   4: B80D0120000000000000000001000000:C005 B80D0120000000000000000002000000:0599 01 00000001:00000000 01:00000042 00000009 0'
    assert.equal(keyIn(line), keyOf(['2001:db8::1', 0xc005], ['2001:db8::2%eth0', 1433]))
    assert.equal(sendingIn(line), 'in vain')
  })

  test('the heading is no socket', () => {
    const heading = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode'
    assert.doesNotMatch(keyIn(heading), /^[0-9A-F]{8}:/)
  })
})

const noTable = process.platform !== 'linux' && 'Linux alone has this table.'
describe('the table of this machine', { skip: noTable }, () => {
  for (const host of ['127.0.0.1', '::1']) {
    test(`lists the sockets, over ${host}`, async () => {
      await using stack = new AsyncDisposableStack()
      const listener = createServer().listen(0, host)
      stack.defer(() => {
        listener.close()
      })
      await once(listener, 'listening')
      const sockets: Socket[] = []
      for (let count = 0; count < 3; count++) {
        const socket = connect((listener.address() as AddressInfo).port, host)
        stack.defer(() => {
          socket.destroy()
        })
        await once(socket, 'connect')
        sockets.push(socket)
      }
      const idle = await readSendings(sockets)
      assert.deepEqual(
        sockets.map((socket) => idle.get(socket)),
        ['done', 'done', 'done'],
      )
      sockets[1]?.destroy()
      assert.equal((await readSendings(sockets)).get(sockets[0] as Socket), 'done')
    })
  }

  test('does not list a socket that is not connected', async () => {
    assert.equal((await readSendings([connect(1, '127.0.0.1').on('error', () => undefined)])).size, 0)
  })
})
